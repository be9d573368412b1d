using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Text.Json;
using Adadelta.Training;

namespace Adadelta.Cli;

/// <summary>
/// What a checkpoint and a model say of the run that they were made in, so that it can go on without being described again and
/// the model be used without it.
/// </summary>
internal sealed record RunPlan(RunSettings Settings, RunData Data, JsonElement Network)
{
    private const string Key = "run";

    public IReadOnlyDictionary<string, string> ToMetadata() =>
        new Dictionary<string, string> { [Key] = JsonSerializer.Serialize(this, RunJson.Default.RunPlan) };

    /// <summary>The plan in a file's metadata; null where there is none.</summary>
    /// <exception cref="InvalidDataException">It is damaged.</exception>
    public static RunPlan? Find(string path, IReadOnlyDictionary<string, string> metadata)
    {
        if (!metadata.TryGetValue(Key, out string? text))
        {
            return null;
        }

        try
        {
            RunPlan plan = JsonSerializer.Deserialize(text, RunJson.Default.RunPlan) ?? throw new JsonException("null");
            return plan.Data is { Shape: [>= 1, >= 1, >= 1], Classes: >= 1 }
                ? plan
                : throw new JsonException("data.shape and data.classes, expected [channels, height, width] and a number, each >= 1");
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{path}: '{Key}' in the metadata is damaged: {e.Message}", e);
        }
    }
}

/// <summary>A checkpoint that a training is to go on from.</summary>
/// <param name="Path">The file.</param>
/// <param name="Plan">The run that it was made in.</param>
internal sealed record RunCheckpoint(string Path, RunPlan Plan)
{
    /// <summary>Finds a checkpoint and reads what it says of its run.</summary>
    /// <param name="path">An output folder, or a checkpoint's file; null for the latest run's.</param>
    public static RunCheckpoint Find(string? path)
    {
        string file = File.Exists(path)
            ? path
            : (path is null ? OutputFolder.Latest(known => known.Checkpoint) : new OutputFolder(path)).Checkpoint;
        if (!File.Exists(file))
        {
            throw new UsageException($"--resume: '{file}' is not there, expected the output folder of a training or a checkpoint");
        }

        IReadOnlyDictionary<string, string> metadata = SafeTensors.ReadMetadata(file);
        // A model holds the same plan, but nothing to go on with.
        return RunPlan.Find(file, metadata) is { } plan && metadata.ContainsKey("training.seed")
            ? new(file, plan)
            : throw new UsageException($"--resume: '{file}' is no checkpoint of adadelta train, expected the output folder of a training or a checkpoint");
    }

    public string Folder => System.IO.Path.GetDirectoryName(Path) is { Length: > 0 } folder ? folder : ".";

    /// <summary>The run's own setting; one that the command line gives must be the same.</summary>
    /// <exception cref="UsageException">The command line gives another one.</exception>
    public T Keep<T>(ParseResult result, Option<T> option, T kept)
    {
        if (result.GetResult(option) is { Implicit: false })
        {
            Same(option.Name, result.GetValue(option), kept);
        }

        return kept;
    }

    /// <exception cref="UsageException">The values are not the same.</exception>
    public void Same(string name, object? found, object? kept, RunData? data = null)
    {
        if (Text(found) != Text(kept))
        {
            (string from, string of) = data is null ? ("", "") : ($" of {data.Name} ({data.Source})", $" of {Plan.Data.Name} ({Plan.Data.Source})");
            throw new UsageException($"{name}: {Text(found)}{from}, expected {Text(kept)}{of}, as in the run of '{Path}'");
        }
    }

    /// <exception cref="UsageException">These are not the images of the run.</exception>
    public void Check(RunData data)
    {
        Same("--data: training images", data.TrainingImages, Plan.Data.TrainingImages);
        Same("--data: test images", data.TestImages, Plan.Data.TestImages);
        Same("--data: shape of an image", string.Join('x', data.Shape), string.Join('x', Plan.Data.Shape));
        Same("--data: classes", data.Classes, Plan.Data.Classes);
        // A data set may have been moved or renamed in between.
        Same("--data: checksum of the training images", data.TrainingChecksum, Plan.Data.TrainingChecksum, data);
        Same("--data: checksum of the test images", data.TestChecksum, Plan.Data.TestChecksum, data);
    }

    private static string Text(object? value) => value is bool flag ? (flag ? "yes" : "no")
        : Convert.ToString(value, CultureInfo.InvariantCulture) is { Length: > 0 } text ? text : "none";
}
