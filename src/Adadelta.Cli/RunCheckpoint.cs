using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Text.Json;
using Adadelta.Training;

namespace Adadelta.Cli;

/// <summary>What a checkpoint says of the run that it was made in, so that the run can go on without being described again.</summary>
internal sealed record RunPlan(RunSettings Settings, RunData Data, JsonElement Network)
{
    private const string Key = "run";

    public IReadOnlyDictionary<string, string> ToMetadata() =>
        new Dictionary<string, string> { [Key] = JsonSerializer.Serialize(this, RunJson.Default.RunPlan) };

    /// <exception cref="InvalidDataException">The file was not written by <c>adadelta train</c>, or is damaged.</exception>
    public static RunPlan Of(string path, IReadOnlyDictionary<string, string> metadata)
    {
        string text = metadata.GetValueOrDefault(Key)
            ?? throw new InvalidDataException($"{path}: no '{Key}' in the metadata, expected a checkpoint of adadelta train");
        try
        {
            return JsonSerializer.Deserialize(text, RunJson.Default.RunPlan) ?? throw new JsonException("null");
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
    /// <param name="path">An output folder, or a checkpoint's file.</param>
    public static RunCheckpoint Find(string path)
    {
        string file = File.Exists(path) ? path : new OutputFolder(path).Checkpoint;
        return File.Exists(file)
            ? new(file, RunPlan.Of(file, SafeTensors.ReadMetadata(file)))
            : throw new FileNotFoundException(
                $"--resume: no checkpoint: '{file}' is not there, expected the output folder of a training or a checkpoint");
    }

    public string Folder => System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(Path))!;

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
    public void Same(string name, object? found, object? kept)
    {
        if (Text(found) != Text(kept))
        {
            throw new UsageException($"{name}: {Text(found)}, expected {Text(kept)}, as in the run of '{Path}'");
        }
    }

    /// <exception cref="UsageException">These are not the images of the run.</exception>
    public void Check(RunData data)
    {
        Same("--data: name of the images", data.Name, Plan.Data.Name);
        Same("--data: training images", data.TrainingImages, Plan.Data.TrainingImages);
        Same("--data: test images", data.TestImages, Plan.Data.TestImages);
        Same("--data: shape of an image", string.Join('x', data.Shape), string.Join('x', Plan.Data.Shape));
        Same("--data: classes", data.Classes, Plan.Data.Classes);
    }

    private static string Text(object? value) => Convert.ToString(value, CultureInfo.InvariantCulture) is { Length: > 0 } text ? text : "none";
}
