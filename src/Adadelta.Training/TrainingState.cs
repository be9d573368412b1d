using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Adadelta.Training;

/// <summary>What a checkpoint keeps of a run beside network and optimizer, under <c>training.</c>.</summary>
/// <param name="Seed">Seed of the images' order.</param>
/// <param name="BatchSize">Images a step.</param>
/// <param name="Train">The images that it trains on.</param>
/// <param name="Test">The images that it tests on, or null.</param>
/// <param name="Schedule">The schedule's text.</param>
/// <param name="InitialRates">What the schedule starts from, by group.</param>
internal sealed record TrainingState(
    ulong Seed, int BatchSize, DataIdentity Train, DataIdentity? Test, string Schedule, IReadOnlyList<double> InitialRates)
{
    private const string SeedKey = CheckpointFile.TrainingPrefix + "seed";
    private const string BatchSizeKey = CheckpointFile.TrainingPrefix + "batch_size";
    private const string TrainKey = CheckpointFile.TrainingPrefix + "train";
    private const string TestKey = CheckpointFile.TrainingPrefix + "test";
    private const string ScheduleKey = CheckpointFile.TrainingPrefix + "schedule";
    private const string RatesKey = CheckpointFile.TrainingPrefix + "initial_lr";

    // A row for each step: epoch, step, learning rate; the losses have their own type.
    private const string StepsName = CheckpointFile.TrainingPrefix + "steps";
    private const string LossesName = CheckpointFile.TrainingPrefix + "losses";

    // A row for each epoch with the columns of epochs.csv; NaN where there was no test.
    private const string EpochsName = CheckpointFile.TrainingPrefix + "epochs";
    private const int EpochColumns = 7;

    public void AddTo(Dictionary<string, string> metadata)
    {
        metadata[SeedKey] = Seed.ToString(CultureInfo.InvariantCulture);
        metadata[BatchSizeKey] = BatchSize.ToString(CultureInfo.InvariantCulture);
        Train.AddTo(metadata, TrainKey);
        Test?.AddTo(metadata, TestKey);
        metadata[ScheduleKey] = Schedule;
        metadata[RatesKey] = new JsonArray([.. InitialRates.Select(rate => (JsonNode)rate)]).ToJsonString();
    }

    /// <exception cref="InvalidDataException">The file was not written by a trainer.</exception>
    public static TrainingState Of(string path, IReadOnlyDictionary<string, string> metadata)
    {
        return new(
            Number<ulong>(SeedKey), Number<int>(BatchSizeKey), Data(TrainKey),
            metadata.ContainsKey(DataIdentity.NameKey(TestKey)) ? Data(TestKey) : null, Text(ScheduleKey), Rates());

        DataIdentity Data(string key) => new(
            Text(DataIdentity.NameKey(key)), Number<int>(DataIdentity.CountKey(key)), Text(DataIdentity.ChecksumKey(key)));

        string Text(string key) => metadata.GetValueOrDefault(key)
            ?? throw new InvalidDataException($"{path}: no {key} in the metadata, expected a trainer's checkpoint");

        T Number<T>(string key)
            where T : struct, IParsable<T> => T.TryParse(Text(key), CultureInfo.InvariantCulture, out var number)
                ? number
                : throw new InvalidDataException($"{path}: {key} is '{Text(key)}', expected a whole number");

        double[] Rates()
        {
            try
            {
                return JsonNode.Parse(Text(RatesKey)) is JsonArray rates
                    ? [.. rates.Select(rate => rate?.GetValue<double>() is double number && double.IsFinite(number) && number >= 0
                        ? number
                        : throw new JsonException("null, or not finite and >= 0"))]
                    : throw new JsonException("no list");
            }
            catch (Exception error) when (error is JsonException or InvalidOperationException or FormatException)
            {
                throw new InvalidDataException($"{path}: {RatesKey} is '{Text(RatesKey)}', expected finite numbers >= 0", error);
            }
        }
    }

    public static IEnumerable<SafeTensor> Tensors(LossHistory history)
    {
        yield return SafeTensor.FromDoubles(
            StepsName, [history.Steps.Count, 3],
            [.. history.Steps.SelectMany(step => (double[])[step.Epoch, step.Step, step.LearningRate])]);
        yield return new(LossesName, [history.Steps.Count], [.. history.Steps.Select(step => step.Loss)]);
        yield return SafeTensor.FromDoubles(
            EpochsName, [history.Epochs.Count, EpochColumns],
            [.. history.Epochs.SelectMany(epoch => (double[])
                [
                    epoch.Epoch, epoch.AverageLoss, epoch.TestLoss ?? double.NaN, epoch.TestAccuracy ?? double.NaN,
                    epoch.LearningRate, epoch.Seconds, epoch.SamplesPerSecond,
                ])]);
    }

    /// <exception cref="InvalidDataException">The file was not written by a trainer.</exception>
    public static LossHistory History(string path, IReadOnlyList<StoredTensor> tensors)
    {
        var history = new LossHistory();
        var steps = Doubles(StepsName, 3, TensorValues.NotNegative);
        var losses = MemoryMarshal.Cast<byte, float>(Find(LossesName, SafeTensors.Float32, TensorValues.Finite).Bytes);
        if (losses.Length * 3 != steps.Length)
        {
            throw new InvalidDataException($"{path}: {losses.Length} losses of {steps.Length / 3} steps, expected as many");
        }
        try
        {
            for (var i = 0; i < losses.Length; i++)
            {
                history.Add(new StepResult(checked((int)steps[3 * i]), checked((int)steps[3 * i + 1]), losses[i], steps[3 * i + 2]));
            }
            foreach (var row in Doubles(EpochsName, EpochColumns, TensorValues.Any).Chunk(EpochColumns))
            {
                history.Add(new EpochResult(checked((int)row[0]), row[1], OrNull(row[2]), OrNull(row[3]), row[4], row[5], row[6]));
            }
        }
        catch (Exception error) when (error is ArgumentException or OverflowException)
        {
            throw new InvalidDataException($"{path}: damaged history: {error.Message}", error);
        }
        return history;

        static double? OrNull(double value) => double.IsNaN(value) ? null : value;

        double[] Doubles(string name, int columns, TensorValues values)
        {
            var tensor = Find(name, SafeTensors.Float64, values);
            return tensor.Shape is [_, var found] && found == columns
                ? MemoryMarshal.Cast<byte, double>(tensor.Bytes).ToArray()
                : throw new InvalidDataException(
                    $"{path}: '{name}' has shape [{string.Join(", ", tensor.Shape)}], expected rows of {columns}");
        }

        StoredTensor Find(string name, string type, TensorValues values)
        {
            var found = tensors.FirstOrDefault(tensor => tensor.Name == name && tensor.Type == type)
                ?? throw new InvalidDataException($"{path}: no {type} tensor '{name}', expected a trainer's checkpoint");
            return found.Fault(values) is { } fault ? throw new InvalidDataException($"{path}: '{name}' {fault}") : found;
        }
    }
}
