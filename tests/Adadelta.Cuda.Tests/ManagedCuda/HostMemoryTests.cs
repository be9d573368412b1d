using Adadelta.Native;
using NUnit.Framework;

namespace Adadelta.Cuda.Tests;

// A ManagedCuda program hands its memory and its stream over, and puts no wait between its own work and the library's.
[Category("Cuda")]
internal sealed class HostMemoryTests
{
    // One pass: float32 sums of a few hundred products, in another order on each device.
    private const double OnePass = 2e-6;

    // Adadelta divides by the gradient's own size, so a gradient near 0 takes its relative error to the parameter in full.
    private const double Training = 1e-4;

    private static readonly AdadeltaOptions s_options = new()
    {
        LearningRate = 0.5,
        Rho = 0.8,
        Eps = 1e-5,
        WeightDecay = 0.1,
    };

    private ManagedCudaHost _host = null!;
    private ComputeContext _context = null!, _cpu = null!;

    [SetUp]
    public void Create()
    {
        Contexts.RequireDevice();
        _host = new ManagedCudaHost();
        _context = Contexts.Cuda(new() { ExternalStream = _host.Stream });
        _cpu = Contexts.Cpu();
    }

    [TearDown]
    public void Dispose()
    {
        _context?.Dispose();
        _cpu?.Dispose();
        _host?.Dispose();
    }

    // The lengths leave tails behind 16-byte accesses; from the second element on, the address itself is no multiple of 16.
    [TestCase(1, 0)]
    [TestCase(4096, 0)]
    [TestCase(10_007, 0)]
    [TestCase(10_007, 1)]
    public void The_optimizer_s_step_on_the_host_s_memory_has_the_CPU_s_bits(int count, int offset)
    {
        var random = new Random(count);
        float[] p = Numbers.Uniform(random, count + offset), g = Numbers.Uniform(random, count + offset);
        Check(p, g, ElementType.Float32, sizeof(float), offset);
        Check(
            Array.ConvertAll(p, x => (double)x / 3), Array.ConvertAll(g, x => (double)x / 3), ElementType.Float64,
            sizeof(double), offset);
        Check(
            Array.ConvertAll(p, x => BitConverter.HalfToUInt16Bits((Half)x)),
            Array.ConvertAll(g, x => BitConverter.HalfToUInt16Bits((Half)x)), ElementType.Float16, sizeof(ushort), offset);
        Check(
            Array.ConvertAll(p, x => BFloat16.FromSingle(x).Bits), Array.ConvertAll(g, x => BFloat16.FromSingle(x).Bits),
            ElementType.BFloat16, sizeof(ushort), offset);
    }

    [Test]
    public void The_network_reads_the_host_s_batch_behind_the_host_s_own_work()
    {
        const int batch = 6;
        using Network network = Layers().Build(_context, seed: 7, maxBatchSize: batch),
            expected = Layers().Build(_cpu, seed: 7, maxBatchSize: batch);
        var random = new Random(7);
        var size = network.InputShape.Count;
        using var input = _host.Upload(new float[batch * size]);
        foreach (var count in new[] { batch, 1, batch })
        {
            var images = Numbers.Uniform(random, batch * size);
            using var arriving = _host.Upload(images);
            _host.Copy(input, arriving);
            float[] logits = new float[count * 10], expectedLogits = new float[count * 10];
            network.ForwardExternal(input.Address, count, logits);
            expected.Forward(images.AsSpan(0, (int)(count * size)), expectedLogits);
            Numbers.AssertClose(logits, expectedLogits, OnePass, "logits");
        }
    }

    // The second step is captured into a graph, and the later ones replay it.
    [Test]
    public void Training_on_the_host_s_batches_follows_the_CPU()
    {
        const int batch = 6, steps = 8;
        using Network network = Layers().Build(_context, seed: 7, maxBatchSize: batch),
            expected = Layers().Build(_cpu, seed: 7, maxBatchSize: batch);
        using AdadeltaOptimizer optimizer = new(network.Parameters, s_options), other = new(expected.Parameters, s_options);
        var random = new Random(9);
        var size = network.InputShape.Count;
        using var input = _host.Upload(new float[batch * size]);
        float[] losses = new float[steps], expectedLosses = new float[steps];
        for (var step = 0; step < steps; step++)
        {
            var images = Numbers.Uniform(random, batch * size);
            var labels = Numbers.Labels(random, batch, 10);
            using var arriving = _host.Upload(images);
            _host.Copy(input, arriving);
            losses[step] = network.TrainStepExternal(optimizer, input.Address, labels);
            expectedLosses[step] = expected.TrainStep(other, images, labels);
        }
        Numbers.AssertClose(losses, expectedLosses, Training, "losses");
        foreach (var (parameter, same) in network.Parameters.Zip(expected.Parameters))
        {
            Numbers.AssertClose(parameter.Value.ToArray(), same.Value.ToArray(), Training, parameter.Name);
        }
    }

    [Test]
    public void Memory_of_another_context_is_refused()
    {
        using var memory = _host.UploadToAnotherContext(new float[16], out var other);
        using (other)
        {
            Assert.That(
                () => DeviceTensor.FromPointer(_context, memory.Address, ElementType.Float32, 16),
                Throws.ArgumentException.With.Message.Contains("context"));
            using var network = new NetworkBuilder(1, 4, 4).Flatten().Linear(2).Build(_context, maxBatchSize: 1);
            Assert.That(
                () => network.ForwardExternal(memory.Address, 1, new float[2]),
                Throws.ArgumentException.With.Message.Contains("context"));
        }
    }

    [Test]
    public void Memory_that_is_too_small_is_refused()
    {
        // The driver gives memory in pieces larger than what was asked for, so only what lies far behind is known to be nobody's.
        using var memory = _host.Upload(new float[16]);
        Assert.That(
            () => DeviceTensor.FromPointer(_context, memory.Address, ElementType.Float32, 1L << 36),
            Throws.InstanceOf<ArgumentException>().With.Message.StartsWith("data: "));
    }

    private static NetworkBuilder Layers() =>
        new NetworkBuilder(1, 12, 12).Conv2d(4, 3).MaxPool2d(2).ReLU().Flatten().Dropout(0.25f).Linear(20).ReLU().Linear(10);

    // Five steps on the host's memory and on the CPU's.
    private void Check<T>(T[] p, T[] g, ElementType type, int bytes, int offset)
        where T : unmanaged
    {
        var count = p.Length - offset;
        using ManagedCudaHost.DeviceArray<T> hostP = _host.Upload(p), hostG = _host.Upload(g), nextG = _host.Upload(g);
        using DeviceTensor value = DeviceTensor.FromPointer(_context, hostP.Address + offset * bytes, type, count),
            gradient = DeviceTensor.FromPointer(_context, hostG.Address + offset * bytes, type, count),
            expected = DeviceTensor.Zeros(_cpu, type, count), expectedGradient = DeviceTensor.Zeros(_cpu, type, count);
        expected.WriteBytes(Bytes(p, offset));
        expectedGradient.WriteBytes(Bytes(g, offset));
        using AdadeltaOptimizer optimizer = new([new Parameter("p", value, gradient)], s_options),
            other = new([new Parameter("p", expected, expectedGradient)], s_options);
        for (var step = 0; step < 5; step++)
        {
            Array.Reverse(g, offset, count);
            _host.Write(nextG, g);
            _host.Copy(hostG, nextG);
            expectedGradient.WriteBytes(Bytes(g, offset));
            optimizer.Step();
            other.Step();
            _host.Synchronize();
        }
        var result = _host.Download(hostP);
        Assert.That(Bytes(result, offset).SequenceEqual(expected.ToBytes()), Is.True, $"{type}");
        // What lies before the tensor is the host's alone.
        Assert.That(result.AsSpan(0, offset).SequenceEqual(p.AsSpan(0, offset)), Is.True, $"{type}, before the tensor");
    }

    private static ReadOnlySpan<byte> Bytes<T>(T[] values, int offset)
        where T : unmanaged => System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan(offset));
}
