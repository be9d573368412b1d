using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Adadelta.Native;
using NUnit.Framework;

namespace Adadelta.Training.Tests;

// The samples of the documentation. That of a training is word for word but for its one epoch, the smaller data set and the path.
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
        using var optimizer = new AdadeltaOptimizer(network.Parameters, new() { LearningRate = 0.1, Rho = 0.9 });
        var history = new Trainer(network, optimizer) { BatchSize = 64 }.Fit(mnist.Train, epochs: 1, progress);
        history.WriteCsv(csv);

        Assert.That(history.Steps, Has.Count.EqualTo(8));
        Assert.That(reports, Has.Count.EqualTo(8));
        Assert.That(File.ReadAllLines(csv), Has.Length.EqualTo(9));
    }

    // That of the package's readme, for a loop of one's own: it takes the same steps as the trainer.
    [Test]
    public void The_sample_of_a_loop_takes_the_trainer_s_steps()
    {
        var digits = Digits.Create(seed: 1, train: 200, test: 10);
        using var context = ComputeContext.Create(Device.Cpu);
        var losses = new List<float>();

        using var network = Build(context);
        using var optimizer = new AdadeltaOptimizer(network.Parameters, new() { LearningRate = 0.1, Rho = 0.9 });
        using var images = digits.Train.ToDevice(context);
        var sampler = new BatchSampler(images.Count, batchSize: 64, seed: 1);
        for (var epoch = 0; epoch < 2; epoch++)
        {
            for (var step = 0; step < sampler.StepsPerEpoch; step++)
            {
                var loss = network.TrainStep(optimizer, images, sampler.GetBatch(epoch, step));
                losses.Add(loss);
            }
        }

        using var trained = Build(context);
        using var itsOptimizer = new AdadeltaOptimizer(trained.Parameters, new() { LearningRate = 0.1, Rho = 0.9 });
        var history = new Trainer(trained, itsOptimizer) { BatchSize = 64, Seed = 1 }.Fit(digits.Train, epochs: 2);
        Assert.That(losses, Is.EqualTo(history.Steps.Select(step => step.Loss)));

        static Network Build(ComputeContext context) =>
            new NetworkBuilder(1, 28, 28).Conv2d(4, kernel: 5).MaxPool2d(2).ReLU().Flatten().Linear(10).Build(context, seed: 1);
    }

    [Test]
    public void The_sample_that_uses_only_the_optimizer_fits_its_curve()
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(TestContext.CurrentContext.TestDirectory, "OptimizerOnly.dll")])
        {
            RedirectStandardOutput = true,
        };
        using var sample = Process.Start(start)!;
        var lines = sample.StandardOutput.ReadToEnd().Split('\n');
        sample.WaitForExit();
        Assert.That(sample.ExitCode, Is.Zero);
        // The mean of sin^2 is 1/2. The rest is what the normal equations of the 200 points give in double precision; the sample
        // goes there step by step, and prints so many digits.
        Numbers(lines[0], @"^loss (\S+) -> (\S+) in 2000 steps$", [0.5, 0.00439358], 1e-4);
        Numbers(
            lines[1], @"^sin\(pi x\) ~ (\S+) \+ (\S+) x \+ (\S+) x\^2 \+ (\S+) x\^3$",
            [0.00152420, 2.69224130, -0.00762177, -2.89554451], 5e-3);

        static void Numbers(string line, string pattern, double[] expected, double tolerance)
        {
            var match = Regex.Match(line, pattern);
            Assert.That(match.Success, line);
            Assert.That(
                match.Groups.Values.Skip(1).Select(group => double.Parse(group.Value, CultureInfo.InvariantCulture)),
                Is.EqualTo(expected).Within(tolerance), line);
        }
    }

    // It needs PyTorch to run; that it is a program at all can be seen without.
    [Test]
    public void The_script_for_PyTorch_is_valid_python()
    {
        var folder = new DirectoryInfo(TestContext.CurrentContext.TestDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "Adadelta.Native.sln")))
        {
            folder = folder.Parent;
        }
        var script = Path.Combine(folder!.FullName, "docs", "torch_state.py");
        var code = "import ast, sys; ast.parse(open(sys.argv[1], encoding='utf-8').read())";
        try
        {
            using var python = Process.Start(new ProcessStartInfo("python3", ["-c", code, script]) { RedirectStandardError = true })!;
            var error = python.StandardError.ReadToEnd();
            python.WaitForExit();
            Assert.That(python.ExitCode, Is.Zero, error);
        }
        catch (Win32Exception)
        {
            Assert.Ignore("python3 is not here");
        }
    }

    private sealed class Progress(Action<TrainingProgress> report) : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value) => report(value);
    }
}
