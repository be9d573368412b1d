using System.Buffers.Binary;
using System.IO.Compression;
using System.IO.Hashing;
using System.Text;
using System.Text.RegularExpressions;

namespace Adadelta.Reliability.Tests;

/// <summary>Changes a file at random: its bytes, and what the formats here are made of.</summary>
internal sealed partial class Mutator(Random random)
{
    private static readonly ulong[] s_edges =
    [
        0, 1, 2, 3, 4, 7, 8, 16, 255, 256, 65535, 65536, int.MaxValue, 1UL << 31, uint.MaxValue, 1UL << 32, long.MaxValue, 1UL << 63,
        ulong.MaxValue,
    ];

    // In place of a number, a text or a word of JSON.
    private static readonly string[] s_tokens =
    [
        "0", "1", "-1", "2", "7", "0.5", "1e999", "-1e-400", "NaN", "2147483648", "4294967296", "9223372036854775807",
        "9223372036854775808", "18446744073709551616", "null", "true", "false", "[]", "{}", "[1]", "\"\"", "\"F32\"", "\"F64\"",
        "\"I64\"", "\"conv2d\"", "\"linear\"", "\"classes\"", "\"\\u0000\"", "\"\\ud800\"", "{\"a\":1,\"a\":2}",
    ];

    public byte[] Mutate(byte[] data, byte[] other)
    {
        for (var changes = 1 + random.Next(4); changes > 0; changes--)
        {
            data = One(data, other);
        }
        return data;
    }

    private byte[] One(byte[] data, byte[] other)
    {
        switch (random.Next(12))
        {
            case 0 when data.Length > 0:
                var flipped = data.ToArray();
                flipped[random.Next(data.Length)] ^= (byte)(1 << random.Next(8));
                return flipped;
            case 1 when data.Length > 0:
                var set = data.ToArray();
                set[random.Next(data.Length)] = (byte)random.Next(256);
                return set;
            case 2:
                return data[..random.Next(data.Length + 1)];
            case 3:
                var inserted = new byte[1 + random.Next(16)];
                random.NextBytes(inserted);
                var at = random.Next(data.Length + 1);
                return [.. data[..at], .. inserted, .. data[at..]];
            case 4:
                var (from, to) = Range(data.Length);
                return [.. data[..from], .. data[to..]];
            case 5:
                (from, to) = Range(data.Length);
                at = random.Next(data.Length + 1);
                return [.. data[..at], .. data[from..to], .. data[at..]];
            case 6:
                (from, to) = Range(other.Length);
                at = random.Next(data.Length + 1);
                return [.. data[..at], .. other[from..to], .. data[Math.Min(data.Length, at + to - from)..]];
            case 7 or 8:
                return WithNumber(data);
            default:
                return WithToken(data);
        }
    }

    private (int From, int To) Range(int length)
    {
        var from = random.Next(length + 1);
        return (from, from + random.Next(Math.Min(64, length - from) + 1));
    }

    // A binary number at an edge of its type, mostly in the header.
    private byte[] WithNumber(byte[] data)
    {
        var size = random.Next(3) switch { 0 => 2, 1 => 4, _ => 8 };
        if (data.Length < size)
        {
            return data;
        }
        var copy = data.ToArray();
        var place = copy.AsSpan(random.Next(random.Next(2) == 0 ? Math.Min(data.Length - size, 32) + 1 : data.Length - size + 1), size);
        var value = s_edges[random.Next(s_edges.Length)] + (random.Next(4) == 0 ? (ulong)random.Next(5) - 2 : 0);
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        bytes[..size].CopyTo(place);
        if (random.Next(2) == 0)
        {
            place.Reverse();
        }
        return copy;
    }

    // Latin-1 keeps every byte as it is.
    private byte[] WithToken(byte[] data)
    {
        var text = Encoding.Latin1.GetString(data.AsSpan(0, Math.Min(data.Length, 4096)));
        var found = Token().Matches(text);
        if (found.Count == 0)
        {
            return data;
        }
        var match = found[random.Next(found.Count)];
        var token = random.Next(3) == 0 ? found[random.Next(found.Count)].Value : s_tokens[random.Next(s_tokens.Length)];
        return [.. data[..match.Index], .. Encoding.Latin1.GetBytes(token), .. data[(match.Index + match.Length)..]];
    }

    [GeneratedRegex("""-?[0-9]+(?:\.[0-9]+)?|"[^"]{0,40}"|true|false|null""")]
    private static partial Regex Token();

    // ---- What would end every changed file at its first check is put right again, half of the time ----

    /// <summary>The header's length at the start of a safetensors file.</summary>
    public byte[] WithHeaderLength(byte[] data)
    {
        var end = data.AsSpan().LastIndexOf("}"u8) + 1;
        if (data.Length < 8 || end <= 8 || random.Next(2) == 0)
        {
            return data;
        }
        // The last brace of the header, not one among the numbers.
        var header = Encoding.Latin1.GetString(data, 8, Math.Min(data.Length - 8, 8192));
        var depth = 0;
        for (var i = 0; i < header.Length; i++)
        {
            depth += header[i] switch { '{' => 1, '}' => -1, _ => 0 };
            if (depth == 0 && header[i] == '}')
            {
                var copy = data.ToArray();
                BinaryPrimitives.WriteInt64LittleEndian(copy, i + 1);
                return copy;
            }
        }
        return data;
    }

    public bool Coin() => random.Next(2) == 0;

    /// <summary>Unpacks what can be; the rest stays as it is.</summary>
    public static byte[] Gunzip(byte[] data)
    {
        try
        {
            using var gzip = new GZipStream(new MemoryStream(data), CompressionMode.Decompress);
            var unpacked = new byte[4096];
            return unpacked[..gzip.ReadAtLeast(unpacked, unpacked.Length, throwOnEndOfStream: false)];
        }
        catch (InvalidDataException)
        {
            return data;
        }
    }

    /// <summary>Packs what was changed.</summary>
    public static byte[] Gzip(byte[] data)
    {
        using var memory = new MemoryStream();
        using (var gzip = new GZipStream(memory, CompressionLevel.Fastest))
        {
            gzip.Write(data);
        }
        return memory.ToArray();
    }

    /// <summary>The checksums of a PNG's chunks.</summary>
    public byte[] WithChunkChecksums(byte[] data)
    {
        if (random.Next(3) == 0)
        {
            return data;
        }
        var copy = data.ToArray();
        for (var at = 8; at + 12 <= copy.Length;)
        {
            var length = BinaryPrimitives.ReadUInt32BigEndian(copy.AsSpan(at));
            if (length > copy.Length - at - 12)
            {
                break;
            }
            BinaryPrimitives.WriteUInt32BigEndian(
                copy.AsSpan(at + 8 + (int)length), Crc32.HashToUInt32(copy.AsSpan(at + 4, 4 + (int)length)));
            at += 12 + (int)length;
        }
        return copy;
    }
}
