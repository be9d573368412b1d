using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using NUnit.Framework;

namespace Adadelta.Native.Tests;

internal sealed unsafe class DeviceDatasetTests
{
    private static readonly ImageShape s_shape = new(2, 5, 5);

    [Test]
    public void A_batch_of_a_data_set_trains_like_the_same_images()
    {
        using var context = Contexts.Create();
        using var plain = Build(context);
        using var fromSet = Build(context);
        using var external = Build(context);
        using var plainOptimizer = new AdadeltaOptimizer(plain.Parameters);
        using var fromSetOptimizer = new AdadeltaOptimizer(fromSet.Parameters);
        using var externalOptimizer = new AdadeltaOptimizer(external.Parameters);
        var (pixels, labels) = Images(9);
        using var set = new DeviceDataset(context, pixels, labels, s_shape);
        Assert.That((set.Count, set.Shape), Is.EqualTo((9, s_shape)));
        var losses = new List<float>();
        foreach (uint[] indices in (uint[][])[[8, 0, 3], [1], [2, 2]])
        {
            float[] input = [.. indices.SelectMany(i => pixels.Skip((int)i * s_shape.Count).Take(s_shape.Count)).Select(p => p / 255f)];
            int[] classes = [.. indices.Select(i => (int)labels[i])];
            var loss = plain.TrainStep(plainOptimizer, input, classes);
            Assert.That(fromSet.TrainStep(fromSetOptimizer, set, indices), Is.EqualTo(loss));
            fixed (float* pointer = input)
            {
                Assert.That(external.TrainStepExternal(externalOptimizer, (nint)pointer, classes), Is.EqualTo(loss));
            }
            var expected = new float[3 * indices.Length];
            var actual = new float[3 * indices.Length];
            plain.Forward(input, expected);
            fromSet.Forward(set, indices, actual);
            Assert.That(actual, Is.EqualTo(expected));
            fixed (float* pointer = input)
            {
                external.ForwardExternal((nint)pointer, indices.Length, actual);
            }
            Assert.That(actual, Is.EqualTo(expected));
            losses.Add(loss);
        }

        var read = new float[3];
        fromSet.ReadLosses(read);
        Assert.That(read, Is.EqualTo(losses));
        fromSet.QueueTrainStep(fromSetOptimizer, set, [4, 5]);
        context.Synchronize();
        fromSet.ReadLosses(read.AsSpan(0, 2));
        Assert.That(read[0], Is.EqualTo(losses[2]));
        Assert.That(() => fromSet.ReadLosses(new float[5]), Throws.InstanceOf<ArgumentException>().With.Message.Contains("losses.Length: 5, expected losses.Length <= 4"));
    }

    [TestCase("cpu")]
    [TestCase("cuda", Category = "Cuda")]
    public void A_data_set_on_managed_memory_trains_like_a_copy(string device)
    {
        using var context = Contexts.On(device, threads: 2);
        using var copied = Build(context);
        using var network = Build(context);
        using var copiedOptimizer = new AdadeltaOptimizer(copied.Parameters);
        using var optimizer = new AdadeltaOptimizer(network.Parameters);
        var (pixels, labels) = Images(9);
        // a part of an array: what lies before it is of another set
        byte[] padded = [1, 2, 3, .. pixels];
        using var copy = new DeviceDataset(context, pixels, labels, s_shape);
        using var set = DeviceDataset.FromMemory(context, padded.AsMemory(3), labels, s_shape);
        Assert.That((set.Count, set.Shape), Is.EqualTo((9, s_shape)));
        Array.Clear(labels);
        foreach (uint[] indices in (uint[][])[[8, 0, 3], [1], [8, 0, 3], [5, 4, 3], [2, 2]])
        {
            Assert.That(network.TrainStep(optimizer, set, indices), Is.EqualTo(copied.TrainStep(copiedOptimizer, copy, indices)));
        }

        // The CPU has no copy; another device has nothing but.
        var before = Logits(network, set);
        padded.AsSpan().Fill(255);
        Assert.That(Logits(network, set), device == "cpu" ? Is.Not.EqualTo(before) : Is.EqualTo(before));
        Assert.That(Logits(network, copy), Is.EqualTo(before));

        static float[] Logits(Network network, DeviceDataset set)
        {
            var logits = new float[3];
            network.Forward(set, [4], logits);
            return logits;
        }
    }

    [Test]
    public void Memory_stays_pinned_as_long_as_its_data_set_does()
    {
        using var context = Contexts.Create();
        using var memory = new CountingMemory(new byte[s_shape.Count]);
        var set = DeviceDataset.FromMemory(context, memory.Memory, [0], s_shape);
        Assert.That(memory.Pins, Is.EqualTo(1));
        set.Dispose();
        set.Dispose();
        Assert.That(memory.Pins, Is.Zero);

        Assert.That(
            () => DeviceDataset.FromMemory(context, memory.Memory, [0, 0], s_shape),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("pixels.Length: 50, expected 100"));
        Assert.That(memory.Pins, Is.Zero);

        Forget(context, memory);
        GC.Collect();
        GC.WaitForPendingFinalizers();
        Assert.That(memory.Pins, Is.Zero);

        [MethodImpl(MethodImplOptions.NoInlining)]
        static void Forget(ComputeContext context, CountingMemory memory) =>
            DeviceDataset.FromMemory(context, memory.Memory, [0], s_shape);
    }

    [Test]
    public void What_does_not_fit_is_refused_by_name()
    {
        using var context = Contexts.Create();
        using var network = Build(context);
        using var optimizer = new AdadeltaOptimizer(network.Parameters);
        var (pixels, labels) = Images(3);
        using var set = new DeviceDataset(context, pixels, labels, s_shape);
        Assert.That(
            () => network.TrainStep(optimizer, set, [3]),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("indices[0]: 3, expected 0 <= index < 3"));
        Assert.That(() => network.TrainStep(optimizer, set, []), Throws.InstanceOf<ArgumentException>().With.Message.Contains("indices.Length: 0"));
        Assert.That(() => network.TrainStep(optimizer, (DeviceDataset)null!, [0]), Throws.ArgumentNullException);
        Assert.That(
            () => new DeviceDataset(context, pixels, labels, new(1, 5, 5)),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("pixels.Length: 150, expected 75"));
        Assert.That(
            () => new DeviceDataset(context, pixels, labels, new(0, 5, 5)),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("shape.Channels"));
        Assert.That(() => new DeviceDataset(context, [], [], s_shape), Throws.InstanceOf<ArgumentException>().With.Message.Contains("labels.Length: 0"));
        Assert.That(() => DeviceDataset.FromMemory(null!, pixels, labels, s_shape), Throws.ArgumentNullException);
        Assert.That(
            () => DeviceDataset.FromMemory(context, pixels, labels, new(2, 5, -1)),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("shape.Width: -1"));
        Assert.That(
            () => DeviceDataset.FromMemory(context, ReadOnlyMemory<byte>.Empty, [], s_shape),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("labels.Length: 0"));
        set.Dispose();
        Assert.That(() => network.TrainStep(optimizer, set, [0]), Throws.TypeOf<ObjectDisposedException>());
    }

    private static Network Build(ComputeContext context) =>
        new NetworkBuilder(2, 5, 5).Conv2d(3, 3).MaxPool2d(3).ReLU().Flatten().Linear(3).Build(context, seed: 4);

    private static (byte[] Pixels, byte[] Labels) Images(int count)
    {
        var pixels = new byte[count * s_shape.Count];
        new Random(7).NextBytes(pixels);
        return (pixels, [.. Enumerable.Range(0, count).Select(i => (byte)(i % 3))]);
    }

    private sealed class CountingMemory(byte[] bytes) : MemoryManager<byte>
    {
        public int Pins { get; private set; }

        public override Span<byte> GetSpan() => bytes;

        public override MemoryHandle Pin(int elementIndex = 0)
        {
            Pins++;
            var handle = GCHandle.Alloc(bytes, GCHandleType.Pinned);
            return new MemoryHandle((byte*)handle.AddrOfPinnedObject() + elementIndex, handle, this);
        }

        public override void Unpin() => Pins--;

        protected override void Dispose(bool disposing)
        {
        }
    }
}
