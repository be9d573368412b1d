using System.Buffers.Binary;
using System.IO.Compression;

namespace Adadelta.Training;

/// <summary>An array of bytes as an IDX file holds it.</summary>
/// <param name="Dims">Extents, outermost first: 1 to 4, each at least 1.</param>
/// <param name="Data">Elements in row-major order, as many as the product of the extents.</param>
public sealed record IdxArray(int[] Dims, byte[] Data);

/// <summary>
/// Reads IDX files, the format of MNIST and its relatives: two zero bytes, element type, number of dimensions, the extents as
/// big-endian 32-bit numbers, then the elements in row-major order.
/// </summary>
public static class IdxReader
{
    /// <summary>The most dimensions a file can have: images are N, C, H, W.</summary>
    public const int MaxDims = 4;

    private const byte UnsignedByte = 0x08;

    // A deflate stream grows to 1,032 times its size at most, so that a forged header cannot ask for more memory than that.
    private const long MaxDeflateRatio = 1032;

    /// <summary>Reads a file of unsigned bytes, plain or gzip-compressed (seen by its content, not its name).</summary>
    /// <param name="path">The file.</param>
    /// <returns>Extents and elements.</returns>
    /// <exception cref="InvalidDataException">
    /// The file is not an IDX file of unsigned bytes, is cut off or has bytes left over; the message names file, value and bound.
    /// </exception>
    /// <exception cref="IOException">The file is missing or cannot be read.</exception>
    public static IdxArray Read(string path)
    {
        using var file = File.OpenRead(path);
        Span<byte> start = stackalloc byte[2];
        var compressed = file.ReadAtLeast(start, 2, throwOnEndOfStream: false) == 2 && start is [0x1f, 0x8b];
        file.Position = 0;
        if (!compressed)
        {
            return Read(path, file, file.Length);
        }
        using var unpacked = new GZipStream(file, CompressionMode.Decompress);
        try
        {
            return Read(path, unpacked, file.Length * MaxDeflateRatio);
        }
        catch (InvalidDataException error) when (!error.Message.StartsWith(path, StringComparison.Ordinal))
        {
            throw new InvalidDataException($"{path}: damaged gzip data: {error.Message}", error);
        }
    }

    private static IdxArray Read(string path, Stream stream, long mostBytes)
    {
        Span<byte> header = stackalloc byte[4];
        Fill(header, "header");
        if (header[0] != 0 || header[1] != 0)
        {
            throw new InvalidDataException($"{path}: begins with 0x{header[0]:X2}{header[1]:X2}, expected 0x0000 of an IDX file");
        }
        if (header[2] != UnsignedByte)
        {
            throw new InvalidDataException(
                $"{path}: element type 0x{header[2]:X2}, expected 0x{UnsignedByte:X2} (unsigned byte)");
        }
        int rank = header[3];
        if (rank is < 1 or > MaxDims)
        {
            throw new InvalidDataException($"{path}: {rank} dimensions, expected 1 to {MaxDims}");
        }
        var dims = new int[rank];
        Span<byte> extents = stackalloc byte[4 * MaxDims];
        extents = extents[..(4 * rank)];
        Fill(extents, "header");
        Int128 product = 1;
        for (var i = 0; i < rank; i++)
        {
            var extent = BinaryPrimitives.ReadUInt32BigEndian(extents[(4 * i)..]);
            if (extent is 0 or > int.MaxValue)
            {
                throw new InvalidDataException($"{path}: dimension {i} is {extent}, expected 1 to {int.MaxValue}");
            }
            dims[i] = (int)extent;
            product *= extent;
        }
        var shape = string.Join('x', dims);
        if (product > Array.MaxLength)
        {
            throw new InvalidDataException($"{path}: {shape} = {product} elements, expected at most {Array.MaxLength}");
        }
        if (product > mostBytes)
        {
            throw new InvalidDataException($"{path}: the file is cut off: too short to hold the {product} elements of {shape}");
        }
        var data = new byte[(int)product];
        Fill(data, $"elements of {shape}");
        return stream.ReadByte() < 0
            ? new IdxArray(dims, data)
            : throw new InvalidDataException($"{path}: bytes left over after the {product} elements of {shape}");

        void Fill(Span<byte> bytes, string what)
        {
            var got = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            if (got < bytes.Length)
            {
                throw new InvalidDataException($"{path}: the file is cut off: {got} of {bytes.Length} bytes of the {what}");
            }
        }
    }
}
