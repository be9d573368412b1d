using System.Globalization;
using System.Text;

namespace Adadelta.Training;

/// <summary>One training step.</summary>
/// <param name="Epoch">The epoch, from 1.</param>
/// <param name="Step">The step in its epoch, from 1.</param>
/// <param name="Loss">
/// The network's loss before the step's update, by the network's reduction (mean or sum over the batch).
/// </param>
/// <param name="LearningRate">The learning rate of the step, that of the optimizer's first group.</param>
public readonly record struct StepResult(int Epoch, int Step, float Loss, double LearningRate);

/// <summary>One epoch.</summary>
/// <param name="Epoch">The epoch, from 1.</param>
/// <param name="AverageLoss">
/// The mean of the losses of the epoch's steps, each step counted once whatever its batch: the figure that a loop with
/// <c>sum(losses) / len(loader)</c> prints.
/// </param>
/// <param name="TestLoss">The mean loss over the test images; null without a test.</param>
/// <param name="TestAccuracy">The share of test images read right, 0 to 1; null without a test.</param>
/// <param name="LearningRate">The learning rate of the epoch, that of the optimizer's first group.</param>
/// <param name="Seconds">
/// Seconds of training alone: without the test, progress reports and what a caller does between epochs.
/// </param>
/// <param name="SamplesPerSecond">Images trained on in each of these seconds.</param>
public sealed record EpochResult(
    int Epoch, double AverageLoss, double? TestLoss, double? TestAccuracy, double LearningRate, double Seconds,
    double SamplesPerSecond);

/// <summary>The losses of a run: a row for each step and for each epoch, as CSV files too.</summary>
/// <remarks>
/// The files are UTF-8 with a header, commas, decimal points and <c>\n</c>, whatever the culture. Numbers are written so that
/// reading them gives the same bits. Columns:
/// <list type="bullet">
/// <item><description>steps: <c>epoch,step,loss,learning_rate</c></description></item>
/// <item><description>
/// epochs: <c>epoch,average_loss,test_loss,test_accuracy,learning_rate,seconds,samples_per_second</c>; the accuracy is a
/// fraction, the seconds are those of training alone, and <c>test_loss</c> and <c>test_accuracy</c> are empty without a test
/// </description></item>
/// </list>
/// The columns are the properties of <see cref="StepResult"/> and <see cref="EpochResult"/>.
/// </remarks>
public sealed class LossHistory
{
    private static readonly string[] s_stepColumns = ["epoch", "step", "loss", "learning_rate"];

    private static readonly string[] s_epochColumns =
        ["epoch", "average_loss", "test_loss", "test_accuracy", "learning_rate", "seconds", "samples_per_second"];

    private readonly List<StepResult> _steps = [];
    private readonly List<EpochResult> _epochs = [];

    /// <summary>The finished steps, in order.</summary>
    public IReadOnlyList<StepResult> Steps => _steps;

    /// <summary>The finished epochs, in order.</summary>
    public IReadOnlyList<EpochResult> Epochs => _epochs;

    /// <summary>True when the run was cancelled before its end. Not kept in the files.</summary>
    public bool Cancelled { get; internal set; }

    /// <summary>Adds a step, which must come after the last one.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The epoch or step is below 1 or not after the last one.</exception>
    public void Add(StepResult step)
    {
        if (OrderError(step) is (string column, string expected))
        {
            Require.That(false, column, column == "epoch" ? step.Epoch : step.Step, expected);
        }
        _steps.Add(step);
    }

    /// <summary>Adds an epoch, which must come after the last one.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The epoch is not after the last one.</exception>
    public void Add(EpochResult epoch)
    {
        ArgumentNullException.ThrowIfNull(epoch);
        var least = LeastEpoch();
        Require.That(epoch.Epoch >= least, nameof(epoch), epoch.Epoch, $"epoch >= {least}");
        _epochs.Add(epoch);
    }

    /// <summary>Writes the step rows; the same as <see cref="WriteStepsCsv"/>.</summary>
    /// <param name="path">The file, replaced when it is there.</param>
    public void WriteCsv(string path) => WriteStepsCsv(path);

    /// <summary>Writes the step rows.</summary>
    /// <param name="path">The file, replaced when it is there.</param>
    public void WriteStepsCsv(string path) => Write(path, s_stepColumns, _steps.Select(step =>
        new[] { Text(step.Epoch), Text(step.Step), Text(step.Loss), Text(step.LearningRate) }));

    /// <summary>Writes the epoch rows.</summary>
    /// <param name="path">The file, replaced when it is there.</param>
    public void WriteEpochsCsv(string path) => Write(path, s_epochColumns, _epochs.Select(epoch => new[]
    {
        Text(epoch.Epoch),
        Text(epoch.AverageLoss),
        epoch.TestLoss is double loss ? Text(loss) : "",
        epoch.TestAccuracy is double accuracy ? Text(accuracy) : "",
        Text(epoch.LearningRate),
        Text(epoch.Seconds),
        Text(epoch.SamplesPerSecond),
    }));

    /// <summary>Reads what <see cref="WriteStepsCsv"/> and <see cref="WriteEpochsCsv"/> wrote.</summary>
    /// <param name="stepsPath">The file of the step rows.</param>
    /// <param name="epochsPath">The file of the epoch rows; null leaves <see cref="Epochs"/> empty.</param>
    /// <exception cref="InvalidDataException">A file is malformed; the message names file, line, column and value.</exception>
    /// <exception cref="IOException">A file is not there or cannot be read.</exception>
    public static LossHistory ReadCsv(string stepsPath, string? epochsPath = null)
    {
        var history = new LossHistory();
        Read(stepsPath, s_stepColumns, row =>
        {
            var step = new StepResult(row.Whole(0), row.Whole(1), row.Single(2), row.Double(3));
            if (history.OrderError(step) is (string column, string expected))
            {
                throw row.Error(Array.IndexOf(s_stepColumns, column), expected);
            }
            history._steps.Add(step);
        });
        if (epochsPath is not null)
        {
            Read(epochsPath, s_epochColumns, row =>
            {
                var epoch = new EpochResult(
                    row.Whole(0), row.Double(1), row.DoubleOrEmpty(2), row.DoubleOrEmpty(3), row.Double(4), row.Double(5),
                    row.Double(6));
                var least = history.LeastEpoch();
                if (epoch.Epoch < least)
                {
                    throw row.Error(0, $"epoch >= {least}");
                }
                history._epochs.Add(epoch);
            });
        }
        return history;
    }

    /// <summary>Makes room for as many further steps, so that adding them allocates nothing.</summary>
    internal void Reserve(int steps) => _steps.EnsureCapacity(_steps.Count + steps);

    private (string Column, string Expected)? OrderError(StepResult step)
    {
        var last = _steps.Count > 0 ? _steps[^1] : new StepResult(1, 0, 0, 0);
        if (step.Epoch < last.Epoch)
        {
            return ("epoch", $"epoch >= {last.Epoch}");
        }
        var least = step.Epoch == last.Epoch ? last.Step + 1 : 1;
        return step.Step < least ? ("step", $"step >= {least}") : null;
    }

    private int LeastEpoch() => _epochs.Count > 0 ? _epochs[^1].Epoch + 1 : 1;

    private static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Text(float value) => value.ToString("R", CultureInfo.InvariantCulture);

    private static string Text(double value) => value.ToString("R", CultureInfo.InvariantCulture);

    private static void Write(string path, string[] columns, IEnumerable<string[]> rows) =>
        AtomicFile.Write(path, stream =>
        {
            using var text = new StreamWriter(stream, new UTF8Encoding(false), leaveOpen: true);
            Csv.Write(text, rows.Prepend(columns));
        });

    private static void Read(string path, string[] columns, Action<Row> readRow)
    {
        using var file = FileKind.Open(path);
        using var text = new StreamReader(file, Encoding.UTF8);
        var header = string.Join(',', columns);
        var first = true;
        foreach (var row in Csv.Read(path, text))
        {
            if (first && !columns.AsSpan().SequenceEqual(row.Values))
            {
                var found = string.Join(',', row.Values);
                throw new InvalidDataException(FileKind.Of(path) is { } kind
                    ? $"{path}: {kind}, expected comma-separated values with the header '{header}'"
                    : $"{path}, line {row.Line}: header '{(found.Length > 80 ? found[..80] + "..." : found)}', expected '{header}'");
            }
            if (row.Values.Length != columns.Length)
            {
                throw new InvalidDataException(
                    $"{path}, line {row.Line}: {row.Values.Length} values in '{row.Text}', expected {columns.Length}: {header}");
            }
            if (!first)
            {
                readRow(new Row(path, columns, row));
            }
            first = false;
        }
        if (first)
        {
            throw new InvalidDataException($"{path}, line 1: nothing, expected the header '{header}'");
        }
    }

    /// <summary>A row's values as numbers.</summary>
    private readonly struct Row(string path, string[] columns, CsvRow row)
    {
        public int Whole(int column) =>
            int.TryParse(row.Values[column], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int value)
                ? value
                : throw Error(column, "a whole number");

        public float Single(int column) =>
            float.TryParse(row.Values[column], NumberStyles.Float, CultureInfo.InvariantCulture, out float value)
                ? value
                : throw Error(column, "a number");

        public double Double(int column) =>
            double.TryParse(row.Values[column], NumberStyles.Float, CultureInfo.InvariantCulture, out double value)
                ? value
                : throw Error(column, "a number");

        public double? DoubleOrEmpty(int column) => row.Values[column].Length == 0 ? null : Double(column);

        public InvalidDataException Error(int column, string expected) =>
            new($"{path}, line {row.Line}, column {columns[column]}: '{row.Values[column]}', expected {expected}");
    }
}
