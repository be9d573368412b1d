using NUnit.Framework;

namespace Adadelta.Native.Tests;

[TestFixture("cpu")]
[TestFixture("cuda", Category = "Cuda")]
internal sealed class DeviceTensorTests(string device)
{
    private ComputeContext _context = null!;

    [OneTimeSetUp]
    public void CreateContext() => _context = Contexts.On(device, threads: 1);

    [OneTimeTearDown]
    public void DisposeContext() => _context?.Dispose();

    [Test]
    public void A_new_tensor_holds_zeros()
    {
        using var tensor = new DeviceTensor(_context, 2, 3, 4);
        Assert.That(tensor.Shape, Is.EqualTo(new long[] { 2, 3, 4 }));
        Assert.That(tensor.Count, Is.EqualTo(24));
        Assert.That(tensor.Context, Is.SameAs(_context));
        Assert.That(tensor.ToArray(), Is.EqualTo(new float[24]));
    }

    [Test]
    public void No_extents_make_a_scalar()
    {
        using var tensor = new DeviceTensor(_context);
        Assert.That(tensor.Shape, Is.Empty);
        Assert.That(tensor.Count, Is.EqualTo(1));
        tensor.Fill(2.5f);
        Assert.That(tensor.ToArray(), Is.EqualTo(new[] { 2.5f }));
    }

    [Test]
    public void What_is_written_is_read_back_bit_by_bit()
    {
        float[] values = [0f, -0f, 1.5f, float.NaN, float.PositiveInfinity, float.NegativeInfinity, float.Epsilon, float.MaxValue];
        using var tensor = new DeviceTensor(_context, 2, 4);
        tensor.Write(values);
        var read = new float[8];
        tensor.Read(read);
        Assert.That(read.Select(BitConverter.SingleToUInt32Bits), Is.EqualTo(values.Select(BitConverter.SingleToUInt32Bits)));
    }

    [TestCase(0)]
    [TestCase(5)]
    [TestCase(7)]
    public void A_wrong_length_is_refused_and_changes_nothing(int length)
    {
        using var tensor = new DeviceTensor(_context, 2, 3);
        tensor.Fill(1);
        var span = new float[length];
        Assert.That(
            () => tensor.Write(span), Throws.InstanceOf<ArgumentException>().With.Message.Contains($"source.Length: {length}, expected 6"));
        Assert.That(
            () => tensor.Read(span), Throws.InstanceOf<ArgumentException>().With.Message.Contains($"destination.Length: {length}, expected 6"));
        Assert.That(tensor.ToArray(), Is.All.EqualTo(1f));
        Assert.That(span, Is.All.EqualTo(0f));
    }

    [Test]
    public void Extents_out_of_bounds_are_refused()
    {
        Assert.That(
            () => new DeviceTensor(_context, 2, 0),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("shape[1]: 0, expected 1 <= shape[1]"));
        Assert.That(
            () => new DeviceTensor(_context, -3),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("shape[0]: -3, expected 1 <= shape[0]"));
        Assert.That(
            () => new DeviceTensor(_context, long.MaxValue, long.MaxValue),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("shape[0]: 9223372036854775807, expected"));
        Assert.That(
            () => new DeviceTensor(_context, 1, 1, 1, 1, 1, 1, 1, 1, 1),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("shape.Length: 9, expected 0 <= shape.Length <= 8"));
        Assert.That(() => new DeviceTensor(null!, 1), Throws.ArgumentNullException);
    }

    // Nothing is read: the address is only said to be the beginning of so much.
    [Test]
    public unsafe void Sizes_beyond_spans_and_arrays_are_refused_with_size_and_bound()
    {
        if (device != "cpu")
        {
            Assert.Ignore("the memory is the host's");
        }
        var number = 0.0;
        var address = (nint)(&number);
        Assert.That(
            () => DeviceTensor.FromPointer(_context, address, ElementType.Float64, 1L << 60),
            Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.StartsWith(
                "shape: 1152921504606846976 elements of 8 bytes, expected at most 9223372036854775807 bytes"));
        using var tensor = DeviceTensor.FromPointer(_context, address, ElementType.Float32, 1L << 32);
        Assert.That(tensor.Count, Is.EqualTo(1L << 32));
        Assert.That(tensor.ByteCount, Is.EqualTo(1L << 34));
        Assert.That(
            tensor.ToArray, Throws.InvalidOperationException.With.Message.StartsWith("ToArray: 4294967296 elements, expected at most 2147483591"));
        Assert.That(
            tensor.ToBytes, Throws.InvalidOperationException.With.Message.StartsWith("ToBytes: 17179869184 bytes, expected at most 2147483591"));
        Assert.That(
            () => tensor.Read(new float[3]), Throws.ArgumentException.With.Message.StartsWith("destination.Length: 3, expected 4294967296"));
        Assert.That(
            () => tensor.ReadBytes(new byte[2], (1L << 34) - 1),
            Throws.InstanceOf<ArgumentException>().With.Message.StartsWith("destination.Length: 2, expected at most 1"));
        Assert.That(
            () => new ImageShape(65536, 65536, 2).Count,
            Throws.InvalidOperationException.With.Message.EqualTo("Count of 65536x65536x2: 8589934592, expected 0 <= Count <= 2147483647"));
    }

    [Test]
    public void Pieces_are_read_and_written_at_their_offset()
    {
        using var tensor = new DeviceTensor(_context, 4);
        tensor.Write([1, 2, 3, 4]);
        tensor.WriteBytes(BitConverter.GetBytes(9f), 8);
        Assert.That(tensor.ToArray(), Is.EqualTo([1f, 2f, 9f, 4f]));
        var piece = new byte[8];
        tensor.ReadBytes(piece, 4);
        Assert.That(piece, Is.EqualTo(tensor.ToBytes()[4..12]));
        tensor.ReadBytes([], 16);
    }

    [Test]
    public void A_tensor_of_a_network_or_an_optimizer_is_not_lost_when_it_is_disposed_alone()
    {
        using var network = new NetworkBuilder(1, 2, 2).Flatten().Linear(3).Build(_context);
        using var optimizer = new AdadeltaOptimizer(network.Parameters);
        network.Parameters[0].Value.Dispose();
        network.Parameters[0].Gradient.Dispose();
        optimizer.GetState(0).SquareAverage.Dispose();
        Assert.That(network.Parameters[0].Value.ToArray(), Has.Some.Not.Zero);
        Assert.That(network.Parameters[0].Gradient.ToArray(), Is.All.Zero);
        Assert.That(optimizer.GetState(0).SquareAverage.ToArray(), Is.All.Zero);
    }

    [Test]
    public void More_memory_than_there_is_is_refused() =>
        Assert.That(() => new DeviceTensor(_context, 1L << 50), Throws.TypeOf<OutOfMemoryException>());
}
