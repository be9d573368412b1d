using System.Buffers.Binary;
using SkiaSharp;

namespace Adadelta.Cli;

/// <summary>A picture as its file holds it: red, green, blue and alpha, not premultiplied, and how it is to be turned.</summary>
internal sealed class PictureFile : IDisposable
{
    // Four bytes each: as much memory as the largest cameras ask for, and no more for a header that lies.
    private const long MostPixels = 64 << 20;
    private const int MostBytes = 256 << 20;

    private readonly SKBitmap _bitmap;

    private PictureFile(SKBitmap bitmap, int orientation) => (_bitmap, Orientation) = (bitmap, orientation);

    public int Width => _bitmap.Width;

    public int Height => _bitmap.Height;

    /// <summary>EXIF's number, 1 to 8: 1 for a picture that stands upright as it is.</summary>
    public int Orientation { get; }

    public ReadOnlySpan<byte> Rgba => _bitmap.GetPixelSpan();

    /// <summary>Refuses a name that is no file's.</summary>
    /// <exception cref="UsageException">There is no such file.</exception>
    public static void Check(string path)
    {
        if (!File.Exists(path))
        {
            throw new UsageException(
                $"image '{path}': {(Directory.Exists(path) ? "a folder, expected a picture" : "no such file")}");
        }
    }

    /// <exception cref="InvalidDataException">The file is no picture, is damaged, or has too many pixels.</exception>
    public static PictureFile Read(string path)
    {
        byte[] bytes = ReadBytes(path);
        using SKData data = SKData.CreateCopy(bytes);
        using SKCodec? codec = SKCodec.Create(data);
        (int width, int height) = codec is not null ? (codec.Info.Width, codec.Info.Height) : PngSize(bytes);
        if ((long)width * height > MostPixels)
        {
            throw new InvalidDataException(
                $"image '{path}': {width}x{height} = {(long)width * height} pixels, expected at most {MostPixels}");
        }

        if (codec is null)
        {
            throw new InvalidDataException(
                $"image '{path}': {(bytes.Length == 0 ? "an empty file" : "not a picture")}, expected a PNG file");
        }

        SKBitmap bitmap = new(new SKImageInfo(width, height, SKColorType.Rgba8888, SKAlphaType.Unpremul));
        SKCodecResult result = codec.GetPixels(bitmap.Info, bitmap.GetPixels());
        if (result == SKCodecResult.Success)
        {
            return new(bitmap, codec.EncodedFormat == SKEncodedImageFormat.Png ? PngOrientation(bytes) : (int)codec.EncodedOrigin);
        }

        bitmap.Dispose();
        throw new InvalidDataException($"image '{path}': " + (result == SKCodecResult.IncompleteInput
            ? "the file is cut off, its picture is not whole"
            : $"damaged picture ({result})"));
    }

    public void Dispose() => _bitmap.Dispose();

    private static byte[] ReadBytes(string path)
    {
        using FileStream file = File.OpenRead(path);
        using MemoryStream bytes = new();
        byte[] buffer = new byte[1 << 16];
        // A pipe or a device does not tell its length, and may have no end.
        for (int got; (got = file.Read(buffer)) > 0;)
        {
            bytes.Write(buffer, 0, got);
            if (bytes.Length > MostBytes)
            {
                throw new InvalidDataException($"image '{path}': a file of more than {MostBytes} bytes, expected a picture");
            }
        }

        return bytes.ToArray();
    }

    // Skia does not open what is far too large, and does not say so.
    private static (int Width, int Height) PngSize(byte[] bytes) => bytes is [0x89, (byte)'P', (byte)'N', (byte)'G', ..] && bytes.Length >= 24
        ? ((int)Math.Min(BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(16)), int.MaxValue),
            (int)Math.Min(BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(20)), int.MaxValue))
        : default;

    // Skia reads the orientation of other formats alone. In a PNG file it is in the chunk eXIf, which holds a TIFF header.
    private static int PngOrientation(ReadOnlySpan<byte> png)
    {
        const int Signature = 8, ChunkHeader = 8, Checksum = 4;
        for (int at = Signature; at + ChunkHeader <= png.Length;)
        {
            uint length = BinaryPrimitives.ReadUInt32BigEndian(png[at..]);
            if (length > png.Length - at - ChunkHeader)
            {
                break;
            }

            if (png.Slice(at + 4, 4).SequenceEqual("eXIf"u8))
            {
                return TiffOrientation(png.Slice(at + ChunkHeader, (int)length));
            }

            at += ChunkHeader + (int)length + Checksum;
        }

        return 1;
    }

    private static int TiffOrientation(ReadOnlySpan<byte> tiff)
    {
        const int EntrySize = 12, Tag = 0x112;
        if (tiff.Length < 10)
        {
            return 1;
        }

        bool bigEndian = tiff.StartsWith("MM"u8);
        uint folder = bigEndian ? BinaryPrimitives.ReadUInt32BigEndian(tiff[4..]) : BinaryPrimitives.ReadUInt32LittleEndian(tiff[4..]);
        if (folder > tiff.Length - 2)
        {
            return 1;
        }

        ReadOnlySpan<byte> entries = tiff[(int)folder..];
        int count = Short(entries, bigEndian);
        entries = entries[2..];
        for (; count > 0 && entries.Length >= EntrySize; count--, entries = entries[EntrySize..])
        {
            if (Short(entries, bigEndian) == Tag)
            {
                int orientation = Short(entries[8..], bigEndian);
                return orientation is >= 1 and <= 8 ? orientation : 1;
            }
        }

        return 1;

        static int Short(ReadOnlySpan<byte> bytes, bool bigEndian) =>
            bigEndian ? BinaryPrimitives.ReadUInt16BigEndian(bytes) : BinaryPrimitives.ReadUInt16LittleEndian(bytes);
    }
}
