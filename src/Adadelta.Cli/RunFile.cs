using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Serialization;
using Adadelta.Native;
using Adadelta.Training;

namespace Adadelta.Cli;

/// <summary>run.json: what a training was and what came of it, for people and their scripts; the tool itself reads the plan in its
/// checkpoint and model.</summary>
internal sealed record RunFile(
    RunVersions Versions, DateTimeOffset Started, RunSettings Settings, RunDevice Device, RunData Data, JsonElement Network,
    RunResults Results)
{
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
/// <param name="Transpose">Whether rows and columns of the files' images were exchanged.</param>
/// <param name="TrainingChecksum">Tells the training images from others.</param>
/// <param name="TestChecksum">Tells the test images from others.</param>
/// <param name="Pixels">How light the training images are.</param>
internal sealed record RunData(
    string Choice, string Name, string Source, int TrainingImages, int TestImages, int[] Shape, int Classes, bool Transpose,
    string TrainingChecksum, string TestChecksum, PixelStatistics Pixels)
{
    public static RunData Of(DataSource data, bool transpose)
    {
        ImageDataset train = data.Split.Train;
        return new(
            data.Choice, data.Split.Name, data.Split.Source, train.Count, data.Split.Test.Count,
            [train.Channels, train.Height, train.Width], train.Classes, transpose, train.Checksum, data.Split.Test.Checksum,
            PixelStatistics.Of(train));
    }
}

/// <param name="Finished">False where the training was stopped or has failed.</param>
/// <param name="Error">Why it has failed; null where it has not.</param>
/// <param name="Epochs">Number of whole epochs.</param>
/// <param name="Steps">Number of steps.</param>
/// <param name="LastLoss">Loss of the last step.</param>
/// <param name="AverageLoss">Mean loss of the last epoch's steps; where it was stopped, of those that it has.</param>
/// <param name="TestLoss">Loss on the test images after the last whole epoch.</param>
/// <param name="TestAccuracy">Share of the test images that were read right after the last whole epoch.</param>
/// <param name="TrainingSeconds">Seconds of training, without tests, and with what was trained of an epoch that was stopped.</param>
internal sealed record RunResults(
    bool Finished, string? Error, int Epochs, int Steps, double? LastLoss, double? AverageLoss, double? TestLoss,
    double? TestAccuracy, double TrainingSeconds)
{
    /// <param name="history">The run's losses.</param>
    /// <param name="begun">Seconds of the epoch that was stopped.</param>
    /// <param name="error">Why the run has failed, or null.</param>
    public static RunResults Of(LossHistory history, double begun, string? error)
    {
        EpochResult? tested = history.Epochs.Count > 0 ? history.Epochs[^1] : null;
        int last = history.Steps.Count > 0 ? history.Steps[^1].Epoch : 0;
        double? average = tested?.Epoch == last
            ? tested.AverageLoss
            : history.Steps.Where(step => step.Epoch == last).Select(step => (double?)step.Loss).Average();
        return new(
            error is null && !history.Cancelled, error, history.Epochs.Count, history.Steps.Count,
            history.Steps.Count > 0 ? history.Steps[^1].Loss : null, average, tested?.TestLoss, tested?.TestAccuracy,
            history.Epochs.Sum(epoch => epoch.Seconds) + begun);
    }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true,
    RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(RunFile))]
[JsonSerializable(typeof(RunPlan))]
internal sealed partial class RunJson : JsonSerializerContext;
