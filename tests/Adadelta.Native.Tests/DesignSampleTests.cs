using NUnit.Framework;

namespace Adadelta.Native.Tests;

internal sealed class DesignSampleTests
{
    // The sample that the documentation shows, without the data set that the trainer brings.
    [Test]
    public void The_sample_compiles_and_trains()
    {
        using var context = ComputeContext.Create();                       // CUDA when there, else CPU
        using var network = new NetworkBuilder(1, 28, 28)
            .Conv2d(32, kernel: 5).MaxPool2d(2).ReLU()
            .Conv2d(64, kernel: 5).MaxPool2d(2).ReLU()
            .Flatten().Linear(512).ReLU().Linear(10)
            .Build(context, seed: 1);
        using var optimizer = new AdadeltaOptimizer(network.Parameters, new() { LearningRate = 0.1f, Rho = 0.9f });

        var losses = new List<float>();
        for (var step = 0; step < 20; step++)
        {
            losses.Add(network.TrainStep(optimizer, GoldenCnn.Instance.Input, GoldenCnn.Instance.Labels));
        }
        Assert.That(losses[0], Is.EqualTo(Math.Log(10)).Within(0.1), "ten classes, not yet told apart");
        Assert.That(losses[^1], Is.LessThan(losses[0]));
    }
}
