using System.Buffers.Binary;
using System.IO.Compression;

namespace Adadelta.Cli.Tests;

/// <summary>Writes PNG files of every kind, byte by byte, as encoders seldom do: interlaced, with palettes, turned, with headers that lie.</summary>
internal static class PngFile
{
    public const byte Gray = 0;
    public const byte Rgb = 2;
    public const byte Palette = 3;
    public const byte GrayAlpha = 4;
    public const byte Rgba = 6;

    /// <summary>Bytes of a row, from its number.</summary>
    public delegate byte[] Row(int y);

    public static byte[] Create(int width, int height, byte depth, byte kind, Row row, params byte[][] chunks) =>
        Create(width, height, depth, kind, interlaced: false, [.. Enumerable.Range(0, height).SelectMany(y => row(y).Prepend((byte)0))], chunks);

    /// <summary>Adam7's seven passes of a gray picture.</summary>
    public static byte[] CreateInterlaced(int width, int height, Row row)
    {
        List<byte> passes = [];
        foreach ((int x0, int y0, int dx, int dy) in ((int, int, int, int)[])
            [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)])
        {
            for (int y = y0; y < height; y += dy)
            {
                passes.Add(0);
                for (int x = x0; x < width; x += dx)
                {
                    passes.Add(row(y)[x]);
                }
            }
        }

        return Create(width, height, 8, Gray, interlaced: true, [.. passes], []);
    }

    /// <summary>A file whose data need not be those of its header.</summary>
    public static byte[] Create(int width, int height, byte depth, byte kind, bool interlaced, byte[] data, byte[][] chunks)
    {
        byte[] header = new byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, width);
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4), height);
        (header[8], header[9], header[12]) = (depth, kind, interlaced ? (byte)1 : (byte)0);
        using MemoryStream packed = new();
        using (ZLibStream zlib = new(packed, CompressionLevel.Optimal, leaveOpen: true))
        {
            zlib.Write(data);
        }

        return
        [
            0x89, (byte)'P', (byte)'N', (byte)'G', 13, 10, 26, 10,
            .. Chunk("IHDR"u8, header), .. chunks.SelectMany(chunk => chunk), .. Chunk("IDAT"u8, packed.ToArray()), .. Chunk("IEND"u8, []),
        ];
    }

    public static byte[] Chunk(ReadOnlySpan<byte> type, byte[] data)
    {
        byte[] chunk = new byte[data.Length + 12];
        BinaryPrimitives.WriteInt32BigEndian(chunk, data.Length);
        type.CopyTo(chunk.AsSpan(4));
        data.CopyTo(chunk, 8);
        BinaryPrimitives.WriteUInt32BigEndian(chunk.AsSpan(data.Length + 8), Crc(chunk.AsSpan(4, data.Length + 4)));
        return chunk;
    }

    /// <summary>EXIF's orientation, as a camera writes it.</summary>
    public static byte[] Orientation(byte value, bool bigEndian) => Chunk("eXIf"u8, bigEndian
        ? [(byte)'M', (byte)'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0, 0, 0, 0, 0]
        : [(byte)'I', (byte)'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, value, 0, 0, 0, 0, 0, 0, 0]);

    public static string Write(byte[] png, string name = "picture")
    {
        string path = TestFolder.New(name) + ".png";
        File.WriteAllBytes(path, png);
        return path;
    }

    private static uint Crc(ReadOnlySpan<byte> bytes)
    {
        uint crc = uint.MaxValue;
        foreach (byte value in bytes)
        {
            crc ^= value;
            for (int bit = 0; bit < 8; bit++)
            {
                crc = (crc >> 1) ^ ((crc & 1) * 0xEDB88320);
            }
        }

        return ~crc;
    }
}
