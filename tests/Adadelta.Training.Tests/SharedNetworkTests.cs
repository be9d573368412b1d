using Adadelta.Native;
using NUnit.Framework;

namespace Adadelta.Training.Tests;

/// <summary>Training and evaluation beside other calls on the same network.</summary>
internal sealed class SharedNetworkTests
{
    private static readonly ImageDataset s_images = TinyProblem.Images(200);

    [Test]
    public void Predictions_of_another_thread_neither_end_a_training_nor_change_it()
    {
        using var alone = new TinyProblem.Setup();
        var expected = new Trainer(alone.Network, alone.Optimizer) { BatchSize = 16, Test = s_images }.Fit(s_images, 10);

        using var shared = new TinyProblem.Setup();
        using var stop = new CancellationTokenSource();
        var answered = 0;
        var thread = new Thread(() =>
        {
            var (input, output) = (new float[64], new float[TinyProblem.Classes]);
            while (!stop.IsCancellationRequested)
            {
                try
                {
                    shared.Network.Forward(input, output);
                    answered++;
                }
                catch (ObjectInUseException)
                {
                    Thread.Yield();
                }
            }
        });
        thread.Start();
        LossHistory history;
        try
        {
            history = new Trainer(shared.Network, shared.Optimizer) { BatchSize = 16, Test = s_images }.Fit(s_images, 10);
            SpinWait.SpinUntil(() => answered > 0);
        }
        finally
        {
            stop.Cancel();
            thread.Join();
        }
        Assert.That(history.Steps, Is.EqualTo(expected.Steps));
        Assert.That(history.Epochs.Select(epoch => epoch.TestLoss), Is.EqualTo(expected.Epochs.Select(epoch => epoch.TestLoss)));
        Assert.That(shared.Weights(), Is.EqualTo(alone.Weights()));
    }

    [Test]
    public void A_network_that_is_trained_elsewhere_at_the_same_time_is_an_error()
    {
        using var setup = new TinyProblem.Setup();
        var trainer = new Trainer(setup.Network, setup.Optimizer) { BatchSize = 16, LossInterval = 5 };
        var (input, labels) = (new float[64], new[] { 0 });
        // In the middle of five steps whose losses are read together, as another thread would.
        var progress = new Intruder(() => setup.Network.Forward(input, [], training: true));
        Assert.That(() => trainer.Fit(s_images, 3, progress), Throws.Nothing, "between two readings it is the caller's own affair");
        setup.Network.Step = 0;
        using var thread = new Interference(() => setup.Network.TrainStep(setup.Optimizer, input, labels));
        Assert.That(
            () => trainer.Fit(s_images, 1000),
            Throws.InstanceOf<InvalidOperationException>().With.Message.Contains("another call has trained it too"));
    }

    [Test]
    public void A_copy_for_inference_is_evaluated_as_the_network_itself_is()
    {
        using var setup = new TinyProblem.Setup(reduction: Reduction.Sum);
        new Trainer(setup.Network, setup.Optimizer) { BatchSize = 16 }.Fit(s_images, 2);
        using var copy = setup.Network.CreateInference(maxBatchSize: 7);
        var (own, copied) = (Trainer.Evaluate(setup.Network, s_images), Trainer.Evaluate(copy, s_images));
        Assert.That(copied.Accuracy, Is.EqualTo(own.Accuracy));
        Assert.That(copied.ConfusionMatrix, Is.EqualTo(own.ConfusionMatrix));
        // The sums of losses are cut into other batches: doubles, of 200 numbers.
        Assert.That(copied.Loss, Is.EqualTo(own.Loss).Within(1e-12));

        // The native loss of the same images is a float: half a unit in the last place of its 24 bits.
        setup.Network.Forward([.. s_images.Image(0).ToArray().Select(pixel => pixel / 255f)], new float[TinyProblem.Classes]);
        var native = setup.Network.Loss([s_images.Labels.Span[0]]);
        Assert.That(Trainer.Evaluate(copy, s_images.Take(1)).Loss, Is.EqualTo(native).Within(native * 1e-6));
    }

    private sealed class Intruder(Action act) : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value)
        {
            if (value.Step % 5 == 0)
            {
                act();
            }
        }
    }

    private sealed class Interference : IDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly Thread _thread;

        public Interference(Action act)
        {
            _thread = new Thread(() =>
            {
                while (!_stop.IsCancellationRequested)
                {
                    try
                    {
                        act();
                    }
                    catch (ObjectInUseException)
                    {
                        Thread.Yield();
                    }
                }
            });
            _thread.Start();
        }

        public void Dispose()
        {
            _stop.Cancel();
            _thread.Join();
            _stop.Dispose();
        }
    }
}
