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
            foreach (var _ in trainer.Epochs(_train, Epochs, history))
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
        Refused(
            new Trainer(other, setup.Optimizer) { BatchSize = BatchSize, Seed = 5, Schedule = LearningRateSchedule.Parse("exponential:0.5") },
            "does not fit the network: ");
        Assert.That(setup.Weights(), Is.EqualTo(before));
        Assert.That(setup.Optimizer.StepCount, Is.Zero);

        var resumed = Make(setup);
        var history = resumed.Resume(FileName);
        Assert.That(
            () => resumed.Epochs(Images(20), 2, history),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("train: 20, expected 53 images"));

        void Refused(Trainer trainer, string message) => Assert.That(
            () => trainer.Resume(FileName), Throws.TypeOf<InvalidDataException>().With.Message.Contains(message));
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
