using Adadelta.Native;

namespace Adadelta.Training;

/// <summary>A published data set, known by the checksums of its files' content.</summary>
internal sealed record KnownDataset(
    string Name, ImageShape Shape, int TrainCount, string TrainChecksum, int TestCount, string TestChecksum)
{
    public const string Mnist = "MNIST";

    // The checksums are those of the published files, which KnownDatasetTests has read. What has not been read is not here.
    private static readonly KnownDataset[] s_all =
    [
        new(Mnist, new(1, 28, 28), 60_000, "ea184c6a70f11642", 10_000, "d3abf20dfd144ebc"),
        new("Fashion-MNIST", new(1, 28, 28), 60_000, "62317e8059a30d27", 10_000, "d5bdb45c1f089691"),
    ];

    /// <summary>The name of a data set that is a published one, or null.</summary>
    public static string? NameOf(ImageDataset train, ImageDataset test) => Array.Find(s_all, known =>
        (known.Shape, known.TrainCount, known.TestCount) == (train.Shape, train.Count, test.Count)
        && known.Shape == test.Shape
        && known.TrainChecksum == train.Checksum
        && known.TestChecksum == test.Checksum)?.Name;

    /// <summary>A name for a data set that is no published one: its own, unless that would be taken for one.</summary>
    public static string NameOfOthers(string name) =>
        Array.Find(s_all, known => Letters(known.Name) == Letters(name)) is { } known
            ? $"{name} (not the published {known.Name})"
            : name;

    private static string Letters(string name) => string.Concat(name.Where(char.IsAsciiLetterOrDigit)).ToUpperInvariant();
}
