using System.Globalization;
using System.IO.Hashing;

namespace Adadelta.Training;

/// <summary>A checksum against damage and mix-ups, not against forgery: XxHash3 of 64 bits.</summary>
internal sealed class Checksum
{
    /// <summary>Hexadecimal digits of a checksum's text.</summary>
    public const int Digits = 16;

    private readonly XxHash3 _hash = new();

    public void Add(ReadOnlySpan<byte> bytes) => _hash.Append(bytes);

    public string ToText() => _hash.GetCurrentHashAsUInt64().ToString("x16", CultureInfo.InvariantCulture);
}
