using Adadelta.Native;

namespace Adadelta.Training;

/// <summary>Keeps a network's parameters in a safetensors file, under PyTorch's names and shapes.</summary>
public static class NetworkFile
{
    /// <summary>Writes all parameters, whole or not at all.</summary>
    /// <param name="network">The network.</param>
    /// <param name="path">The file.</param>
    /// <param name="metadata">Texts to keep with them, or null.</param>
    /// <exception cref="InvalidOperationException">A parameter is not finite, so that the file could not be loaded.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public static void Save(Network network, string path, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentNullException.ThrowIfNull(network);
        SafeTensors.WriteSources(path, [.. Tensors(network)], metadata);
    }

    /// <summary>Sets all parameters from a file. Where anything does not fit, nothing is changed.</summary>
    /// <param name="network">The network; its parameters must be the file's tensors, by name and shape.</param>
    /// <param name="path">The file; of a checkpoint (<see cref="CheckpointFile"/>), the network's part.</param>
    /// <returns>The file's metadata.</returns>
    /// <exception cref="InvalidDataException">
    /// The file is damaged, lacks a parameter, holds an unknown one, one of another shape or one that is not finite; the message
    /// names them.
    /// </exception>
    /// <exception cref="IOException">The file is missing or cannot be read.</exception>
    public static IReadOnlyDictionary<string, string> Load(Network network, string path)
    {
        ArgumentNullException.ThrowIfNull(network);
        var file = SafeTensors.ReadStored(path);
        // A checkpoint holds the same parameters, and more beside them.
        Prepare(network, path, file.Tensors.Where(tensor => !CheckpointFile.IsReserved(network, tensor.Name)))();
        return file.Metadata;
    }

    internal static IEnumerable<TensorSource> Tensors(Network network) => network.Parameters.Select(p => new TensorSource(
        p.Name, SafeTensors.Float32, [.. p.Value.Shape], p.Value.ByteCount,
        (offset, bytes) => p.Value.ReadBytes(bytes, offset), TensorValues.Finite));

    /// <summary>Checks that tensors are a network's parameters.</summary>
    /// <returns>What sets the parameters.</returns>
    /// <exception cref="InvalidDataException">They are not; the message names all that differs.</exception>
    internal static Action Prepare(Network network, string path, IEnumerable<StoredTensor> given)
    {
        var tensors = given.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        List<string> faults = [];
        List<(Parameter Parameter, StoredTensor Tensor)> found = [];
        foreach (var parameter in network.Parameters)
        {
            if (!tensors.Remove(parameter.Name, out var tensor))
            {
                faults.Add($"'{parameter.Name}' is missing");
                continue;
            }
            found.Add((parameter, tensor));
            if (tensor.Type != SafeTensors.Float32)
            {
                faults.Add($"'{parameter.Name}' has dtype {tensor.Type}, expected {SafeTensors.Float32}");
            }
            else if (!tensor.Shape.SequenceEqual(parameter.Value.Shape))
            {
                faults.Add($"'{parameter.Name}' has shape [{string.Join(", ", tensor.Shape)}], "
                    + $"expected [{string.Join(", ", parameter.Value.Shape)}]");
            }
            else if (tensor.Fault(TensorValues.Finite) is { } fault)
            {
                faults.Add($"'{parameter.Name}' {fault}");
            }
        }
        faults.AddRange(tensors.Keys.Select(name => $"'{name}' is not a parameter of the network"));
        return faults.Count == 0
            ? () => found.ForEach(pair => pair.Tensor.CopyTo(pair.Parameter.Value))
            : throw new InvalidDataException($"{path}: does not fit the network: {string.Join("; ", faults)}");
    }
}
