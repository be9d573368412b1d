using System.Globalization;
using Adadelta.Native;

namespace Adadelta.Training;

/// <summary>
/// Keeps a network and its optimizer in one safetensors file, so that training goes on from it with the same bits: the
/// parameters under PyTorch's names (as <see cref="NetworkFile"/>), the optimizer's state under <c>optimizer.</c> (as
/// <see cref="OptimizerFile"/>), and the seed and the count that dropout's random numbers follow under the metadata keys
/// <c>network.seed</c> and <c>network.step</c>.
/// </summary>
/// <remarks>
/// What a run needs beside these (losses so far, the place in the data) is kept by <see cref="Trainer.CheckpointPath"/> under
/// <c>training.</c> in the same file; here it is passed over.
/// </remarks>
public static class CheckpointFile
{
    internal const string TrainingPrefix = "training.";

    private const string SeedKey = "network.seed";
    private const string StepKey = "network.step";

    /// <summary>Writes network and optimizer, whole or not at all.</summary>
    /// <param name="network">The network.</param>
    /// <param name="optimizer">Its optimizer.</param>
    /// <param name="path">The file.</param>
    /// <param name="metadata">Texts to keep with them, or null.</param>
    /// <exception cref="InvalidOperationException">
    /// A number is not finite, or of the state negative, so that the file could not be loaded.
    /// </exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public static void Save(
        Network network, AdadeltaOptimizer optimizer, string path, IReadOnlyDictionary<string, string>? metadata = null) =>
        Save(network, optimizer, path, metadata, []);

    /// <summary>Sets network and optimizer from a file. Where anything does not fit, nothing is changed.</summary>
    /// <param name="network">
    /// The network; its parameters must be the file's, by name and shape, and with dropout so must its seed.
    /// </param>
    /// <param name="optimizer">Its optimizer, with groups as the file's.</param>
    /// <param name="path">The file.</param>
    /// <returns>The file's metadata.</returns>
    /// <exception cref="InvalidDataException">
    /// The file is damaged or of a later version, does not fit the network or the optimizer, or holds numbers that are not finite or
    /// out of range; the message names all that differs.
    /// </exception>
    /// <exception cref="IOException">The file is missing or cannot be read.</exception>
    public static IReadOnlyDictionary<string, string> Load(Network network, AdadeltaOptimizer optimizer, string path) =>
        Load(network, optimizer, path, _ => { });

    internal static void Save(
        Network network, AdadeltaOptimizer optimizer, string path, IReadOnlyDictionary<string, string>? metadata,
        IEnumerable<TensorSource> more)
    {
        ArgumentNullException.ThrowIfNull(network);
        ArgumentNullException.ThrowIfNull(optimizer);
        Dictionary<string, string> texts = new(metadata ?? new Dictionary<string, string>(), StringComparer.Ordinal)
        {
            [SeedKey] = network.Seed.ToString(CultureInfo.InvariantCulture),
            [StepKey] = network.Step.ToString(CultureInfo.InvariantCulture),
        };
        TensorSource[] tensors = [.. NetworkFile.Tensors(network), .. OptimizerFile.Tensors(optimizer, texts), .. more];
        SafeTensors.WriteSources(path, tensors, texts);
    }

    /// <summary><paramref name="check"/> may refuse the file before anything is changed.</summary>
    internal static IReadOnlyDictionary<string, string> Load(
        Network network, AdadeltaOptimizer optimizer, string path, Action<StoredFile> check)
    {
        ArgumentNullException.ThrowIfNull(network);
        ArgumentNullException.ThrowIfNull(optimizer);
        var file = SafeTensors.ReadStored(path);
        var stepText = file.Metadata.GetValueOrDefault(StepKey, "");
        if (!long.TryParse(stepText, NumberStyles.None, CultureInfo.InvariantCulture, out var step) || step >= 1L << 40)
        {
            throw new InvalidDataException($"{path}: {StepKey} is '{stepText}', expected a whole number below 2^40");
        }
        var seed = network.Seed.ToString(CultureInfo.InvariantCulture);
        var seedText = file.Metadata.GetValueOrDefault(SeedKey, "");
        if (seedText != seed && network.Layers.Any(layer => layer.Kind == LayerKind.Dropout))
        {
            throw new InvalidDataException(
                $"{path}: {SeedKey} is '{seedText}', expected {seed}, the network's, since dropout draws from it");
        }
        check(file);
        var setNetwork = NetworkFile.Prepare(
            network, path, file.Tensors.Where(tensor => !IsReserved(network, tensor.Name)));
        var setOptimizer = OptimizerFile.Prepare(
            optimizer, path,
            file.Tensors.Where(tensor => IsReserved(network, tensor.Name) && IsOptimizers(tensor.Name)), file.Metadata);
        setOptimizer();
        setNetwork();
        network.Step = step;
        return file.Metadata;
    }

    internal static bool IsReserved(Network network, string name) =>
        (IsOptimizers(name) || name.StartsWith(TrainingPrefix, StringComparison.Ordinal))
        && network.Parameters.All(parameter => parameter.Name != name);

    private static bool IsOptimizers(string name) => name.StartsWith(OptimizerFile.Prefix, StringComparison.Ordinal);
}
