using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Adadelta.Training;

/// <summary>What a checkpoint keeps of a data set, to tell whether another is the same.</summary>
/// <param name="Name">Its name, for messages alone.</param>
/// <param name="Count">Its images.</param>
/// <param name="Checksum">Its <see cref="ImageDataset.Checksum"/>.</param>
internal sealed record DataIdentity(string Name, int Count, string Checksum)
{
    [return: NotNullIfNotNull(nameof(data))]
    public static DataIdentity? Of(ImageDataset? data) => data is null ? null : new(data.Name, data.Count, data.Checksum);

    public static string NameKey(string key) => $"{key}.name";

    public static string CountKey(string key) => $"{key}.images";

    public static string ChecksumKey(string key) => $"{key}.checksum";

    public void AddTo(Dictionary<string, string> metadata, string key)
    {
        metadata[NameKey(key)] = Name;
        metadata[CountKey(key)] = Count.ToString(CultureInfo.InvariantCulture);
        metadata[ChecksumKey(key)] = Checksum;
    }

    // A set that was moved or renamed is the same.
    public bool Equals(DataIdentity? other) => other is not null && (Count, Checksum) == (other.Count, other.Checksum);

    public override int GetHashCode() => HashCode.Combine(Count, Checksum);

    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture, $"'{Name}' with {Count} images and the checksum {Checksum}");
}
