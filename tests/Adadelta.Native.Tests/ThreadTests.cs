using System.Collections.Concurrent;
using NUnit.Framework;

namespace Adadelta.Native.Tests;

// What several threads may do at once, with real threads; nothing here depends on how long anything takes.
internal sealed class ThreadTests
{
    private const int Images = 8;

    private static readonly float[] s_image = [.. Enumerable.Range(0, 64).Select(i => (i * 37 % 64) / 64f)];
    private static readonly float[] s_images = [.. Enumerable.Range(0, 64 * Images).Select(i => (i * 53 % 101) / 101f)];
    private static readonly int[] s_labels = [.. Enumerable.Range(0, Images).Select(i => i % 10)];

    [Test]
    public void A_network_that_another_thread_uses_refuses_and_is_not_disturbed()
    {
        using var context = ComputeContext.Create(Device.Cpu, 2);
        using var network = Build(context);
        using var optimizer = new AdadeltaOptimizer(network.Parameters);
        var refused = new ConcurrentBag<string>();
        using var done = new CancellationTokenSource();
        var intruder = Task.Factory.StartNew(
            () =>
            {
                var logits = new float[10];
                Action[] calls =
                [
                    () => network.Forward(s_image, logits),
                    () => network.TrainStep(optimizer, s_images, [99, 0, 0, 0, 0, 0, 0, 0]),
                    () => network.Parameters[0].Value.ToArray(),
                    () => optimizer.PassOptions = new(),
                    () => optimizer.GetState(0).SquareAverage.ToArray(),
                ];
                for (var i = 0; !done.IsCancellationRequested; i++)
                {
                    try
                    {
                        calls[i % calls.Length]();
                    }
                    catch (InvalidOperationException exception)
                    {
                        refused.Add(exception.Message);
                    }
                    catch (ArgumentOutOfRangeException)
                    {
                        // The label of 99, where the network was free.
                    }
                }
            },
            TaskCreationOptions.LongRunning);
        var losses = new List<float>();
        while (losses.Count < 20 || refused.Count < 20)
        {
            try
            {
                losses.Add(network.TrainStep(optimizer, s_images, s_labels));
            }
            catch (InvalidOperationException exception)
            {
                refused.Add(exception.Message);
            }
        }
        done.Cancel();
        intruder.Wait();
        Assert.That(
            refused.Distinct(),
            Is.All.Contains("in use by a call on another thread").And.All.Contains("Network.Clone").And.All.Not.Contains("adn_"));

        using var alone = Build(context);
        using var itsOptimizer = new AdadeltaOptimizer(alone.Parameters);
        Assert.That(losses, Is.EqualTo(losses.Select(_ => alone.TrainStep(itsOptimizer, s_images, s_labels)).ToArray()));
        Assert.That(network.Step, Is.EqualTo(losses.Count));
        Assert.That(Weights(network), Is.EqualTo(Weights(alone)));
    }

    [Test]
    public void Copies_serve_the_weights_of_whole_steps_while_the_network_is_trained()
    {
        const int steps = 60;
        using var context = ComputeContext.Create(Device.Cpu, 2);
        using var expectedNetwork = Build(context);
        using var expectedOptimizer = new AdadeltaOptimizer(expectedNetwork.Parameters);
        using var expectedCopy = expectedNetwork.CreateInference(1);
        var expected = new List<float[]> { Serve(expectedCopy, expectedNetwork) };
        for (var i = 0; i < steps; i++)
        {
            expectedNetwork.TrainStep(expectedOptimizer, s_images, s_labels);
            expected.Add(Serve(expectedCopy, expectedNetwork));
        }
        Assert.That(expected.Select(logits => logits[0]).Distinct().Count(), Is.EqualTo(steps + 1), "each step gives other logits");

        using var network = Build(context);
        using var optimizer = new AdadeltaOptimizer(network.Parameters);
        using var trained = new CancellationTokenSource();
        var seen = new ConcurrentDictionary<long, int>();
        var servers = Enumerable.Range(0, 3).Select(_ => Task.Factory.StartNew(
            () =>
            {
                using var copy = network.CreateInference(1);
                do
                {
                    var logits = Serve(copy, network);
                    Assert.That(logits, Is.EqualTo(expected[(int)copy.Step]));
                    seen.AddOrUpdate(copy.Step, 1, (_, count) => count + 1);
                }
                while (!trained.IsCancellationRequested);
            },
            TaskCreationOptions.LongRunning)).ToArray();
        for (var i = 0; i < steps; i++)
        {
            // Training never fails because of the copies: it waits for them.
            network.TrainStep(optimizer, s_images, s_labels);
        }
        trained.Cancel();
        Task.WaitAll(servers);
        Assert.That(seen, Has.Count.GreaterThan(3));
        Assert.That(Weights(network), Is.EqualTo(Weights(expectedNetwork)));

        static float[] Serve(Network copy, Network source)
        {
            copy.CopyParametersFrom(source);
            var logits = new float[10];
            copy.Forward(s_image, logits);
            return logits;
        }
    }

    [Test]
    public void A_clone_goes_on_with_the_same_bits_and_shares_nothing()
    {
        using var context = ComputeContext.Create(Device.Cpu, 1);
        using var network = Build(context);
        using var optimizer = new AdadeltaOptimizer(network.Parameters);
        network.TrainStep(optimizer, s_images, s_labels);
        using var clone = network.Clone();
        Assert.That(clone.IsInference, Is.False);
        Assert.That((clone.Step, clone.Seed, clone.MaxBatchSize), Is.EqualTo((1L, network.Seed, network.MaxBatchSize)));
        Assert.That(clone.Layers, Is.EqualTo(network.Layers));
        Assert.That(Weights(clone), Is.EqualTo(Weights(network)));

        // Dropout draws by seed and step, so the gradients of both are the same.
        float[] Gradients(Network of)
        {
            of.Forward(s_images, [], training: true);
            of.Loss(s_labels);
            of.Backward();
            return [.. of.Parameters.SelectMany(parameter => parameter.Gradient.ToArray())];
        }

        var before = Weights(network);
        Assert.That(Gradients(clone), Is.EqualTo(Gradients(network)));
        clone.Parameters[0].Value.Fill(0);
        Assert.That(Weights(network), Is.EqualTo(before));
        network.Dispose();
        Assert.That(Gradients(clone), Is.Not.Empty);
    }

    [Test]
    public void A_copy_for_inference_has_no_gradients_and_says_so()
    {
        using var context = ComputeContext.Create(Device.Cpu, 1);
        using var network = Build(context);
        using var copy = network.CreateInference();
        Assert.That(copy.IsInference);
        Assert.That(copy.MemoryBytes, Is.LessThan(network.MemoryBytes * 3 / 4));
        var logits = new float[10];
        Assert.That(() => copy.Forward(s_image, logits), Throws.Nothing);
        Assert.That(() => copy.Forward(s_image, logits, training: true), Throws.InvalidOperationException.With.Message.Contains("inference"));
        Assert.That(() => copy.Loss([0]), Throws.InvalidOperationException.With.Message.Contains("inference"));
        Assert.That(copy.Backward, Throws.InvalidOperationException);
        Assert.That(() => copy.Parameters[0].Gradient, Throws.InvalidOperationException.With.Message.Contains("conv1.weight"));
        Assert.That(
            () => new AdadeltaOptimizer(copy.Parameters),
            Throws.ArgumentException.With.Message.StartsWith("parameters[0]: conv1.weight of a network for inference")
                .And.Property(nameof(ArgumentException.ParamName)).EqualTo("parameters[0]"));
        using var optimizer = new AdadeltaOptimizer(network.Parameters);
        Assert.That(
            () => copy.TrainStep(optimizer, s_images, s_labels), Throws.InvalidOperationException.With.Message.Contains("inference"));
        using var again = copy.Clone(3);
        Assert.That((again.IsInference, again.MaxBatchSize), Is.EqualTo((true, 3)));

        using var built = new NetworkBuilder(1, 2, 2).Flatten().Linear(2).Build(context, inference: true);
        Assert.That(built.IsInference);
    }

    [Test]
    public void Copies_that_do_not_fit_are_refused()
    {
        using var context = ComputeContext.Create(Device.Cpu, 1);
        using var network = Build(context);
        using var other = new NetworkBuilder(1, 8, 8).Flatten().Linear(10).Build(context);
        var before = Weights(other);
        Assert.That(() => network.Clone(0), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.StartsWith("maxBatchSize: 0, expected 1 <= maxBatchSize"));
        Assert.That(() => network.CreateInference(-1), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(
            () => other.CopyParametersFrom(network),
            Throws.ArgumentException.With.Message.StartsWith("source: ").And.Property(nameof(ArgumentException.ParamName)).EqualTo("source"));
        Assert.That(Weights(other), Is.EqualTo(before));
        Assert.That(() => other.CopyParametersFrom(null!), Throws.ArgumentNullException);
        Assert.That(() => network.CopyParametersFrom(network), Throws.Nothing);

        // On whichever context.
        using var elsewhere = ComputeContext.Create(Device.Cpu, 1);
        using var there = Build(elsewhere, seed: 9);
        there.CopyParametersFrom(network);
        Assert.That(Weights(there), Is.EqualTo(Weights(network)));
    }

    [TestCase("network")]
    [TestCase("optimizer")]
    [TestCase("dataset")]
    [TestCase("everything")]
    public void Disposed_in_mid_step_by_another_thread_it_ends_with_a_clear_exception(string what)
    {
        for (var round = 0; round < 20; round++)
        {
            var context = ComputeContext.Create(Device.Cpu, 2);
            var network = Build(context);
            var optimizer = new AdadeltaOptimizer(network.Parameters);
            var dataset = DeviceDataset.FromMemory(
                context, s_images.Select(value => (byte)(255 * value)).ToArray(), [.. s_labels.Select(label => (byte)label)], new(1, 8, 8));
            using var running = new ManualResetEventSlim();
            var trainer = Task.Factory.StartNew(
                () =>
                {
                    while (true)
                    {
                        network.TrainStep(optimizer, dataset, [0, 1, 2, 3, 4, 5, 6, 7]);
                        running.Set();
                    }
                },
                TaskCreationOptions.LongRunning);
            Assert.That(() => running.Wait(TimeSpan.FromMinutes(1)), Is.True);
            IDisposable[] all = what switch
            {
                "network" => [network],
                "optimizer" => [optimizer],
                "dataset" => [dataset],
                _ => [context, dataset, optimizer, network],
            };
            foreach (var one in all)
            {
                one.Dispose();
            }
            Assert.That(async () => await trainer, Throws.TypeOf<ObjectDisposedException>());
            foreach (IDisposable one in (IDisposable[])[network, optimizer, dataset, context])
            {
                one.Dispose();
            }
        }
    }

    [Test]
    public void Networks_on_one_context_may_train_side_by_side()
    {
        using var context = ComputeContext.Create(Device.Cpu, 2);
        float[] expected;
        using (var alone = Build(context))
        {
            expected = Train(alone);
        }
        Parallel.For(0, 4, new ParallelOptions { MaxDegreeOfParallelism = 4 }, _ =>
        {
            using var network = Build(context);
            Assert.That(Train(network), Is.EqualTo(expected));
        });

        static float[] Train(Network network)
        {
            using var optimizer = new AdadeltaOptimizer(network.Parameters);
            for (var i = 0; i < 30; i++)
            {
                network.TrainStep(optimizer, s_images, s_labels);
            }
            return Weights(network);
        }
    }

    private static Network Build(ComputeContext context, ulong seed = 1) =>
        new NetworkBuilder(1, 8, 8).Conv2d(4, kernel: 3).ReLU().Flatten().Dropout(0.25f).Linear(16).ReLU().Linear(10)
            .Build(context, seed, maxBatchSize: Images);

    private static float[] Weights(Network network) => [.. network.Parameters.SelectMany(parameter => parameter.Value.ToArray())];
}
