using Adadelta.Native;
using Adadelta.Training;

namespace Adadelta.Cli;

/// <summary>A trained model: its weights, and what is known of its network and data.</summary>
/// <param name="Weights">The model.safetensors file.</param>
/// <param name="Run">The record of its training, where there is one.</param>
/// <param name="Definition">Its network.</param>
internal sealed record SavedModel(string Weights, RunFile? Run, NetworkDefinition Definition)
{
    /// <summary>Finds a model's files and reads all but the weights.</summary>
    /// <param name="path">An output folder, or a safetensors file with run.json beside it.</param>
    /// <param name="networkFile">Network to use instead of the one in run.json.</param>
    public static SavedModel Find(string? path, string? networkFile)
    {
        path ??= CommonOptions.DefaultOutput;
        string folder = File.Exists(path) ? Path.GetDirectoryName(Path.GetFullPath(path))! : path;
        OutputFolder files = new(folder);
        string weights = File.Exists(path) ? path : files.Model;
        if (!File.Exists(weights))
        {
            throw new FileNotFoundException(
                $"no model: '{weights}' is not there; make one with adadelta train, or name one with --model");
        }

        RunFile? run = File.Exists(files.Run) ? RunFile.Read(files.Run) : null;
        if (networkFile is not null)
        {
            return new(weights, run, NetworkDefinition.Load(networkFile));
        }

        return run is not null
            ? new(weights, run, NetworkDefinition.Parse(run.Network.GetRawText(), files.Run))
            : throw new FileNotFoundException($"no run.json beside '{weights}', expected it or --network");
    }

    /// <summary>Opens the data set that is named, else the one that the model was trained on.</summary>
    public DataSource OpenData(string? data, string? dataDir, CancellationToken stop)
    {
        IReadOnlyList<string>? more = Run is { Data: { Choice: DataSource.Mnist } known } ? [known.Source] : null;
        // Only test images are read, so that no more than one training image need be drawn.
        return DataSource.Open(data ?? Run?.Data.Choice, dataDir, more, 1, stop);
    }

    /// <summary>Builds the network and gives it the weights.</summary>
    /// <param name="context">Device and threads.</param>
    /// <param name="data">Images that say what a definition leaves open, where run.json does not.</param>
    public Network Build(ComputeContext context, DataSource? data)
    {
        NetworkDefinition complete = (Run, data) switch
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
}
