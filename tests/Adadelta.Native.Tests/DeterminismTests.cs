using System.Runtime.InteropServices;
using NUnit.Framework;

namespace Adadelta.Native.Tests;

// The same seed and inputs give the same bits.
internal sealed class DeterminismTests
{
    private const int Steps = 3;

    private static readonly GoldenCnn s_golden = GoldenCnn.Instance;

    [TestCase(64)]
    [TestCase(37)]
    [TestCase(1)]
    public void Threads_do_not_change_a_bit(int batch)
    {
        var one = Train(threads: 1, maxBatchSize: 64, batch);
        Assert.That(Train(threads: 2, maxBatchSize: 64, batch), Is.EqualTo(one));
        Assert.That(Train(threads: 3, maxBatchSize: 64, batch), Is.EqualTo(one));
    }

    [Test]
    public void Repeating_a_run_gives_the_same_bits()
    {
        var first = Train(2, 64, 64);
        Assert.That(Train(2, 64, 64), Is.EqualTo(first));
    }

    [TestCase(64)]
    [TestCase(37)]
    public void A_larger_plan_does_not_change_a_bit(int batch) =>
        Assert.That(Train(2, maxBatchSize: 100, batch), Is.EqualTo(Train(2, maxBatchSize: batch, batch)));

    [Test]
    public void A_smaller_batch_between_two_larger_ones_leaves_no_trace()
    {
        using var context = Contexts.Create(threads: 2);
        using var network = s_golden.Build(context);
        var before = new float[640];
        var after = new float[640];
        network.Forward(s_golden.Input, before);
        network.Forward(s_golden.Input.AsSpan(0, 7 * 784), new float[70]);
        network.Forward(s_golden.Input, after);
        Assert.That(Bits(after), Is.EqualTo(Bits(before)));
    }

    [Test]
    public void Two_networks_of_one_context_may_train_on_two_threads()
    {
        using var context = Contexts.Create(threads: 2);
        var expected = Train(2, 64, 16);
        var results = new uint[4][];
        Parallel.For(0, results.Length, index => results[index] = Train(context, 64, 16));
        Assert.That(results, Is.All.EqualTo(expected));
    }

    [Test]
    public void The_seed_determines_the_initial_weights_and_dropout()
    {
        using var context = Contexts.Create();
        var first = Dropped(context, seed: 7);
        Assert.That(Dropped(context, seed: 7), Is.EqualTo(first));
        Assert.That(Dropped(context, seed: 8), Is.Not.EqualTo(first));
    }

    [Test]
    public void Setting_the_step_resumes_dropout_where_it_was()
    {
        using var context = Contexts.Create();
        using var network = new NetworkBuilder(1, 4, 4).Dropout().Flatten().Linear(5).Build(context, seed: 3);
        var outputs = new float[4][];
        for (var i = 0; i < outputs.Length; i++)
        {
            outputs[i] = new float[5];
            network.Forward(Enumerable.Repeat(1f, 16).ToArray(), outputs[i], training: true);
        }
        Assert.That(network.Step, Is.EqualTo(4));
        Assert.That(outputs[0], Is.Not.EqualTo(outputs[2]));

        network.Step = 2;
        var again = new float[5];
        network.Forward(Enumerable.Repeat(1f, 16).ToArray(), again, training: true);
        Assert.That(again, Is.EqualTo(outputs[2]));
    }

    private static uint[] Dropped(ComputeContext context, ulong seed)
    {
        using var network = new NetworkBuilder(1, 4, 4).Flatten().Linear(32).Dropout(0.3f).Linear(5).Build(context, seed);
        var output = new float[5];
        network.Forward(Enumerable.Repeat(1f, 16).ToArray(), output, training: true);
        return Bits(output);
    }

    private static uint[] Train(int threads, int maxBatchSize, int batch)
    {
        using var context = Contexts.Create(threads);
        return Train(context, maxBatchSize, batch);
    }

    // Losses, logits, gradients and parameters of a short training, bit by bit.
    private static uint[] Train(ComputeContext context, int maxBatchSize, int batch)
    {
        using var network = s_golden.Build(context, maxBatchSize);
        using var optimizer = new AdadeltaOptimizer(network.Parameters, GoldenCnn.ReferenceOptions());
        var result = new List<float>();
        for (var step = 0; step < Steps; step++)
        {
            result.Add(network.TrainStep(optimizer, s_golden.Input.AsSpan(0, batch * 784), s_golden.Labels.AsSpan(0, batch)));
        }
        var logits = new float[batch * 10];
        network.Forward(s_golden.Input.AsSpan(0, batch * 784), logits);
        result.AddRange(logits);
        foreach (var parameter in network.Parameters)
        {
            result.AddRange(parameter.Gradient.ToArray());
            result.AddRange(parameter.Value.ToArray());
        }
        return Bits(CollectionsMarshal.AsSpan(result));
    }

    private static uint[] Bits(ReadOnlySpan<float> values) => MemoryMarshal.Cast<float, uint>(values).ToArray();
}
