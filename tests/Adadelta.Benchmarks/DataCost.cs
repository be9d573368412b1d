using System.CommandLine;
using System.Diagnostics;
using Adadelta.Native;
using Adadelta.Training;
using static System.FormattableString;

namespace Adadelta.Benchmarks;

/// <summary>
/// <c>data</c>: what a step of <see cref="Trainer.Fit"/> takes, with its shuffled, gathered and scaled batch, its loss history and
/// its progress, beside the same step over and over on one batch of floats that is ready.
/// </summary>
internal static class DataCost
{
    private const int Batch = 64, Steps = 200;

    public static Command Command()
    {
        Option<int> rounds = new("--rounds") { Description = "Rounds", DefaultValueFactory = _ => 15 };
        Command command = new("data", "A training step with its batch and all around it, beside one on a batch that is ready") { rounds };
        command.SetAction(result =>
        {
            var data = RandomImages();
            Console.WriteLine("| threads | step on a ready batch | step of Trainer.Fit | of the ready one | of it the shuffle |");
            Console.WriteLine("| ---: | ---: | ---: | ---: | ---: |");
            foreach (var threads in (int[])[1, 2])
            {
                Measure(data, threads, result.GetValue(rounds));
            }
        });
        return command;
    }

    private static void Measure(ImageDataset data, int threads, int rounds)
    {
        var problem = (NetworkProblem)Problem.Find("reference-64");
        using var context = ComputeContext.Create(Device.Cpu, threads);
        using var network = OurWork.Build(problem, context);
        using var optimizer = OurWork.Optimizer(network.Parameters);
        var images = problem.Images().AsSpan(0, Batch * problem.Input.Count).ToArray();
        var labels = problem.Labels().AsSpan(0, Batch).ToArray();
        var order = new uint[data.Count];
        Trainer trainer = new(network, optimizer) { BatchSize = Batch };
        List<double> ready = [], fit = [], shuffle = [];
        for (var round = 0; round <= rounds; round++)
        {
            var readyTime = Time(() =>
            {
                for (var step = 0; step < Steps; step++)
                {
                    network.TrainStep(optimizer, images, labels);
                }
            });
            var fitTime = Time(() => trainer.Fit(data, epochs: 1));
            var shuffleTime = Time(() => Philox.Permutation(order, seed: 1, stream: (ulong)round));
            if (round > 0)
            {
                ready.Add(readyTime);
                fit.Add(fitTime);
                shuffle.Add(shuffleTime);
            }
        }
        var ratio = Statistics.Median(fit.Zip(ready, (one, other) => one / other));
        Console.WriteLine(Invariant($"| {threads} | {Statistics.Median(ready):0.000} ms | {Statistics.Median(fit):0.000} ms ")
            + Invariant($"| {100 * ratio:0.0} % | {100 * Statistics.Median(shuffle) / Statistics.Median(fit):0.00} % |"));
    }

    // milliseconds a step
    private static double Time(Action epoch)
    {
        var start = Stopwatch.GetTimestamp();
        epoch();
        return Stopwatch.GetElapsedTime(start).TotalMilliseconds / Steps;
    }

    private static ImageDataset RandomImages()
    {
        var pixels = new byte[Steps * Batch * 28 * 28];
        var labels = new byte[Steps * Batch];
        Random random = new(1);
        random.NextBytes(pixels);
        for (var i = 0; i < labels.Length; i++)
        {
            labels[i] = (byte)random.Next(NetworkProblem.Classes);
        }
        return new ImageDataset("random", 1, 28, 28, NetworkProblem.Classes, pixels, labels);
    }
}
