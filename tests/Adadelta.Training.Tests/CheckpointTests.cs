using Adadelta.Native;
using NUnit.Framework;
using static Adadelta.Training.Tests.TinyProblem;

namespace Adadelta.Training.Tests;

internal sealed class CheckpointTests
{
    // 4 steps an epoch, the last one short
    private const int BatchSize = 16;
    private const int Steps = 4;
    private const int Epochs = 3;

    private readonly TemporaryFolder _folder = new();
    private readonly ImageDataset _train = Images(3 * BatchSize + 5, seed: 1);
    private readonly ImageDataset _test = Images(20, seed: 2);

    private string FileName => _folder["checkpoint.safetensors"];

    [OneTimeTearDown]
    public void Dispose() => _folder.Dispose();

    private static IEnumerable<int> LossBits(LossHistory history) =>
        history.Steps.Select(step => BitConverter.SingleToInt32Bits(step.Loss));

    private Trainer Make(Setup setup, string? checkpoint = null, int every = 0, ulong seed = 5, int batchSize = BatchSize) =>
        new(setup.Network, setup.Optimizer)
        {
            BatchSize = batchSize,
            Seed = seed,
            Test = _test,
            Schedule = LearningRateSchedule.Parse("exponential:0.5"),
            CheckpointPath = checkpoint,
            CheckpointSteps = every,
        };

    // Checkpoints come every epoch: one that took memory of its size each time would make a long run's memory grow. Half leaves
    // room for the header and for the one buffer, should the pool have none; the file holds each number once.
    [Test]
    public void A_checkpoint_does_not_allocate_what_it_holds()
    {
        using var context = ComputeContext.Create(Device.Cpu);
        using var network = new NetworkBuilder(1, 16, 16).Flatten().Linear(256).Linear(256).Linear(256).Linear(256).Build(context);
        using var optimizer = new AdadeltaOptimizer(network.Parameters);
        CheckpointFile.Save(network, optimizer, FileName);
        var before = GC.GetAllocatedBytesForCurrentThread();
        CheckpointFile.Save(network, optimizer, FileName);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(new FileInfo(FileName).Length / 2));
    }

    // Data order, dropout, schedule, optimizer: everything is where it was, on other numbers of threads too.
    [Test]
    public void A_run_resumed_at_any_step_has_the_bits_of_one_that_never_stopped()
    {
        using var whole = new Setup(1, dropout: true);
        var expected = Make(whole).Fit(_train, Epochs);
        for (var stop = 1; stop <= Epochs * Steps; stop++)
        {
            using (var first = new Setup(2, dropout: true))
            {
                using var cancellation = new CancellationTokenSource();
                var steps = 0;
                // The last step of an epoch is reported after its test.
                var count = new ProgressAction(_ =>
                {
                    if (++steps == stop)
                    {
                        cancellation.Cancel();
                    }
                });
                var stopped = Make(first, FileName).Fit(_train, Epochs, count, cancellation.Token);
                Assert.That(stopped.Steps, Has.Count.EqualTo(stop));
            }
            using var second = new Setup(3, dropout: true, learningRate: 0.125);
            foreach (var parameter in second.Network.Parameters)
            {
                parameter.Value.Fill(7);
            }
            var trainer = Make(second);
            var history = trainer.Resume(FileName);
            Assert.That(history.Steps, Has.Count.EqualTo(stop));
            foreach (var _ in trainer.EnumerateEpochs(_train, Epochs, history))
            {
            }
            Assert.That(LossBits(history), Is.EqualTo(LossBits(expected)), $"stopped after {stop}");
            Assert.That(second.Weights(), Is.EqualTo(whole.Weights()), $"stopped after {stop}");
            Assert.That(
                history.Epochs.Select(epoch => (epoch.Epoch, epoch.AverageLoss, epoch.TestLoss, epoch.LearningRate)),
                Is.EqualTo(expected.Epochs.Select(epoch => (epoch.Epoch, epoch.AverageLoss, epoch.TestLoss, epoch.LearningRate))));
            Assert.That(history.Steps.Select(step => step.LearningRate), Is.EqualTo(expected.Steps.Select(step => step.LearningRate)));
        }
    }

    [TestCase(0, new[] { 4, 8, 12 })]
    [TestCase(3, new[] { 3, 6, 9, 12 })]
    [TestCase(4, new[] { 4, 8, 12 })]
    public void Checkpoints_are_written_as_often_as_asked(int every, int[] expected)
    {
        using var setup = new Setup();
        List<int> seen = [];
        File.Delete(FileName);
        var trainer = Make(setup, FileName, every);
        trainer.Fit(_train, Epochs, new ProgressAction(_ =>
        {
            if (File.Exists(FileName))
            {
                var steps = (int)SafeTensors.Read(FileName).Tensors.Single(tensor => tensor.Name == "training.losses").Shape[0];
                if (seen.LastOrDefault() != steps)
                {
                    seen.Add(steps);
                }
            }
        }));
        Assert.That(seen, Is.EqualTo(expected));
    }

    [Test]
    public void A_checkpoint_of_another_run_is_refused_and_nothing_changes()
    {
        using var saved = new Setup();
        Make(saved, FileName).Fit(_train, 1);
        using var setup = new Setup(seed: 4);
        var before = setup.Weights();
        Refused(Make(setup, seed: 6), "made with Seed 5, expected the trainer's 6");
        Refused(Make(setup, batchSize: 8), "made with BatchSize 16, expected the trainer's 8");
        Refused(
            new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize, Seed = 5 },
            "made with Schedule exponential:0.5, expected the trainer's constant");
        using var other = new NetworkBuilder(1, 8, 8).Flatten().Linear(3).Build(setup.Context, maxBatchSize: BatchSize);
        using var otherOptimizer = new AdadeltaOptimizer(other.Parameters);
        Refused(
            new Trainer(other, otherOptimizer) { BatchSize = BatchSize, Seed = 5, Schedule = LearningRateSchedule.Parse("exponential:0.5") },
            "does not fit the network: ");
        Assert.That(setup.Weights(), Is.EqualTo(before));
        Assert.That(setup.Optimizer.StepCount, Is.Zero);

        var resumed = Make(setup);
        var history = resumed.Resume(FileName);
        Assert.That(
            () => resumed.EnumerateEpochs(Images(20), 2, history),
            Throws.ArgumentException.With.Message.StartsWith(
                $"train: 'tiny' with 20 images and the checksum {Images(20).Checksum}, expected 'tiny' with 53 images and the checksum "
                + $"{_train.Checksum}, as in {FileName}"));

        void Refused(Trainer trainer, string message) => Assert.That(
            () => trainer.Resume(FileName), Throws.TypeOf<InvalidDataException>().With.Message.Contains(message));
    }

    // As many images under the same name, and one pixel of one of them is another.
    [Test]
    public void A_run_is_not_resumed_on_other_images_of_the_same_name_and_number()
    {
        using var saved = new Setup();
        Make(saved, FileName).Fit(_train, 1);
        using var setup = new Setup();
        var trainer = Make(setup);
        trainer.Resume(FileName);
        var before = setup.Weights();
        byte[] pixels = [.. _train.Pixels.Span], labels = [.. _train.Labels.Span];
        pixels[1234] ^= 1;
        Assert.That(() => trainer.Fit(new("tiny", 1, 8, 8, Classes, pixels, [.. labels]), 2), Throws.ArgumentException);
        pixels[1234] ^= 1;
        labels[7] = (byte)((labels[7] + 1) % Classes);
        Assert.That(() => trainer.Fit(new("tiny", 1, 8, 8, Classes, pixels, labels), 2), Throws.ArgumentException);
        Assert.That(setup.Weights(), Is.EqualTo(before));
        Assert.That(
            trainer.Fit(new("moved", 1, 8, 8, Classes, [.. _train.Pixels.Span], [.. _train.Labels.Span]), 2).Epochs,
            Has.Count.EqualTo(2), "the same images under another name are the same");
    }

    [Test]
    public void A_run_is_not_resumed_with_other_test_images()
    {
        using var saved = new Setup();
        Make(saved, FileName).Fit(_train, 1);
        using var setup = new Setup();
        var other = With(Images(20, seed: 3));
        Assert.That(() => other.Resume(FileName), Throws.TypeOf<InvalidDataException>().With.Message.Contains(
            $"made with Test 'tiny' with 20 images and the checksum {_test.Checksum}, expected the trainer's 'tiny' with 20 images and"));
        var none = With(null);
        Assert.That(none.Resume(FileName).Epochs, Has.Count.EqualTo(1));

        Trainer With(ImageDataset? test) => new(setup.Network, setup.Optimizer)
        {
            BatchSize = BatchSize,
            Seed = 5,
            Schedule = LearningRateSchedule.Parse("exponential:0.5"),
            Test = test,
        };
    }

    // Fit once began at the first epoch again and wrote over the checkpoint.
    [Test]
    public void Fit_goes_on_with_the_run_that_was_resumed()
    {
        using var whole = new Setup(dropout: true);
        var expected = Make(whole).Fit(_train, Epochs);
        using (var first = new Setup(dropout: true))
        {
            using var cancellation = new CancellationTokenSource();
            Make(first, FileName).Fit(_train, Epochs, new ProgressAction(report =>
            {
                if ((report.Epoch, report.Step) == (2, 3))
                {
                    cancellation.Cancel();
                }
            }), cancellation.Token);
        }
        using var second = new Setup(dropout: true);
        var trainer = Make(second, FileName);
        var resumed = trainer.Resume(FileName);
        var history = trainer.Fit(_train, Epochs);
        Assert.That(history, Is.SameAs(resumed));
        Assert.That(history.Steps, Is.EqualTo(expected.Steps));
        Assert.That(second.Weights(), Is.EqualTo(whole.Weights()));

        var before = File.ReadAllBytes(FileName);
        Assert.That(trainer.Fit(_train, Epochs), Is.SameAs(history), "its epochs are done");
        Assert.That(second.Weights(), Is.EqualTo(whole.Weights()));
        Assert.That(File.ReadAllBytes(FileName), Is.EqualTo(before));
    }

    [Test]
    public void A_run_that_was_resumed_does_not_begin_again_with_another_history()
    {
        using var saved = new Setup();
        Make(saved, FileName).Fit(_train, 1);
        using var setup = new Setup();
        var trainer = Make(setup, FileName);
        trainer.Resume(FileName);
        var before = File.ReadAllBytes(FileName);
        Assert.That(() => trainer.EnumerateEpochs(_train, 2, new LossHistory()), Throws.ArgumentException.With.Message.StartsWith(
            $"history: does not have the 4 steps of the run resumed from {FileName}, which would begin again"));
        Assert.That(File.ReadAllBytes(FileName), Is.EqualTo(before));
    }

    private static IEnumerable<TestCaseData> Damage()
    {
        yield return Case("training.losses", [float.NaN], "'training.losses' is NaN at element 0, expected finite numbers");
        yield return Case("training.losses", [float.PositiveInfinity], "'training.losses' is Infinity at element 0");
        yield return Case("conv1.bias", [0, float.NaN, 0, 0], "'conv1.bias' is NaN at element 1");
        yield return Case("optimizer.state.1.square_avg", [0, 0, -1, 0], "'optimizer.state.1.square_avg' is -1 at element 2");

        static TestCaseData Case(string name, float[] start, string message) =>
            new TestCaseData(name, start, message).SetArgDisplayNames(message);
    }

    [TestCaseSource(nameof(Damage))]
    public void A_checkpoint_with_numbers_that_cannot_be_is_refused_and_nothing_changes(string name, float[] start, string message)
    {
        using var saved = new Setup();
        Make(saved, FileName).Fit(_train, 1);
        var file = SafeTensors.Read(FileName);
        start.CopyTo(System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(
            file.Tensors.Single(tensor => tensor.Name == name).Bytes.AsSpan()));
        SafeTensors.Write(FileName, file.Tensors, file.Metadata);
        using var setup = new Setup(seed: 4);
        var before = setup.Weights();
        var trainer = Make(setup);
        Assert.That(() => trainer.Resume(FileName),
            Throws.TypeOf<InvalidDataException>().With.Message.StartsWith(FileName).And.Message.Contains(message));
        Assert.That(setup.Weights(), Is.EqualTo(before));
        Assert.That(setup.Optimizer.StepCount, Is.Zero);
    }

    [TestCase("-0.1")]
    [TestCase("1e999")]
    public void A_checkpoint_with_an_absurd_rate_is_refused(string rate)
    {
        using var saved = new Setup();
        Make(saved, FileName).Fit(_train, 1);
        var file = SafeTensors.Read(FileName);
        SafeTensors.Write(FileName, file.Tensors, new Dictionary<string, string>(file.Metadata) { ["training.initial_lr"] = $"[{rate}]" });
        using var setup = new Setup();
        Assert.That(() => Make(setup).Resume(FileName), Throws.TypeOf<InvalidDataException>().With.Message.EqualTo(
            $"{FileName}: training.initial_lr is '[{rate}]', expected finite numbers >= 0"));
    }

    // The last update of an epoch shows in no loss of it; the checkpoint before is still of use.
    [Test]
    public void Weights_that_are_no_longer_finite_do_not_replace_a_checkpoint()
    {
        using var setup = new Setup();
        var trainer = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize, CheckpointPath = FileName };
        var history = trainer.Fit(_train, 1);
        var before = File.ReadAllBytes(FileName);
        var error = Assert.Throws<TrainingDivergedException>(() => trainer.EnumerateEpochs(_train, 2, history, new ProgressAction(report =>
        {
            if (report.Step == Steps - 1)
            {
                // A step of some 1e41, which float32 does not have.
                setup.Optimizer.LearningRate = 1e38;
                setup.Optimizer.GetState(2).AccumulatedDelta.Fill(1e6f);
            }
        })).Count());
        Assert.That(error.Message, Does.StartWith($"training diverged in epoch 2, step {Steps}: not saved, since it could not be loaded: '"));
        Assert.That(error.History.Steps, Has.Count.EqualTo(2 * Steps));
        Assert.That(File.ReadAllBytes(FileName), Is.EqualTo(before));
    }

    [Test]
    public void A_checkpoint_is_also_a_network_s_file_and_an_optimizer_s()
    {
        using var saved = new Setup(dropout: true);
        Make(saved, FileName).Fit(_train, 2);
        using var network = new Setup(seed: 7, dropout: true);
        NetworkFile.Load(network.Network, FileName);
        Assert.That(network.Weights(), Is.EqualTo(saved.Weights()));
        Assert.That(
            () => CheckpointFile.Load(network.Network, network.Optimizer, FileName),
            Throws.TypeOf<InvalidDataException>().With.Message.Contains("network.seed is '1', expected 7"));
        using var both = new Setup(dropout: true);
        CheckpointFile.Load(both.Network, both.Optimizer, FileName);
        Assert.That(both.Weights(), Is.EqualTo(saved.Weights()));
        Assert.That(both.Network.Step, Is.EqualTo(saved.Network.Step));
        Assert.That(both.Optimizer.StepCount, Is.EqualTo(2 * Steps));
    }

    [Test]
    public void A_network_s_file_is_no_checkpoint()
    {
        using var setup = new Setup();
        NetworkFile.Save(setup.Network, FileName);
        Assert.That(
            () => CheckpointFile.Load(setup.Network, setup.Optimizer, FileName),
            Throws.TypeOf<InvalidDataException>().With.Message.Contains("network.step is ''"));
        CheckpointFile.Save(setup.Network, setup.Optimizer, FileName);
        Assert.That(
            () => Make(setup).Resume(FileName),
            Throws.TypeOf<InvalidDataException>().With.Message.Contains("no training.seed in the metadata"));
    }
}
