using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Serialization;
using Adadelta.Native;
using Adadelta.Training;

namespace Adadelta.Cli;

/// <summary>run.json: all that is needed to repeat a training and to use its model.</summary>
internal sealed record RunFile(
    RunVersions Versions, DateTimeOffset Started, RunSettings Settings, RunDevice Device, RunData Data, JsonElement Network,
    RunResults Results)
{
    public static RunFile Read(string path)
    {
        try
        {
            RunFile run = JsonSerializer.Deserialize(File.ReadAllText(path), RunJson.Default.RunFile)
                ?? throw new JsonException("null");
            return run.Data is { Shape: [>= 1, >= 1, >= 1], Classes: >= 1 }
                ? run
                : throw new JsonException("data.shape and data.classes, expected [channels, height, width] and a number, each >= 1");
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{path}: not the record of a training: {e.Message}", e);
        }
    }

    public void Write(string path) =>
        AtomicFile.Write(path, stream => JsonSerializer.Serialize(stream, this, RunJson.Default.RunFile));
}

internal sealed record RunVersions(string Adadelta, string NativeLibrary, uint NativeAbi, string Runtime, string System)
{
    public static string Tool { get; } = typeof(RunVersions).Assembly.GetName().Version!.ToString(3);

    public static RunVersions Current => new(
        Tool, NativeLibraryInfo.Version, NativeLibraryInfo.AbiVersion,
        RuntimeInformation.FrameworkDescription, $"{RuntimeInformation.OSDescription}, {RuntimeInformation.RuntimeIdentifier}");
}

/// <summary>The options of train, by their names; those that say where files are excepted.</summary>
internal sealed record RunSettings(
    int Epochs, int BatchSize, double Lr, double Rho, double Eps, double WeightDecay, string Schedule, ulong Seed, int? Limit);

internal sealed record RunDevice(string Device, string Name, int Threads, string InstructionSet)
{
    public static RunDevice Of(ComputeContext context) =>
        new(context.Device.ToString(), context.DeviceName, context.ThreadCount, context.InstructionSetName);

    public override string ToString() =>
        $"Device: {Device} ({Name}), {Threads} {(Threads == 1 ? "thread" : "threads")}, {InstructionSet}";
}

/// <param name="Choice">Value of --data that opens it again.</param>
/// <param name="Name">Name of the data set.</param>
/// <param name="Source">Folder it was read from, or <c>embedded</c>.</param>
/// <param name="TrainingImages">Number of images trained on.</param>
/// <param name="TestImages">Number of test images.</param>
/// <param name="Shape">Channels, height and width of an image.</param>
/// <param name="Classes">Number of classes.</param>
internal sealed record RunData(
    string Choice, string Name, string Source, int TrainingImages, int TestImages, int[] Shape, int Classes)
{
    public static RunData Of(DataSource data)
    {
        ImageDataset train = data.Split.Train;
        return new(
            data.Choice, data.Split.Name, data.Split.Source, train.Count, data.Split.Test.Count,
            [train.Channels, train.Height, train.Width], train.Classes);
    }
}

/// <param name="Finished">False where the training was stopped.</param>
/// <param name="Epochs">Number of whole epochs.</param>
/// <param name="Steps">Number of steps.</param>
/// <param name="AverageLoss">Mean loss of the last whole epoch.</param>
/// <param name="TestLoss">Loss on the test images after the last whole epoch.</param>
/// <param name="TestAccuracy">Share of the test images that were read right after the last whole epoch.</param>
/// <param name="TrainingSeconds">Seconds of training alone, over the whole epochs.</param>
internal sealed record RunResults(
    bool Finished, int Epochs, int Steps, double? AverageLoss, double? TestLoss, double? TestAccuracy, double TrainingSeconds)
{
    public static RunResults Of(LossHistory history)
    {
        EpochResult? last = history.Epochs.Count > 0 ? history.Epochs[^1] : null;
        return new(
            !history.Cancelled, history.Epochs.Count, history.Steps.Count, last?.AverageLoss, last?.TestLoss, last?.TestAccuracy,
            history.Epochs.Sum(epoch => epoch.Seconds));
    }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true,
    RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(RunFile))]
[JsonSerializable(typeof(RunPlan))]
internal sealed partial class RunJson : JsonSerializerContext;
