using System.Buffers.Binary;
using System.Globalization;

namespace Adadelta.Cli.Tests;

/// <summary>A folder for the files of one test run, removed at its end.</summary>
[SetUpFixture]
internal sealed class TestFolder
{
    private static int s_count;

    public static string Root { get; } = Directory.CreateTempSubdirectory("adadelta-cli-tests-").FullName;

    /// <summary>A path in it that nothing else uses.</summary>
    public static string New(string name = "folder") =>
        Path.Combine(Root, $"{name}-{Interlocked.Increment(ref s_count).ToString(CultureInfo.InvariantCulture)}");

    public static string Write(string name, string text)
    {
        string path = New() + Path.GetExtension(name);
        File.WriteAllText(path, text);
        return path;
    }

    [OneTimeTearDown]
    public void Remove() => Directory.Delete(Root, recursive: true);
}

/// <summary>A small data set in IDX files: bars whose place tells the class, learnt within a few steps.</summary>
internal static class Bars
{
    public const int Size = 8;
    public const int Classes = 4;

    /// <summary>A network that trains on them at thousands of steps a second.</summary>
    public const string Network = """{ "layers": [ { "type": "flatten" }, { "type": "linear", "out_features": "classes" } ] }""";

    public static string CreateFolder(int train = 200, int test = 40)
    {
        string folder = Directory.CreateDirectory(TestFolder.New("bars")).FullName;
        WriteImages(Path.Combine(folder, "train-images-idx3-ubyte"), train);
        WriteLabels(Path.Combine(folder, "train-labels-idx1-ubyte"), train);
        WriteImages(Path.Combine(folder, "t10k-images-idx3-ubyte"), test);
        WriteLabels(Path.Combine(folder, "t10k-labels-idx1-ubyte"), test);
        return folder;
    }

    public static void WriteImages(string path, int count)
    {
        byte[] pixels = new byte[count * Size * Size];
        for (int i = 0; i < count; i++)
        {
            int row = 2 * (i % Classes);
            pixels.AsSpan(((i * Size) + row) * Size, Size).Fill((byte)(150 + (i % 100)));
        }

        Write(path, [0x00000803, count, Size, Size], pixels);
    }

    public static void WriteLabels(string path, int count) =>
        Write(path, [0x00000801, count], [.. Enumerable.Range(0, count).Select(i => (byte)(i % Classes))]);

    public static void Write(string path, int[] header, byte[] data)
    {
        using FileStream file = File.Create(path);
        Span<byte> word = stackalloc byte[4];
        foreach (int value in header)
        {
            BinaryPrimitives.WriteInt32BigEndian(word, value);
            file.Write(word);
        }

        file.Write(data);
    }
}
