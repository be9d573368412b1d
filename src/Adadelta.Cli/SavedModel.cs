using System.Text.Json;
using Adadelta.Native;
using Adadelta.Training;

namespace Adadelta.Cli;

/// <summary>A trained model: its weights, and what is known of its network and data.</summary>
/// <param name="Weights">A safetensors file: a model, or a checkpoint.</param>
/// <param name="Plan">The run that it was trained in; null where the file was made by something else.</param>
/// <param name="Definition">Its network.</param>
internal sealed record SavedModel(string Weights, RunPlan? Plan, NetworkDefinition Definition)
{
    /// <summary>Finds a model and reads all but its weights.</summary>
    /// <param name="path">An output folder, or a safetensors file.</param>
    /// <param name="networkFile">Network to use instead of the model's own.</param>
    public static SavedModel Find(string? path, string? networkFile)
    {
        OutputFolder folder = path is null ? OutputFolder.Latest(known => known.Model) : new(path);
        string weights = File.Exists(path) ? path : folder.Model;
        if (path is null && OutputFolder.LatestRun() is { } latest && latest.Path != folder.Path)
        {
            Failure.Warn($"the latest run, '{latest.Path}', was not finished and has no model: '{folder.Path}' is used");
        }

        if (!File.Exists(weights) && File.Exists(folder.Checkpoint))
        {
            throw new UsageException(
                $"--model: '{weights}' is not there, since the run was not finished; '{folder.Checkpoint}' is what it has reached");
        }

        if (!File.Exists(weights))
        {
            throw new UsageException(
                $"--model: '{weights}' is not there, expected the output folder of a training or its model.safetensors");
        }

        RunPlan? plan = RunPlan.Find(weights, SafeTensors.Read(weights).Metadata);
        if (networkFile is not null)
        {
            return new(weights, plan, LoadNetwork(networkFile));
        }

        return plan is not null
            ? new(weights, plan, NetworkDefinition.Parse(plan.Network.GetRawText(), weights))
            : throw new UsageException($"--network: none, and '{weights}' does not hold one, expected the network file of these weights");
    }

    /// <summary>Reads a network file that was named on the command line.</summary>
    /// <exception cref="UsageException">It cannot be read.</exception>
    public static NetworkDefinition LoadNetwork(string path)
    {
        try
        {
            return NetworkDefinition.Load(path);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new UsageException($"--network: '{path}': no such file");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException(Directory.Exists(path)
                ? $"--network: '{path}': a folder, expected a JSON file"
                : $"--network: '{path}': {e.Message}");
        }
    }

    /// <summary>Opens the data set that is named, else the one that the model was trained on, and as it was then.</summary>
    public DataSource OpenData(string? data, string? dataDir, bool transpose, CancellationToken stop)
    {
        RunData? known = Plan?.Data;
        bool own = known is not null && (data is null || data == known.Choice || Path.GetFullPath(data) == known.Choice);
        IReadOnlyList<string>? more = known is { Choice: DataSource.Mnist } ? [known.Source] : null;
        // Only test images are read, so that no more than one training image need be drawn.
        DataSource source = DataSource.Open(
            data ?? known?.Choice, dataDir, more, 1, transpose || (own && known!.Transpose), stop);
        if (!own)
        {
            source.AdviseTranspose();
        }
        else if (source.Split.Test.Checksum != known!.TestChecksum && !transpose)
        {
            Failure.Warn(
                $"the test images of {source.Split.Name} ({source.Split.Source}) are not those of the training: "
                + $"checksum {source.Split.Test.Checksum}, then {known.TestChecksum}");
        }

        return source;
    }

    /// <summary>Builds the network and gives it the weights.</summary>
    /// <param name="context">Device and threads.</param>
    /// <param name="data">Images that say what a definition leaves open, where the model does not.</param>
    public Network Build(ComputeContext context, DataSource? data)
    {
        NetworkDefinition complete = (Plan, data) switch
        {
            ({ Data: var known }, _) => Definition.For(new(known.Shape[0], known.Shape[1], known.Shape[2]), known.Classes),
            (null, { Split.Train: var images }) => Definition.For(images.Shape, images.Classes),
            _ => Definition,
        };
        Network network = complete.Build(context);
        try
        {
            NetworkFile.Load(network, Weights);
            return network;
        }
        catch
        {
            network.Dispose();
            throw;
        }
    }

    /// <summary>What to say where the outputs are no numbers: a prediction made of them would be none.</summary>
    /// <param name="found">What was found instead.</param>
    public InvalidDataException NotNumbers(string found) => new($"{Weights}: no model that can tell a class: {found}");
}
