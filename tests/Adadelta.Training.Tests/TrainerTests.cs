using Adadelta.Native;
using NUnit.Framework;
using static Adadelta.Training.Tests.TinyProblem;

namespace Adadelta.Training.Tests;

public class TrainerTests
{
    // 7 steps an epoch, the last one short
    private const int BatchSize = 16;
    private const int Steps = 7;
    private readonly ImageDataset _train = Images(6 * BatchSize + 5, seed: 1);
    private readonly ImageDataset _test = Images(40, seed: 2);

    private static IEnumerable<int> LossBits(LossHistory history) =>
        history.Steps.Select(step => BitConverter.SingleToInt32Bits(step.Loss));

    [Test]
    public void The_loss_falls_and_the_test_images_are_read()
    {
        using var setup = new Setup();
        var history = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize, Test = _test }.Fit(_train, epochs: 10);
        Assert.That(history.Epochs[^1].AverageLoss, Is.LessThan(history.Epochs[0].AverageLoss / 3));
        Assert.That(history.Epochs[^1].TestAccuracy, Is.GreaterThan(0.95));
        Assert.That(history.Cancelled, Is.False);
    }

    [Test]
    public void The_history_has_every_step_and_epoch([Values] Reduction reduction)
    {
        using var setup = new Setup(reduction: reduction);
        var history = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize, Test = _test }.Fit(_train, epochs: 3);
        Assert.That(history.Steps.Select(step => (step.Epoch, step.Step)),
            Is.EqualTo(Enumerable.Range(1, 3).SelectMany(epoch => Enumerable.Range(1, Steps).Select(step => (epoch, step)))));
        Assert.That(history.Steps.Select(step => step.LearningRate), Is.All.EqualTo(1.0));
        Assert.That(history.Epochs.Select(epoch => epoch.Epoch), Is.EqualTo(new[] { 1, 2, 3 }));
        foreach (var epoch in history.Epochs)
        {
            var losses = history.Steps.Where(step => step.Epoch == epoch.Epoch).Select(step => (double)step.Loss);
            Assert.That(epoch.AverageLoss, Is.EqualTo(losses.Average()).Within(1e-12).Percent);
            Assert.That(epoch.Seconds, Is.GreaterThan(0));
            Assert.That(epoch.SamplesPerSecond, Is.EqualTo(_train.Count / epoch.Seconds).Within(1e-9).Percent);
        }
        var evaluation = Trainer.Evaluate(setup.Network, _test);
        Assert.That(history.Epochs[^1].TestLoss, Is.EqualTo(evaluation.Loss));
        Assert.That(history.Epochs[^1].TestAccuracy, Is.EqualTo(evaluation.Accuracy));
    }

    [Test]
    public void A_step_s_loss_is_the_network_s_by_its_reduction()
    {
        using var mean = new Setup(reduction: Reduction.Mean);
        using var sum = new Setup(reduction: Reduction.Sum);
        var trainMean = new Trainer(mean.Network, mean.Optimizer) { BatchSize = BatchSize }.Fit(_train, epochs: 1);
        var trainSum = new Trainer(sum.Network, sum.Optimizer) { BatchSize = BatchSize }.Fit(_train, epochs: 1);
        // only the first steps start from the same weights
        Assert.That(trainSum.Steps[0].Loss, Is.EqualTo(trainMean.Steps[0].Loss * BatchSize).Within(1e-4).Percent);
        Assert.That(trainSum.Epochs[0].TestLoss, Is.Null);
        Assert.That(trainSum.Epochs[0].TestAccuracy, Is.Null);
    }

    [Test]
    public void The_same_seed_gives_the_same_bits_for_any_number_of_threads()
    {
        var runs = new List<(int[] Weights, int[] Losses)>();
        foreach (var threads in new[] { 1, 2, 3, 1 })
        {
            using var setup = new Setup(threads, dropout: true);
            var history = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize, Seed = 5 }.Fit(_train, epochs: 2);
            runs.Add((setup.Weights(), [.. LossBits(history)]));
        }
        foreach (var (weights, losses) in runs)
        {
            Assert.That(weights, Is.EqualTo(runs[0].Weights));
            Assert.That(losses, Is.EqualTo(runs[0].Losses));
        }
    }

    [Test]
    public void Another_seed_shuffles_otherwise()
    {
        var losses = new List<int[]>();
        foreach (var seed in new ulong[] { 1, 2 })
        {
            using var setup = new Setup();
            var history = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize, Seed = seed }.Fit(_train, 1);
            losses.Add([.. LossBits(history)]);
        }
        Assert.That(losses[1], Is.Not.EqualTo(losses[0]));
    }

    [Test]
    public void Fit_is_the_sequence_of_epochs()
    {
        using var fitted = new Setup();
        using var stepped = new Setup();
        var fit = CreateTrainer(fitted).Fit(_train, 3);
        var history = new LossHistory();
        var results = new List<EpochResult>();
        foreach (var result in CreateTrainer(stepped).EnumerateEpochs(_train, 3, history))
        {
            results.Add(result);
            Assert.That(history.Epochs, Is.EqualTo(results));
            Assert.That(history.Steps, Has.Count.EqualTo(results.Count * Steps));
        }
        Assert.That(history.Steps, Is.EqualTo(fit.Steps));
        Assert.That(stepped.Weights(), Is.EqualTo(fitted.Weights()));
        Assert.That(results.Select(Lasting), Is.EqualTo(fit.Epochs.Select(Lasting)));

        Trainer CreateTrainer(Setup setup) => new(setup.Network, setup.Optimizer)
        {
            BatchSize = BatchSize,
            Test = _test,
            Schedule = LearningRateSchedule.Exponential(0.5),
        };

        static EpochResult Lasting(EpochResult result) => result with { Seconds = 0, SamplesPerSecond = 0 };
    }

    // Where the steps take their rate from memory, the schedule writes it there and the history says what was taken.
    [Test]
    public void A_schedule_sets_a_learning_rate_in_memory()
    {
        using Setup setup = new(), usual = new();
        using var memory = DeviceTensor.Zeros(setup.Network.Context, ElementType.Float64);
        memory.WriteAs<double>([usual.Optimizer.LearningRate]);
        setup.Optimizer.SetLearningRateTensor(memory);
        var schedule = LearningRateSchedule.Exponential(0.5);
        var expected = new Trainer(usual.Network, usual.Optimizer) { BatchSize = BatchSize, Schedule = schedule }.Fit(_train, 3);
        var history = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize, Schedule = schedule }.Fit(_train, 3);
        Assert.That(history.Steps, Is.EqualTo(expected.Steps));
        Assert.That(setup.Weights(), Is.EqualTo(usual.Weights()));
    }

    [Test]
    public void A_caller_may_leave_the_sequence_early()
    {
        using var setup = new Setup();
        var history = new LossHistory();
        var trainer = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize };
        foreach (var _ in trainer.EnumerateEpochs(_train, int.MaxValue, history))
        {
            break;
        }
        Assert.That(history.Steps, Has.Count.EqualTo(Steps));
        Assert.That(history.Cancelled, Is.False);
    }

    [TestCase(1, 1)]
    [TestCase(2, 3)]
    [TestCase(2, Steps)]
    [TestCase(3, Steps - 1)]
    public void A_cancelled_run_keeps_its_steps_and_can_be_taken_up(int epoch, int step)
    {
        using var whole = new Setup(dropout: true);
        var schedule = LearningRateSchedule.Step(1, 0.5);
        var expected = new Trainer(whole.Network, whole.Optimizer) { BatchSize = BatchSize, Schedule = schedule }.Fit(_train, 3);

        using var setup = new Setup(dropout: true);
        var trainer = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize, Schedule = schedule };
        using var source = new CancellationTokenSource();
        var cancel = new ProgressAction(report =>
        {
            if ((report.Epoch, report.Step) == (epoch, step))
            {
                source.Cancel();
            }
        });
        var history = trainer.Fit(_train, 3, cancel, source.Token);
        var done = (epoch - 1) * Steps + step;
        Assert.That(history.Cancelled, Is.True);
        Assert.That(history.Steps, Is.EqualTo(expected.Steps.Take(done)));
        Assert.That(history.Epochs, Has.Count.EqualTo(done / Steps));
        Assert.That(trainer.Evaluate(_test).Loss, Is.Not.NaN);

        Assert.That(trainer.EnumerateEpochs(_train, 3, history).Count(), Is.EqualTo(3 - done / Steps));
        Assert.That(history.Cancelled, Is.False);
        Assert.That(history.Steps, Is.EqualTo(expected.Steps));
        Assert.That(history.Epochs.Select(result => result.AverageLoss),
            Is.EqualTo(expected.Epochs.Select(result => result.AverageLoss)));
        Assert.That(setup.Weights(), Is.EqualTo(whole.Weights()));
    }

    [Test]
    public void A_run_cancelled_before_it_began_has_no_steps()
    {
        using var setup = new Setup();
        var before = setup.Weights();
        var history = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize }
            .Fit(_train, 3, cancellationToken: new CancellationToken(true));
        Assert.That(history.Cancelled, Is.True);
        Assert.That(history.Steps, Is.Empty);
        Assert.That(setup.Weights(), Is.EqualTo(before));
    }

    [Test]
    public void A_test_that_is_cancelled_leaves_the_epoch_without_its_figures()
    {
        using var setup = new Setup();
        using var source = new CancellationTokenSource();
        var history = new LossHistory();
        var trainer = new Trainer(setup.Network, setup.Optimizer)
        {
            BatchSize = BatchSize,
            // so many that the test is still running when the steps' end has been seen
            Test = new ImageDataset("long", 1, 8, 8, Classes, new byte[500_000 * 64], new byte[500_000]),
        };
        var cancel = Task.Factory.StartNew(
            () =>
            {
                SpinWait.SpinUntil(() => history.Steps.Count == Steps);
                source.Cancel();
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        var result = trainer.EnumerateEpochs(_train, 2, history, null, source.Token).Single();
        cancel.Wait();
        Assert.That(history.Cancelled, Is.True);
        Assert.That(history.Epochs, Is.EqualTo(new[] { result }));
        Assert.That(result.TestLoss, Is.Null);
        Assert.That(result.TestAccuracy, Is.Null);
        Assert.That(result.AverageLoss, Is.EqualTo(history.Steps.Average(step => (double)step.Loss)).Within(1e-12).Percent);
    }

    [Test]
    public void A_loss_that_is_not_a_number_stops_the_run()
    {
        using var setup = new Setup();
        var trainer = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize };
        var history = new LossHistory();
        foreach (var _ in trainer.EnumerateEpochs(_train, 1, history))
        {
        }
        setup.Network.Parameters[0].Value.Fill(float.NaN);
        var error = Assert.Throws<TrainingDivergedException>(() => trainer.EnumerateEpochs(_train, 2, history).Count());
        Assert.That(error.Message, Does.StartWith("training diverged in epoch 2, step 1: loss NaN, expected a finite number"));
        Assert.That((error.Epoch, error.Step), Is.EqualTo((2, 1)));
        Assert.That(error.Loss, Is.NaN);
        Assert.That(error.History, Is.SameAs(history));
        Assert.That(history.Steps, Has.Count.EqualTo(Steps));
    }

    // 8x8 images whose border never changes have gradients that have always been 0.
    [Test]
    public void An_eps_of_0_is_told_as_the_reason_of_divergence_and_no_lower_rate_advised([Values(0, 1e-50)] double eps)
    {
        using var setup = new Setup();
        using var optimizer = new AdadeltaOptimizer(setup.Network.Parameters);
        var dark = new ImageDataset("dark", 1, 8, 8, Classes, new byte[64 * BatchSize], new byte[BatchSize]);
        try
        {
            optimizer.SetOptions(optimizer.GetOptions() with { Eps = eps });
        }
        catch (ArgumentException) when (eps > 0)
        {
            Assert.Ignore("an eps that float32 does not have is refused at once");
        }
        var error = Assert.Throws<TrainingDivergedException>(
            () => new Trainer(setup.Network, optimizer) { BatchSize = BatchSize }.Fit(dark, 3));
        Assert.That(error.Message, Does.Contain(FormattableString.Invariant($"an Eps of {eps} makes 0/0 where a gradient has always been 0")));
        Assert.That(error.Message, Does.Not.Contain("lower"));
    }

    [Test]
    public void Weights_that_the_test_after_an_epoch_finds_to_be_no_numbers_are_divergence()
    {
        using var setup = new Setup();
        var trainer = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize, Test = _test };
        var error = Assert.Throws<TrainingDivergedException>(() => trainer.Fit(_train, 1, new ProgressAction(report =>
        {
            if (report.Step == Steps - 1)
            {
                setup.Optimizer.LearningRate = 1e38;
            }
        })));
        Assert.That(error.Message, Does.StartWith($"training diverged in epoch 1, step {Steps}: ").And.Contain(" of data set 'tiny'"));
        Assert.That(error.History.Steps, Has.Count.EqualTo(Steps));
    }

    [Test]
    public void An_optimizer_that_holds_none_of_the_network_s_parameters_is_refused()
    {
        using var setup = new Setup();
        using var other = Builder().Build(setup.Context);
        using var others = new AdadeltaOptimizer(other.Parameters);
        Assert.That(() => new Trainer(setup.Network, others), Throws.ArgumentException.With.Message.StartsWith(
            "optimizer: holds none of the network's 4 parameters, so that nothing would be trained").And.Property("ParamName").EqualTo("optimizer"));
        using var both = new AdadeltaOptimizer([.. setup.Network.Parameters, other.Parameters[2]]);
        Assert.That(() => new Trainer(setup.Network, both), Throws.ArgumentException.With.Message.StartsWith(
            "optimizer: its parameter 'fc1.weight' is not the network's, so that no training step gives it a gradient"));
    }

    [Test]
    public void Parameters_that_the_optimizer_does_not_hold_stay_as_they_are_and_are_named()
    {
        using var setup = new Setup();
        using var optimizer = new AdadeltaOptimizer([.. setup.Network.Parameters.Skip(2)]);
        var trainer = new Trainer(setup.Network, optimizer) { BatchSize = BatchSize };
        Assert.That(trainer.FrozenParameters.Select(parameter => parameter.Name), Is.EqualTo(new[] { "conv1.weight", "conv1.bias" }));
        var before = setup.Network.Parameters.Select(parameter => parameter.Value.ToArray()).ToArray();
        trainer.Fit(_train, 1);
        var after = setup.Network.Parameters.Select(parameter => parameter.Value.ToArray()).ToArray();
        Assert.That(after[..2], Is.EqualTo(before[..2]));
        Assert.That(after[2], Is.Not.EqualTo(before[2]));
        Assert.That(new Trainer(setup.Network, setup.Optimizer).FrozenParameters, Is.Empty);
    }

    // Its name says so; what the caller does not see is that nothing happened.
    [Test]
    public void Epochs_that_nobody_enumerates_train_nothing()
    {
        using var setup = new Setup();
        var before = setup.Weights();
        var history = new LossHistory();
        _ = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize }.EnumerateEpochs(_train, 1, history);
        Assert.That(setup.Weights(), Is.EqualTo(before));
        Assert.That(history.Steps, Is.Empty);
    }

    [Test]
    public void A_learning_rate_far_too_high_is_told_as_divergence()
    {
        using var setup = new Setup(learningRate: 1e38);
        var error = Assert.Throws<TrainingDivergedException>(
            () => new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize }.Fit(_train, 3));
        Assert.That(float.IsFinite(error.Loss), Is.False);
        Assert.That(error.History.Steps, Has.Count.EqualTo((error.Epoch - 1) * Steps + error.Step - 1));
    }

    [Test]
    public void Progress_is_reported_after_each_step()
    {
        using var setup = new Setup();
        var reports = new List<TrainingProgress>();
        var history = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize, Test = _test }
            .Fit(_train, 3, new ProgressAction(reports.Add));
        Assert.That(reports.Select(report => new StepResult(report.Epoch, report.Step, report.Loss, report.LearningRate)),
            Is.EqualTo(history.Steps));
        Assert.That(reports.Select(report => (report.Epochs, report.Steps)), Is.All.EqualTo((3, Steps)));
        Assert.That(reports.Where(report => report.Step < Steps).Select(report => report.Finished), Is.All.Null);
        Assert.That(reports.Where(report => report.Step == Steps).Select(report => report.Finished), Is.EqualTo(history.Epochs));
        Assert.That(reports.Select(report => report.SamplesPerSecond), Is.All.GreaterThan(0));
        Assert.That(reports.Select(report => report.Elapsed), Is.Ordered);
        Assert.That(reports[0].Remaining, Is.Null);
        Assert.That(reports.Skip(1).SkipLast(1).Select(report => report.Remaining), Is.All.GreaterThan(TimeSpan.Zero));
        Assert.That(reports[^1].Remaining, Is.EqualTo(TimeSpan.Zero));
    }

    [Test]
    public void The_seconds_of_an_epoch_are_those_of_training_alone()
    {
        using var setup = new Setup();
        TrainingProgress last = default;
        var sleep = TimeSpan.FromMilliseconds(20);
        var slow = new ProgressAction(report =>
        {
            last = report;
            Thread.Sleep(sleep);
        });
        var history = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize }.Fit(_train, 1, slow);
        var outside = last.Elapsed.TotalSeconds - history.Epochs[0].Seconds;
        Assert.That(outside, Is.GreaterThan((Steps - 1) * sleep.TotalSeconds * 0.9));
    }

    [TestCase(1)]
    [TestCase(50)]
    public void A_step_allocates_nothing(int lossInterval)
    {
        using var setup = new Setup();
        var images = Images(1000);
        var bytes = new long[images.Count];
        new Trainer(setup.Network, setup.Optimizer) { BatchSize = 1, LossInterval = lossInterval }.Fit(images, 1, new ProgressAction(
            report => bytes[report.Step - 1] = GC.GetAllocatedBytesForCurrentThread()));
        // the first steps resolve what is called for the first time; from there on a step that made the smallest of objects would
        // show 24 bytes
        Assert.That(bytes[^2] - bytes[100], Is.LessThan(24 * 100));
        Assert.That(bytes.Zip(bytes.Skip(1), (before, after) => after - before).Count(step => step == 0), Is.GreaterThan(950));
    }

    [Test]
    public void A_schedule_sets_the_rates_of_all_groups_from_their_own()
    {
        using var setup = new Setup();
        var parameters = setup.Network.Parameters;
        using var optimizer = new AdadeltaOptimizer(
        [
            new ParameterGroup([.. parameters.Take(2)], new AdadeltaOptions { LearningRate = 0.8, Rho = 0.95 }),
            new ParameterGroup([.. parameters.Skip(2)], new AdadeltaOptions { LearningRate = 0.4 }),
        ]);
        var schedule = LearningRateSchedule.Step(1, 0.5);
        var trainer = new Trainer(setup.Network, optimizer) { BatchSize = BatchSize, Schedule = schedule };
        var rates = new List<(double, double)>();
        var history = new LossHistory();
        foreach (var _ in trainer.EnumerateEpochs(_train, 3, history))
        {
            rates.Add((optimizer.GetOptions(0).LearningRate, optimizer.GetOptions(1).LearningRate));
        }
        Assert.That(rates, Is.EqualTo(new[] { (0.8, 0.4), (0.4, 0.2), (0.2, 0.1) }));
        Assert.That(history.Epochs.Select(epoch => epoch.LearningRate), Is.EqualTo(new[] { 0.8, 0.4, 0.2 }));
        Assert.That(history.Steps.Select(step => step.LearningRate).Distinct(), Is.EqualTo(new[] { 0.8, 0.4, 0.2 }));
        Assert.That(optimizer.GetOptions(0).Rho, Is.EqualTo(0.95));
    }

    [Test]
    public void Without_a_schedule_the_caller_may_change_the_rate_between_epochs()
    {
        using var setup = new Setup();
        var history = new LossHistory();
        foreach (var result in new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize }.EnumerateEpochs(_train, 3, history))
        {
            setup.Optimizer.LearningRate = 1.0 / (result.Epoch + 1);
        }
        Assert.That(history.Epochs.Select(epoch => epoch.LearningRate), Is.EqualTo(new[] { 1, 1.0 / 2, 1.0 / 3 }));
    }

    [Test]
    public void The_batch_size_is_64_or_the_network_s_largest()
    {
        using var small = new Setup(maxBatchSize: 16);
        using var large = new Setup(maxBatchSize: 100);
        Assert.That(new Trainer(small.Network, small.Optimizer).BatchSize, Is.EqualTo(16));
        Assert.That(new Trainer(large.Network, large.Optimizer).BatchSize, Is.EqualTo(64));
    }

    [Test]
    public void No_epochs_are_no_steps()
    {
        using var setup = new Setup();
        var history = new Trainer(setup.Network, setup.Optimizer).Fit(_train, 0);
        Assert.That(history.Steps, Is.Empty);
        Assert.That(history.Epochs, Is.Empty);
    }

    [Test]
    public void Arguments_out_of_bounds_are_refused_at_once()
    {
        using var setup = new Setup();
        var trainer = new Trainer(setup.Network, setup.Optimizer) { BatchSize = BatchSize };
        var wide = new ImageDataset("wide", 1, 8, 9, 3, new byte[72], new byte[1]);
        var many = new ImageDataset("many", 1, 8, 8, 4, new byte[64], new byte[1]);
        var longer = new LossHistory();
        longer.Add(new StepResult(1, Steps + 1, 1, 1));

        Assert.That(() => new Trainer(null!, setup.Optimizer), Throws.ArgumentNullException);
        Assert.That(() => new Trainer(setup.Network, null!), Throws.ArgumentNullException);
        Assert.That(() => trainer.Fit(null!, 1), Throws.ArgumentNullException);
        Assert.That(() => trainer.EnumerateEpochs(_train, 1, null!), Throws.ArgumentNullException);
        Assert.That(() => new Trainer(setup.Network, setup.Optimizer) { Schedule = null! }, Throws.ArgumentNullException);
        AssertRefused(() => new Trainer(setup.Network, setup.Optimizer) { BatchSize = 0 },
            "BatchSize: 0, expected 1 <= BatchSize <= 16, the network's largest batch");
        AssertRefused(() => new Trainer(setup.Network, setup.Optimizer) { BatchSize = 17 },
            "BatchSize: 17, expected 1 <= BatchSize <= 16");
        AssertRefused(() => new Trainer(setup.Network, setup.Optimizer) { Test = wide },
            "Test: images of data set 'wide' are 1x8x9, expected the network's input 1x8x8");
        // at the call, not at the first step of the sequence
        AssertRefused(() => trainer.EnumerateEpochs(wide, 1, new LossHistory()), "train: images of data set 'wide' are 1x8x9");
        AssertRefused(() => trainer.Fit(many, 1),
            "train: data set 'many' has 4 classes, expected at most the network's 3 outputs");
        AssertRefused(() => trainer.Fit(_train, -1), "epochs: -1, expected epochs >= 0");
        AssertRefused(() => trainer.EnumerateEpochs(_train, 2, longer), "history: its last step is 8 of epoch 1, expected at most 7");

        static void AssertRefused(Func<object> call, string message) =>
            Assert.That(() => call(), Throws.InstanceOf<ArgumentException>().With.Message.StartsWith(message));
    }
}
