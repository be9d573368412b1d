using System.Buffers.Binary;
using System.Text;
using NUnit.Framework;

namespace Adadelta.Training.Tests;

public class SafeTensorsTests
{
    private TemporaryFolder _folder = null!;

    private string FileName => _folder["model.safetensors"];

    [SetUp]
    public void SetUp() => _folder = new();

    [TearDown]
    public void TearDown() => _folder.Dispose();

    [Test]
    public void What_is_written_is_read_back()
    {
        SafeTensor[] tensors =
        [
            new("conv1.weight", [2, 1, 3], [1, -2, 3.5f, float.NaN, float.PositiveInfinity, -0f]),
            new("scalar", [], [42]),
            new("empty", [0, 5], []),
            new("ünïcödé \"quoted\"", [1], [float.Epsilon]),
        ];
        var metadata = new Dictionary<string, string> { ["format"] = "pt", ["note"] = "é\n\"" };
        SafeTensors.Write(FileName, tensors, metadata);
        var read = SafeTensors.Read(FileName);
        Assert.That(read.Metadata, Is.EquivalentTo(metadata));
        Assert.That(SafeTensors.ReadMetadata(FileName), Is.EquivalentTo(metadata));
        Assert.That(read.Tensors.Select(t => t.Name), Is.EquivalentTo(tensors.Select(t => t.Name)));
        foreach (var tensor in tensors)
        {
            var other = read.Tensors.Single(t => t.Name == tensor.Name);
            Assert.That(other.Shape, Is.EqualTo(tensor.Shape));
            Assert.That(other.Data.Select(BitConverter.SingleToUInt32Bits), Is.EqualTo(tensor.Data.Select(BitConverter.SingleToUInt32Bits)));
        }
    }

    [Test]
    public void The_bytes_are_those_of_the_format()
    {
        SafeTensors.Write(FileName, [new("a", [2], [1, -2])]);
        // the checksum is xxhsum's (-H3) of: a\0F32\02\0 and the data
        var json = """{"__metadata__":{"adadelta.checksum":"797a39213214115e"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""".PadRight(112);
        byte[] expected = [112, 0, 0, 0, 0, 0, 0, 0, .. Encoding.UTF8.GetBytes(json), 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0];
        Assert.That(File.ReadAllBytes(FileName), Is.EqualTo(expected));
    }

    [Test]
    public void The_data_begin_at_a_multiple_of_8_bytes()
    {
        for (var length = 1; length <= 8; length++)
        {
            SafeTensors.Write(FileName, [new(new string('n', length), [1], [1])]);
            Assert.That((new FileInfo(FileName).Length - sizeof(float)) % 8, Is.Zero, $"name of {length}");
        }
    }

    [Test]
    public void A_file_with_no_tensor_is_valid()
    {
        SafeTensors.Write(FileName, []);
        Assert.That(SafeTensors.Read(FileName).Tensors, Is.Empty);
    }

    [TestCase("tensors: the name 'a' is used twice", "a", "a")]
    [TestCase("tensors: the name '__metadata__' is reserved", "__metadata__")]
    public void Write_refuses_names(string message, params string[] names) =>
        Assert.That(() => SafeTensors.Write(FileName, [.. names.Select(name => new SafeTensor(name, [1], [1]))]),
            Throws.ArgumentException.With.Message.StartsWith(message));

    [TestCase(new long[] { 2, 2 })]
    [TestCase(new long[] { -1, -3 })]
    [TestCase(new long[] { 1L << 32, 1L << 32 })]
    public void Write_refuses_data_that_do_not_fit_the_shape(long[] shape)
    {
        Assert.That(() => SafeTensors.Write(FileName, [new("a", shape, [1, 2, 3])]),
            Throws.ArgumentException.With.Message.StartsWith("tensors: 'a' has 3 elements, expected those of shape ["));
        Assert.That(File.Exists(FileName), Is.False);
    }

    private const string A = """{"dtype":"F32","shape":[2],"data_offsets":[0,8]}""";

    [TestCase("", 8, "header does not begin with '{'")]
    [TestCase("  {}", 0, "header does not begin with '{'")]
    [TestCase("[]", 0, "header does not begin with '{'")]
    [TestCase("{", 0, "header is not valid JSON")]
    [TestCase("""{"a":1}""", 0, "tensor 'a' is a JSON Number, expected an object")]
    [TestCase("""{"a":{}}""", 8, "tensor 'a' has no dtype")]
    [TestCase("""{"a":{"dtype":"F32","data_offsets":[0,8]}}""", 8, "tensor 'a' has no shape")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2]}}""", 8, "tensor 'a' has no data_offsets")]
    [TestCase("""{"a":{"dtype":"F8","shape":[8],"data_offsets":[0,8]}}""", 8, "tensor 'a' has dtype F8, expected F32, F64, F16, BF16, C64, I64")]
    [TestCase("""{"a":{"dtype":32,"shape":[4],"data_offsets":[0,8]}}""", 8, "tensor 'a' has dtype 32, expected F32")]
    [TestCase("""{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 8, "tensor 'a' has the field 'dtype' twice")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":0}}""", 8, "tensor 'a' has the unknown field 'more'")]
    [TestCase("""{"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}}""", 8, "tensor 'a' has shape 2, expected an array of numbers")]
    [TestCase("""{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""", 8, "tensor 'a' has shape [-2], expected whole numbers from 0")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}""", 8, "tensor 'a' has shape [2.5], expected whole numbers from 0")]
    [TestCase("""{"a":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}}""", 8, "expected whole numbers from 0")]
    [TestCase("""{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}}""", 8, "expected whole numbers from 0")]
    [TestCase("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", 8, "tensor 'a' has 8 bytes of data, expected 12 of shape [3]")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}""", 8, "tensor 'a' has 8 bytes of data, expected 4 of shape [1]")]
    [TestCase("""{"a":{"dtype":"F32","shape":[4611686018427387906,4],"data_offsets":[0,32]}}""", 32, "tensor 'a' has 32 bytes of data, expected ")]
    [TestCase("""{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296,4294967296],"data_offsets":[0,0]}}""", 0, "has 0 bytes of data, expected ")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,16]}}""", 8, "data_offsets [0, 16], expected [begin, end] with begin <= end <= 8")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", 8, "data_offsets [8, 0], expected [begin, end] with begin <= end <= 8")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[8]}}""", 8, "data_offsets [8], expected [begin, end]")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""", 12, "data of 'a' begin at byte 4, expected 0")]
    [TestCase("""{"a":""" + A + ""","b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "data of 'b' begin at byte 4, expected 8")]
    [TestCase("""{"a":""" + A + ""","b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}}""", 16, "data of 'b' begin at byte 12, expected 8")]
    [TestCase("""{"a":""" + A + "}", 12, "tensors end at byte 8 of the data, expected 12, the end of the file")]
    [TestCase("""{"a":""" + A + ""","a":""" + A + "}", 8, "the name 'a' is used twice")]
    [TestCase("""{"__metadata__":[]}""", 0, "__metadata__ is a JSON Array, expected an object of strings")]
    [TestCase("""{"__metadata__":{"k":1}}""", 0, "__metadata__ 'k' is a JSON Number, expected a string")]
    [TestCase("""{"__metadata__":{"k":"1","k":"2"}}""", 0, "__metadata__ 'k' is used twice")]
    public void Read_refuses(string header, int dataBytes, string message)
    {
        WriteRaw(Encoding.UTF8.GetBytes(header), dataBytes);
        Assert.That(() => SafeTensors.Read(FileName),
            Throws.TypeOf<InvalidDataException>().With.Message.StartsWith(FileName).And.Message.Contains(message));
    }

    [Test]
    public void Read_refuses_a_header_that_is_not_UTF_8()
    {
        WriteRaw([.. "{\"a"u8, 0xff, .. "\":1}"u8], 0);
        Assert.That(() => SafeTensors.Read(FileName), Throws.TypeOf<InvalidDataException>().With.Message.StartsWith(FileName));
    }

    [TestCase(9UL, "header of 9 bytes, expected at most 8")]
    [TestCase(ulong.MaxValue, "header of 18446744073709551615 bytes, expected at most 8")]
    [TestCase(200_000_000UL, "header of 200000000 bytes, expected at most 8")]
    public void Read_refuses_a_header_longer_than_the_file(ulong length, string message)
    {
        var bytes = new byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, length);
        File.WriteAllBytes(FileName, bytes);
        Assert.That(() => SafeTensors.Read(FileName), Throws.TypeOf<InvalidDataException>().With.Message.Contains(message));
    }

    [Test]
    public void A_flipped_bit_anywhere_is_refused_or_changes_nothing()
    {
        SafeTensors.Write(
            FileName, [new("a", [3], [1, 2, 3]), new("b", [], [7])], new Dictionary<string, string> { ["step"] = "123" });
        var whole = File.ReadAllBytes(FileName);
        var expected = Text(SafeTensors.Read(FileName));
        var refused = 0;
        for (var bit = 0; bit < 8 * whole.Length; bit++)
        {
            byte[] bytes = [.. whole];
            bytes[bit / 8] ^= (byte)(1 << bit % 8);
            File.WriteAllBytes(FileName, bytes);
            try
            {
                // The name of the checksum is not covered by it.
                var file = SafeTensors.Read(FileName);
                Assert.That(file.Metadata.Keys.Where(key => key != "step"), Has.Exactly(1).StartsWith("a").Or.Exactly(1).EndsWith("m"), $"bit {bit}");
                Assert.That(Text(file with { Metadata = file.Metadata.Where(text => text.Key == "step").ToDictionary() }), Is.EqualTo(expected));
            }
            catch (InvalidDataException error)
            {
                Assert.That(error.Message, Does.StartWith(FileName));
                refused++;
            }
        }
        Assert.That(refused, Is.GreaterThan(8 * (whole.Length - "adadelta.checksum".Length)));

        static string Text(SafeTensorsFile file) => string.Join(';', file.Metadata.Select(text => $"{text.Key}={text.Value}"))
            + string.Join(';', file.Tensors.Select(tensor => $"{tensor.Name} {string.Join(',', tensor.Shape)} {string.Join(',', tensor.Data)}"));
    }

    [Test]
    public void A_flipped_bit_of_the_data_is_told_as_a_checksum_that_differs()
    {
        SafeTensors.Write(FileName, [new("a", [3], [1, 2, 3])]);
        var bytes = File.ReadAllBytes(FileName);
        bytes[^2] ^= 1;
        File.WriteAllBytes(FileName, bytes);
        Assert.That(() => SafeTensors.Read(FileName), Throws.TypeOf<InvalidDataException>().With.Message.Match(
            $"^{FileName}: damaged: the checksum of its content is [0-9a-f]{{16}}, expected [0-9a-f]{{16}}, the adadelta.checksum in its metadata$"));
    }

    // A tool that sorts the header or writes it with other spaces has not changed what the file says.
    [Test]
    public void The_checksum_holds_however_the_header_is_written()
    {
        SafeTensors.Write(FileName, [new("a", [2], [1, -2])], new Dictionary<string, string> { ["k"] = "v" });
        var bytes = File.ReadAllBytes(FileName);
        var header = Encoding.UTF8.GetString(bytes.AsSpan(8, bytes[0]));
        var sum = header[(header.IndexOf("checksum\":\"", StringComparison.Ordinal) + 11)..][..16];
        WriteRaw(Encoding.UTF8.GetBytes(
            $$"""{ "a": {"shape": [2], "data_offsets": [0, 8], "dtype": "F32"}, "__metadata__": {"adadelta.checksum": "{{sum}}", "k": "\u0076"} }"""),
            bytes[^8..]);
        Assert.That(SafeTensors.Read(FileName).Tensors[0].Data, Is.EqualTo(new[] { 1f, -2f }));
    }

    [Test]
    public void The_checksum_of_a_file_that_was_read_is_not_taken_for_that_of_the_next()
    {
        SafeTensors.Write(FileName, [new("a", [1], [1])]);
        var file = SafeTensors.Read(FileName);
        Assert.That(file.Metadata, Is.Empty);
        SafeTensors.Write(FileName, [new("a", [1], [2])], new Dictionary<string, string> { ["adadelta.checksum"] = "0123456789abcdef" });
        Assert.That(SafeTensors.Read(FileName).Tensors[0].Data, Is.EqualTo(new[] { 2f }));
    }

    private static IEnumerable<TestCaseData> Kinds()
    {
        yield return Case("", "an empty file");
        yield return Case("<!DOCTYPE html><html><body>not found</body></html>", "a web page");
        yield return Case("\ufeff\n <html lang=en><title>Log in</title>", "a web page");
        yield return Case("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "an XML document");
        yield return Case("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 2328720\n", "a Git LFS pointer (git lfs pull");
        yield return Case("PK\u0003\u0004\0\0\b\b\0\0\0\0archive/data.pkl", "a ZIP archive, as PyTorch's .pt and .pth files are");
        yield return Bytes([0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19], "a Python pickle");
        yield return Bytes([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], "gzip-compressed data");
        yield return Bytes([0, 0, 8, 3, 0, 0, 0xea, 0x60, 0, 0, 0, 28], "an IDX file");
        yield return Bytes([0x89, .. "PNG\r\n"u8, 0x1a, 0x0a], "a PNG image");
        yield return Case("{\"layers\":[]}", "JSON text");
        yield return Case("Epoch,Step,Loss,LearningRate\n1,1,2.3,0.1\n", "a text file");

        static TestCaseData Case(string text, string message) => Bytes(Encoding.UTF8.GetBytes(text), message);

        static TestCaseData Bytes(byte[] bytes, string message) => new TestCaseData(bytes, message).SetArgDisplayNames(message);
    }

    [TestCaseSource(nameof(Kinds))]
    public void Read_names_the_kind_of_another_file(byte[] bytes, string kind)
    {
        File.WriteAllBytes(FileName, bytes);
        Assert.That(() => SafeTensors.Read(FileName), Throws.TypeOf<InvalidDataException>()
            .With.Message.StartsWith($"{FileName}: {kind}").And.Message.EndsWith(", expected a safetensors file"));
    }

    [Test]
    public void Read_refuses_a_folder()
    {
        Directory.CreateDirectory(FileName);
        Assert.That(() => SafeTensors.Read(FileName),
            Throws.TypeOf<IOException>().With.Message.EqualTo($"{FileName}: a folder, expected a file"));
    }

    [Test]
    public void A_file_is_written_and_read_in_pieces()
    {
        var data = Enumerable.Range(0, 25).Select(i => (float)i).ToArray();
        SafeTensor[] tensors = [new("a", [25], data), new("empty", [0], []), new("b", [2], [1, 2])];
        SafeTensors.WriteSources(FileName, [.. tensors.Select(TensorSource.Of)], null, pieceBytes: 16);
        var inPieces = File.ReadAllBytes(FileName);
        SafeTensors.Write(FileName, tensors);
        Assert.That(inPieces, Is.EqualTo(File.ReadAllBytes(FileName)));
        var file = SafeTensors.ReadStored(FileName, pieceBytes: 16);
        Assert.That(file.Tensors.Select(tensor => tensor.Pieces.Count), Is.EqualTo(new[] { 7, 0, 1 }));
        Assert.That(file.Tensors[0].Pieces.SelectMany(piece => piece), Is.EqualTo(tensors[0].Bytes));
        Assert.That(file.Tensors[0].ByteCount, Is.EqualTo(100));
    }

    // A hole in a file takes no room on the disk, and 3 GiB are refused before any memory is asked for.
    [Test]
    public void A_tensor_larger_than_an_array_is_refused_by_its_name_where_it_must_be_one()
    {
        const long Bytes = 3L << 30;
        WriteRaw(Encoding.UTF8.GetBytes($$"""{"big":{"dtype":"F32","shape":[{{Bytes / 4}}],"data_offsets":[0,{{Bytes}}]} }"""), 0);
        using (var file = File.OpenWrite(FileName))
        {
            file.SetLength(file.Length + Bytes);
        }
        Assert.That(() => SafeTensors.Read(FileName), Throws.TypeOf<InvalidDataException>().With.Message.EqualTo(
            $"{FileName}: tensor 'big' has {Bytes} bytes of data, expected at most {Array.MaxLength}"));
        Assert.That(SafeTensors.ReadMetadata(FileName), Is.Empty, "its metadata can be read all the same");
    }

    [Test]
    public void Read_refuses_every_cut_of_a_file()
    {
        SafeTensors.Write(FileName, [new("a", [3], [1, 2, 3])], new Dictionary<string, string> { ["k"] = "v" });
        var whole = File.ReadAllBytes(FileName);
        for (var length = 0; length < whole.Length; length++)
        {
            File.WriteAllBytes(FileName, whole[..length]);
            Assert.That(() => SafeTensors.Read(FileName), Throws.TypeOf<InvalidDataException>(), $"{length} bytes");
        }
    }

    [Test]
    public void Tensors_are_read_in_the_order_of_their_data()
    {
        WriteRaw(Encoding.UTF8.GetBytes("""{"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"a":""" + A + "}"), 12);
        Assert.That(SafeTensors.Read(FileName).Tensors.Select(t => t.Name), Is.EqualTo(new[] { "a", "b" }));
    }

    /// <summary>Writes float32 tensors by hand, without metadata.</summary>
    internal static void WriteAsOthersDo(string path, IReadOnlyList<SafeTensor> tensors)
    {
        var end = 0;
        var entries = tensors.Select(tensor =>
            $$"""
            "{{tensor.Name}}":{"dtype":"{{tensor.Type}}","shape":[{{string.Join(',', tensor.Shape)}}],"data_offsets":[{{end}},{{end += tensor.Bytes.Length}}]}
            """);
        WriteRaw(path, Encoding.UTF8.GetBytes($"{{{string.Join(',', entries)}}}"), [.. tensors.SelectMany(tensor => tensor.Bytes)]);
    }

    private void WriteRaw(byte[] header, byte[] data) => WriteRaw(FileName, header, data);

    private void WriteRaw(byte[] header, int dataBytes) => WriteRaw(header, new byte[dataBytes]);

    private static void WriteRaw(string path, byte[] header, byte[] data)
    {
        var length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, header.Length);
        File.WriteAllBytes(path, [.. length, .. header, .. data]);
    }
}
