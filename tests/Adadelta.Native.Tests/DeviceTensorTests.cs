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

    [Test]
    public void More_memory_than_there_is_is_refused() =>
        Assert.That(() => new DeviceTensor(_context, 1L << 50), Throws.TypeOf<OutOfMemoryException>());
}
