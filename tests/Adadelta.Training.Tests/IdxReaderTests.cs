using NUnit.Framework;

namespace Adadelta.Training.Tests;

public class IdxReaderTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void SetUp() => _folder = new();

    [TearDown]
    public void TearDown() => _folder.Dispose();

    private string Write(byte[] bytes)
    {
        File.WriteAllBytes(_folder["file"], bytes);
        return _folder["file"];
    }

    [TestCase(new[] { 7 })]
    [TestCase(new[] { 2, 3 })]
    [TestCase(new[] { 2, 3, 4 })]
    [TestCase(new[] { 2, 3, 4, 5 })]
    public void Reads_dimensions_and_elements(int[] dims)
    {
        foreach (var gzip in new[] { false, true })
        {
            var bytes = IdxFile.Counting(dims);
            var array = IdxReader.Read(Write(gzip ? IdxFile.Gzip(bytes) : bytes));
            Assert.That(array.Dims, Is.EqualTo(dims));
            Assert.That(array.Data, Is.EqualTo(bytes[(4 + 4 * dims.Length)..]));
        }
    }

    [Test]
    public void A_large_file_comes_through_gzip_whole()
    {
        // Zeros compress nearly as far as deflate can.
        var array = IdxReader.Read(Write(IdxFile.Gzip(IdxFile.Bytes([5000, 28, 28], new byte[5000 * 784]))));
        Assert.That(array.Data, Has.Length.EqualTo(5000 * 784).And.All.Zero);
    }

    private static readonly byte[] s_good = IdxFile.Counting([2, 3]);

    private static IEnumerable<TestCaseData> Bad()
    {
        yield return Case("empty", [], ": an empty file, expected an IDX file or its .gz");
        yield return Case("half a magic number", [0, 0, 8], "cut off: 3 of 4 bytes of the header");
        yield return Case("text", "label,pixel0"u8.ToArray(), "begins with 0x6C61, expected 0x0000");
        yield return Case("float elements", [0, 0, 0x0d, 1, 0, 0, 0, 1, 0, 0, 0, 0], "element type 0x0D (float), expected 0x08 (unsigned byte)");
        yield return Case("a web page", "<!DOCTYPE html><html>503</html>"u8.ToArray(), ": a web page (a server or a network's log-in page");
        yield return Case("a web page in gzip", IdxFile.Gzip("<html><body>404</body></html>"u8.ToArray()), ": unpacks to a web page");
        yield return Case("gzip in gzip", IdxFile.Gzip(IdxFile.Gzip(s_good)), ": unpacks to gzip-compressed data, expected an IDX file");
        yield return Case("a Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid"u8.ToArray(), ": a Git LFS pointer (git lfs pull");
        yield return Case("a ZIP archive", [.. "PK"u8, 3, 4, 20, 0], ": a ZIP archive");
        yield return Case("an image", [0x89, .. "PNG\r\n"u8], ": a PNG image, expected an IDX file");
        yield return Case("32-bit numbers", [0, 0, 0x0c, 1, 0, 0, 0, 1, 0, 0, 0, 0], "element type 0x0C (32-bit number), expected 0x08");
        yield return Case("no dimension", [0, 0, 8, 0], "0 dimensions, expected 1 to 4");
        yield return Case("five dimensions", [0, 0, 8, 5, .. new byte[20]], "5 dimensions, expected 1 to 4");
        yield return Case("extents cut off", [0, 0, 8, 2, 0, 0, 0, 2, 0], "cut off: 5 of 8 bytes of the header");
        yield return Case("an extent of 0", [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 0], "dimension 1 is 0, expected 1 to 2147483647");
        yield return Case("an extent beyond int", [0, 0, 8, 1, 0x80, 0, 0, 0], "dimension 0 is 2147483648, expected 1 to 2147483647");
        yield return Case("a product beyond an array", [0, 0, 8, 2, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 2],
            "2147483647x2 = 4294967294 elements, expected at most 2147483591");
        yield return Case("a product beyond 64 bits", [0, 0, 8, 4, .. Enumerable.Repeat<byte>(0x7f, 16)], "expected at most 2147483591");
        yield return Case("a product that wraps to 0 in 64 bits",
            [0, 0, 8, 4, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0], "18446744073709551616 elements, expected at most");
        yield return Case("a huge array in a small file", [0, 0, 8, 1, 0x70, 0, 0, 0, 1], "cut off: too short to hold the 1879048192 elements");
        yield return Case("one element short", s_good[..^1], "cut off: 5 of 6 bytes of the elements of 2x3");
        yield return Case("one element over", [.. s_good, 9], "bytes left over after the 6 elements of 2x3");
        yield return Case("one element short in gzip", IdxFile.Gzip(s_good[..^1]), "cut off: 5 of 6 bytes of the elements of 2x3");
        yield return Case("one element over in gzip", IdxFile.Gzip([.. s_good, 9]), "bytes left over after the 6 elements of 2x3");
        yield return Case("a huge array in a small gzip", IdxFile.Gzip([0, 0, 8, 1, 0x70, 0, 0, 0, 1]), "cut off: too short to hold");
        yield return Case("damaged gzip", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff], "damaged gzip data");

        static TestCaseData Case(string name, byte[] bytes, string message) => new TestCaseData(bytes, message).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(Bad))]
    public void Refuses(byte[] bytes, string message)
    {
        var path = Write(bytes);
        Assert.That(() => IdxReader.Read(path), Throws.TypeOf<InvalidDataException>().With.Message.StartsWith(path).And.Message.Contains(message));
    }

    [Test]
    public void Every_cut_of_a_gzip_file_is_refused()
    {
        var whole = IdxFile.Gzip(IdxFile.Counting([2, 30]));

        // After the last element come only the end mark and the checksum of gzip.
        for (var length = 0; length < whole.Length - 12; length++)
        {
            var path = Write(whole[..length]);
            Assert.That(() => IdxReader.Read(path), Throws.TypeOf<InvalidDataException>().With.Message.StartsWith(path), $"{length} bytes");
        }
    }

    [Test]
    public void A_folder_is_called_one()
    {
        Directory.CreateDirectory(_folder["set"]);
        Assert.That(() => IdxReader.Read(_folder["set"]),
            Throws.TypeOf<IOException>().With.Message.EqualTo($"{_folder["set"]}: a folder, expected a file"));
    }

    [Test]
    public void A_missing_file_is_a_FileNotFoundException() =>
        Assert.That(() => IdxReader.Read(_folder["nothing"]), Throws.TypeOf<FileNotFoundException>().With.Message.Contains("nothing"));
}
