using System.Buffers.Binary;
using System.IO.Compression;

namespace Adadelta.Training.Tests;

/// <summary>IDX files as the tests write them.</summary>
internal static class IdxFile
{
    public static byte[] Bytes(int[] dims, byte[] data)
    {
        var bytes = new byte[4 + 4 * dims.Length + data.Length];
        bytes[2] = 8;
        bytes[3] = (byte)dims.Length;
        for (var i = 0; i < dims.Length; i++)
        {
            BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(4 + 4 * i), dims[i]);
        }
        data.CopyTo(bytes, 4 + 4 * dims.Length);
        return bytes;
    }

    public static byte[] Counting(int[] dims) =>
        Bytes(dims, [.. Enumerable.Range(0, dims.Aggregate(1, (n, d) => n * d)).Select(i => (byte)i)]);

    public static byte[] Gzip(byte[] bytes)
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest))
        {
            gzip.Write(bytes);
        }
        return packed.ToArray();
    }

    /// <summary>Writes a whole set: 4 training images with labels 0, 1, 2, 0 and 2 test images with labels 3 and 1.</summary>
    public static void WriteSet(
        string folder, string prefix = "", string ending = "-idx3-ubyte", string test = "t10k", bool gzip = false, int[]? shape = null)
    {
        Directory.CreateDirectory(folder);
        shape ??= [3, 5];
        Write("train-images", Counting([4, .. shape]));
        Write("train-labels", Bytes([4], [0, 1, 2, 0]));
        Write($"{test}-images", Counting([2, .. shape]));
        Write($"{test}-labels", Bytes([2], [3, 1]));

        void Write(string name, byte[] bytes)
        {
            var end = name.EndsWith("labels", StringComparison.Ordinal) ? ending.Replace('3', '1') : ending;
            File.WriteAllBytes(Path.Combine(folder, prefix + name + end + (gzip ? ".gz" : "")), gzip ? Gzip(bytes) : bytes);
        }
    }
}
