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
        var json = """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""".PadRight(56);
        byte[] expected = [56, 0, 0, 0, 0, 0, 0, 0, .. Encoding.UTF8.GetBytes(json), 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0];
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

    private void WriteRaw(byte[] header, int dataBytes)
    {
        var length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, header.Length);
        File.WriteAllBytes(FileName, [.. length, .. header, .. new byte[dataBytes]]);
    }
}
