using Adadelta.Native;
using NUnit.Framework;
using static Adadelta.Training.Tests.TinyProblem;

namespace Adadelta.Training.Tests;

// What a run does where a step may return before the device has done it, and the same on the CPU, where it never does.
[TestFixture("cpu")]
[TestFixture("cuda", Category = "Cuda")]
internal sealed class DeviceTrainingTests(string device)
{
    // 7 steps an epoch, the last one short
    private const int BatchSize = 16;
    private const int Steps = 7;
    private readonly ImageDataset _train = Images(6 * BatchSize + 5, seed: 1);
    private readonly ImageDataset _test = Images(40, seed: 2);

    private Setup Create(double learningRate = 1) => new(dropout: true, learningRate: learningRate, device: device);

    [Test]
    public void The_loss_falls_and_the_test_images_are_read()
    {
        using var setup = Create();
        var history = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize, Test = _test }.Fit(_train, epochs: 10);
        Assert.That(history.Steps, Has.Count.EqualTo(10 * Steps));
        Assert.That(history.Epochs[^1].AverageLoss, Is.LessThan(history.Epochs[0].AverageLoss / 3));
        Assert.That(history.Epochs[^1].TestAccuracy, Is.GreaterThan(0.95));
        var evaluation = Trainer.Evaluate(setup.Network, _test);
        Assert.That(history.Epochs[^1].TestLoss, Is.EqualTo(evaluation.Loss));
        Assert.That(history.Epochs[^1].TestAccuracy, Is.EqualTo(evaluation.Accuracy));
    }

    // The CPU is the witness. The devices add in another order, and five steps carry that on.
    [Test]
    public void The_losses_are_the_CPU_s()
    {
        using var cpu = new Setup(dropout: true);
        using var setup = Create();
        var expected = new Trainer(cpu.Network, cpu.Optimizer) { BatchSize = BatchSize }.Fit(_train, 1);
        var actual = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize }.Fit(_train, 1);
        Assert.That(actual.Steps.Select(step => step.Loss), Is.EqualTo(expected.Steps.Select(step => step.Loss)).Within(1e-4));
    }

    [Test]
    public void The_losses_are_the_same_however_many_are_read_together([Values(2, 3, Steps, 50)] int interval)
    {
        using var each = Create();
        using var together = Create();
        var expected = new Trainer(each.Network, each.Optimizer) { BatchSize = BatchSize, LossInterval = 1 }.Fit(_train, 3);
        var actual = new Trainer(together.Network, together.Optimizer) { BatchSize = BatchSize, LossInterval = interval }
            .Fit(_train, 3);
        Assert.That(actual.Steps, Is.EqualTo(expected.Steps));
        Assert.That(actual.Epochs.Select(epoch => epoch.AverageLoss), Is.EqualTo(expected.Epochs.Select(epoch => epoch.AverageLoss)));
        Assert.That(together.Weights(), Is.EqualTo(each.Weights()));
    }

    [Test]
    public void Losses_are_read_together_where_reading_one_waits_for_the_device()
    {
        using var setup = Create();
        Assert.That(new Trainer(setup.Network, setup.Optimizer).LossInterval, Is.EqualTo(device == "cpu" ? 1 : 50));
        foreach (var interval in new[] { 0, 1025 })
        {
            Assert.That(() => new Trainer(setup.Network, setup.Optimizer) { LossInterval = interval },
                Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.StartsWith(
                    $"LossInterval: {interval}, expected 1 <= LossInterval <= 1024"));
        }
    }

    // Steps of the network at each step's report: a step that is reported while the network is ahead was not waited for.
    [TestCase(1, 0, new long[] { 1, 2, 3, 4, 5, 6, 7 })]
    [TestCase(3, 0, new long[] { 3, 3, 3, 6, 6, 6, 7 })]
    [TestCase(50, 0, new long[] { 7, 7, 7, 7, 7, 7, 7 })]
    [TestCase(3, 5, new long[] { 3, 3, 3, 5, 5, 7, 7 })]
    [TestCase(50, 2, new long[] { 2, 2, 4, 4, 6, 6, 7 })]
    public void Each_step_is_reported_when_its_loss_is_read(int interval, int checkpointSteps, long[] expected)
    {
        using var folder = new TemporaryFolder();
        using var setup = Create();
        var reports = new List<TrainingProgress>();
        var taken = new List<long>();
        var trainer = new Trainer(setup.Network, setup.Optimizer)
        {
            BatchSize = BatchSize,
            Test = _test,
            LossInterval = interval,
            CheckpointPath = folder["checkpoint.safetensors"],
            CheckpointSteps = checkpointSteps,
        };
        var history = trainer.Fit(_train, 1, new ProgressAction(report =>
        {
            reports.Add(report);
            taken.Add(setup.Network.Step);
        }));
        Assert.That(taken, Is.EqualTo(expected));
        Assert.That(reports.Select(report => new StepResult(report.Epoch, report.Step, report.Loss, report.LearningRate)),
            Is.EqualTo(history.Steps));
        Assert.That(reports.Select(report => report.Finished), Is.EqualTo(new EpochResult?[Steps - 1].Append(history.Epochs[0])));
    }

    [Test]
    public void A_run_goes_on_from_a_checkpoint_between_two_readings()
    {
        using var folder = new TemporaryFolder();
        using var whole = Create();
        using var setup = Create();
        Trainer CreateTrainer(Setup of) => new(of.Network, of.Optimizer)
        {
            BatchSize = BatchSize,
            LossInterval = 3,
            CheckpointPath = folder[of == whole ? "whole.safetensors" : "checkpoint.safetensors"],
            CheckpointSteps = 5,
        };
        var expected = CreateTrainer(whole).Fit(_train, 2);

        // leaves the run where the checkpoint of step 5 is the newest
        Assert.That(
            () => CreateTrainer(setup).Fit(_train, 2, new ProgressAction(
                report => _ = report.Step == 7 ? throw new IOException("the disk is gone") : 0)),
            Throws.TypeOf<IOException>());
        using var resumed = Create();
        var trainer = new Trainer(resumed.Network, resumed.Optimizer) { BatchSize = BatchSize, LossInterval = 3 };
        var history = trainer.Resume(folder["checkpoint.safetensors"]);
        Assert.That(history.Steps, Is.EqualTo(expected.Steps.Take(5)));
        Assert.That(trainer.EnumerateEpochs(_train, 2, history).Count(), Is.EqualTo(2));
        Assert.That(history.Steps, Is.EqualTo(expected.Steps));
        Assert.That(resumed.Weights(), Is.EqualTo(whole.Weights()));
    }

    // At a moment that nobody chooses: whenever it comes, the history has the steps that the network has taken.
    [Test]
    public void A_run_cancelled_between_two_readings_has_all_of_its_steps()
    {
        using var whole = Create();
        using var setup = Create();
        var expected = new Trainer(whole.Network, whole.Optimizer) { BatchSize = BatchSize }.Fit(_train, 30);
        var trainer = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize, LossInterval = 5 };
        var history = new LossHistory();
        do
        {
            using var source = new CancellationTokenSource(TimeSpan.FromMilliseconds(1));
            Assert.That(trainer.EnumerateEpochs(_train, 30, history, null, source.Token).Count(), Is.LessThanOrEqualTo(30));
            Assert.That(history.Steps, Has.Count.EqualTo(setup.Network.Step));
        }
        while (history.Cancelled);
        Assert.That(history.Steps, Is.EqualTo(expected.Steps));
        Assert.That(setup.Weights(), Is.EqualTo(whole.Weights()));
    }

    [Test]
    public void A_loss_that_is_not_a_number_is_told_with_its_step_when_it_is_read()
    {
        using var each = Create(learningRate: 1e38);
        using var together = Create(learningRate: 1e38);
        var expected = Assert.Throws<TrainingDivergedException>(
            () => new Trainer(each.Network, each.Optimizer) { BatchSize = BatchSize, LossInterval = 1 }.Fit(_train, 3));
        var reports = new List<TrainingProgress>();
        var error = Assert.Throws<TrainingDivergedException>(
            () => new Trainer(together.Network, together.Optimizer) { BatchSize = BatchSize, LossInterval = 50 }
                .Fit(_train, 3, new ProgressAction(reports.Add)));
        Assert.That((error.Epoch, error.Step, error.Loss), Is.EqualTo((expected.Epoch, expected.Step, expected.Loss)));
        Assert.That(error.Message, Is.EqualTo(expected.Message));
        Assert.That(error.History.Steps, Is.EqualTo(expected.History.Steps).And.Not.Empty);
        Assert.That(reports.Select(report => report.Step), Is.EqualTo(error.History.Steps.Select(step => step.Step)));
        Assert.That(together.Network.Step, Is.EqualTo(Steps));
    }

    // Each run has its images on the device for itself, at whatever address the last run's have left.
    [Test]
    public void A_network_trains_on_one_data_set_after_the_other()
    {
        using var setup = Create();
        using var witness = Create();
        foreach (var count in new[] { 16, 16, 160, 48 })
        {
            var data = Images(count, seed: count);
            var history = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize }.Fit(data, 3);
            var sampler = new BatchSampler(count, BatchSize, seed: 0);
            foreach (var step in history.Steps)
            {
                var places = sampler.GetBatch(step.Epoch - 1, step.Step - 1).ToArray();
                var images = new float[places.Length * 64];
                for (var i = 0; i < places.Length; i++)
                {
                    Pixels.Scale(data.Image((int)places[i]), images.AsSpan(i * 64, 64));
                }
                int[] labels = [.. places.Select(place => (int)data.Labels.Span[(int)place])];
                Assert.That(step.Loss, Is.EqualTo(witness.Network.TrainStep(witness.Optimizer, images, labels)));
            }
        }
        Assert.That(setup.Weights(), Is.EqualTo(witness.Weights()));
    }
}
