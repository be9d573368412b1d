using System.Diagnostics;
using System.Runtime.CompilerServices;
using Adadelta.Native;

namespace Adadelta.Reliability.Tests;

/// <summary>Objects that come and go, are forgotten, and are disposed of while others use them.</summary>
internal sealed class LifeTests
{
    // A leak of one context, network or optimizer a cycle is some ten kB.
    private const long AllowedGrowth = 16 << 20;

    private static readonly float[] s_input = [.. Enumerable.Range(0, 4 * 36).Select(i => i % 7 / 7f)];
    private static readonly int[] s_labels = [0, 1, 2, 0];

    [Test]
    public void Cycles_of_create_step_and_dispose_keep_memory_flat() => AssertFlat(Settings.Count(500, 10_000), cycle =>
    {
        using var context = ComputeContext.Create(Device.Cpu, cycle % 16 == 0 ? 2 : 1);
        using var network = SmallNetwork(context);
        using AdadeltaOptimizer optimizer = new(network.Parameters);
        Assert.That(network.TrainStep(optimizer, s_input, s_labels), Is.Positive);
    });

    [Test]
    public void Finalizers_run_in_any_order_and_keep_memory_flat()
    {
        var random = Settings.Draw();
        AssertFlat(Settings.Count(300, 5_000), cycle =>
        {
            Forget(random);
            if (cycle % 10 == 0)
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
            }
        });

        // Some are disposed of, in any order, and the collector finds the rest.
        [MethodImpl(MethodImplOptions.NoInlining)]
        static void Forget(Random random)
        {
            var context = ComputeContext.Create(Device.Cpu, 1);
            var network = SmallNetwork(context);
            AdadeltaOptimizer optimizer = new(network.Parameters);
            var state = optimizer.GetState(0);
            network.TrainStep(optimizer, s_input, s_labels);
            IDisposable[] all = [context, network, optimizer, state.SquareAverage, new DeviceTensor(context, 3)];
            random.Shuffle(all);
            foreach (var one in all.AsSpan(random.Next(all.Length + 1)))
            {
                one.Dispose();
            }
        }
    }

    // Whoever comes too late is told so; nothing crashes, and no loss is wrong.
    [TestCase("network")]
    [TestCase("optimizer")]
    [TestCase("context")]
    public void What_is_disposed_of_in_mid_step_ends_the_steps(string what)
    {
        var random = Settings.Draw();
        List<float> expected = [];
        for (var round = 0; round < Settings.Count(60, 1_000); round++)
        {
            var context = ComputeContext.Create(Device.Cpu, round % 8 == 0 ? 2 : 1);
            var network = SmallNetwork(context);
            AdadeltaOptimizer optimizer = new(network.Parameters);
            List<float> losses = [];
            using ManualResetEventSlim started = new();
            using CancellationTokenSource enough = new();
            var training = Task.Run(() =>
            {
                try
                {
                    while (!enough.IsCancellationRequested)
                    {
                        losses.Add(network.TrainStep(optimizer, s_input, s_labels));
                        started.Set();
                    }
                }
                catch (Exception error) when (error is ObjectDisposedException or InvalidOperationException)
                {
                    started.Set();
                }
            });
            started.Wait();
            Thread.SpinWait(random.Next(20_000));
            IDisposable disposed = what switch { "network" => network, "optimizer" => optimizer, _ => context };
            Dispose(disposed);
            // What was made on a context outlives it.
            if (what == "context")
            {
                enough.Cancel();
            }
            training.Wait();
            foreach (IDisposable rest in (IDisposable[])[network, optimizer, context])
            {
                rest.Dispose();
            }
            // The same losses as ever, as far as they go.
            var common = Math.Min(expected.Count, losses.Count);
            Assert.That(losses.Take(common), Is.EqualTo(expected.Take(common)));
            if (losses.Count > expected.Count)
            {
                expected = losses;
            }
        }

        // An object in use may refuse to go.
        static void Dispose(IDisposable one)
        {
            try
            {
                one.Dispose();
            }
            catch (InvalidOperationException)
            {
            }
        }
    }

    private static Network SmallNetwork(ComputeContext context) =>
        new NetworkBuilder(1, 6, 6).Conv2d(3, 3).ReLU().Flatten().Dropout(0.25f).Linear(3).Build(context, 1, 4);

    private static void AssertFlat(int cycles, Action<int> cycle)
    {
        long before = 0;
        for (var i = 0; i < cycles; i++)
        {
            cycle(i);
            if (i == cycles / 4)
            {
                before = WorkingSet();
            }
        }
        Assert.That(WorkingSet() - before, Is.LessThan(AllowedGrowth), $"growth over {cycles - (cycles / 4)} cycles");

        static long WorkingSet()
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            GC.Collect();
            using var process = Process.GetCurrentProcess();
            return process.WorkingSet64;
        }
    }
}
