using Adadelta.Native;
using NUnit.Framework;

namespace Adadelta.Training.Tests;

// The sample that the documentation shows, word for word but for its one epoch, the smaller data set and the path.
internal sealed class SampleTests
{
    [Test]
    public void The_sample_compiles_and_trains()
    {
        var mnist = Digits.Create(seed: 1, train: 512, test: 64);
        var reports = new List<TrainingProgress>();
        var progress = new Progress(reports.Add);
        var csv = Path.Combine(TestContext.CurrentContext.WorkDirectory, "sample-loss.csv");

        using var context = ComputeContext.Create();                       // CUDA when there, else CPU
        using var network = new NetworkBuilder(1, 28, 28)
            .Conv2d(32, kernel: 5).MaxPool2d(2).ReLU()
            .Conv2d(64, kernel: 5).MaxPool2d(2).ReLU()
            .Flatten().Linear(512).ReLU().Linear(10)
            .Build(context, seed: 1);
        using var optimizer = new AdadeltaOptimizer(network.Parameters, new() { LearningRate = 0.1f, Rho = 0.9f });
        var history = new Trainer(network, optimizer) { BatchSize = 64 }.Fit(mnist.Train, epochs: 1, progress);
        history.WriteCsv(csv);

        Assert.That(history.Steps, Has.Count.EqualTo(8));
        Assert.That(reports, Has.Count.EqualTo(8));
        Assert.That(File.ReadAllLines(csv), Has.Length.EqualTo(9));
    }

    private sealed class Progress(Action<TrainingProgress> report) : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value) => report(value);
    }
}
