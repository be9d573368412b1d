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
    private const byte Integer = 0x0C;

    // A deflate stream grows to 1,032 times its size at most, so that a forged header cannot ask for more memory than that.
    private const long MaxDeflateRatio = 1032;

    /// <summary>Reads a file of unsigned bytes, plain or gzip-compressed (seen by its content, not its name).</summary>
    /// <param name="path">The file.</param>
    /// <returns>Extents and elements.</returns>
    /// <exception cref="InvalidDataException">
    /// The file is not an IDX file of unsigned bytes, is cut off or has bytes left over; the message names file, value and bound, and
    /// the kind of a file that is another.
    /// </exception>
    /// <exception cref="IOException">The file is missing or cannot be read.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for the elements; the message says how many.</exception>
    public static IdxArray Read(string path) => Read(path, UnsignedByte);

    /// <summary>
    /// Reads labels: unsigned bytes, or 32-bit numbers as QMNIST has them, alone or as the first of several that describe an image.
    /// </summary>
    /// <exception cref="InvalidDataException">As for <see cref="Read(string)"/>, or a label is not a byte.</exception>
    internal static byte[] ReadLabels(string path)
    {
        var file = Read(path, UnsignedByte, Integer);
        var count = file.Dims[0];
        if (file.Data.Length == count && file.Dims.Length == 1)
        {
            return file.Data;
        }
        var isInteger = file.Data.Length == file.Dims.Aggregate((long)sizeof(int), (bytes, extent) => bytes * extent);
        if (file.Dims.Length > (isInteger ? 2 : 1))
        {
            throw new InvalidDataException($"{path}: {file.Dims.Length} dimensions, expected {(isInteger ? "1 or 2" : "1")}");
        }
        var labels = new byte[count];
        for (var i = 0; i < count; i++)
        {
            var label = BinaryPrimitives.ReadInt32BigEndian(file.Data.AsSpan((int)((long)file.Data.Length / count * i)));
            labels[i] = label is >= 0 and < ImageDataset.MaxClasses
                ? (byte)label
                : throw new InvalidDataException($"{path}: label {i} is {label}, expected 0 <= label < {ImageDataset.MaxClasses}");
        }
        return labels;
    }

    private static IdxArray Read(string path, params ReadOnlySpan<byte> types)
    {
        using var file = FileKind.Open(path);
        Span<byte> start = stackalloc byte[2];
        var compressed = file.ReadAtLeast(start, 2, throwOnEndOfStream: false) == 2 && start is [0x1f, 0x8b];
        file.Position = 0;
        if (!compressed)
        {
            return Read(path, file, file.Length, types, "");
        }
        using var unpacked = new GZipStream(file, CompressionMode.Decompress);
        try
        {
            return Read(path, unpacked, file.Length * MaxDeflateRatio, types, "unpacks to ");
        }
        catch (InvalidDataException error) when (!error.Message.StartsWith(path, StringComparison.Ordinal))
        {
            throw new InvalidDataException($"{path}: damaged gzip data: {error.Message}", error);
        }
    }

    private static IdxArray Read(string path, Stream stream, long mostBytes, ReadOnlySpan<byte> types, string unpacks)
    {
        Span<byte> start = stackalloc byte[FileKind.StartBytes];
        var header = start[..4];
        var found = stream.ReadAtLeast(header, header.Length, throwOnEndOfStream: false);
        if (header[0] != 0 || header[1] != 0 || found == 0)
        {
            if (found == header.Length)
            {
                found += stream.ReadAtLeast(start[found..], start.Length - found, throwOnEndOfStream: false);
            }
            throw new InvalidDataException(FileKind.Of(start[..found]) is { } kind
                ? $"{path}: {unpacks}{kind}, expected an IDX file or its .gz"
                : $"{path}: begins with 0x{header[0]:X2}{header[1]:X2}, expected 0x0000 of an IDX file");
        }
        if (found < header.Length)
        {
            throw CutOff(found, header.Length, "header");
        }
        if (!types.Contains(header[2]))
        {
            throw new InvalidDataException(
                $"{path}: element type {TypeName(header[2])}, expected {string.Join(" or ", types.ToArray().Select(TypeName))}");
        }
        var size = header[2] == Integer ? sizeof(int) : 1;
        int rank = header[3];
        if (rank is < 1 or > MaxDims)
        {
            throw new InvalidDataException($"{path}: {rank} dimensions, expected 1 to {MaxDims}");
        }
        var dims = new int[rank];
        Span<byte> extents = stackalloc byte[4 * MaxDims];
        extents = extents[..(4 * rank)];
        Fill(extents, "header");
        Int128 product = size;
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
            throw new InvalidDataException($"{path}: {shape} = {product / size} elements, expected at most {Array.MaxLength / size}");
        }
        if (product > mostBytes)
        {
            throw new InvalidDataException($"{path}: the file is cut off: too short to hold the {product / size} elements of {shape}");
        }
        var data = Memory.Allocate((long)product, path, $"elements of {shape}");
        Fill(data, $"elements of {shape}");
        return stream.ReadByte() < 0
            ? new IdxArray(dims, data)
            : throw new InvalidDataException($"{path}: bytes left over after the {product / size} elements of {shape}");

        InvalidDataException CutOff(int got, int bytes, string what) =>
            new($"{path}: the file is cut off: {got} of {bytes} bytes of the {what}");

        void Fill(Span<byte> bytes, string what)
        {
            var got = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            if (got < bytes.Length)
            {
                throw CutOff(got, bytes.Length, what);
            }
        }
    }

    private static string TypeName(byte type) => $"0x{type:X2}" + type switch
    {
        UnsignedByte => " (unsigned byte)",
        0x09 => " (signed byte)",
        0x0B => " (16-bit number)",
        Integer => " (32-bit number)",
        0x0D => " (float)",
        0x0E => " (double)",
        _ => "",
    };
}
