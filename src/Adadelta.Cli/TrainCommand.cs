using System.CommandLine;
using System.Text.Json;
using Adadelta.Native;
using Adadelta.Training;
using static System.FormattableString;

namespace Adadelta.Cli;

/// <summary><c>adadelta train</c>: trains a network and writes losses, curve, model and the record of the run.</summary>
internal static class TrainCommand
{
    public static Command Create()
    {
        Option<string?> data = CommonOptions.Data(
            "Images: MNIST (downloaded where it is not found), drawn digits, or a folder of IDX files "
            + "[default: MNIST where it is found on this machine, else digits]");
        Option<string?> dataDir = CommonOptions.DataDir();
        Option<int?> limit = CommonOptions.Count("--limit", "Train on the first N training images only");
        Option<int> epochs = CommonOptions.Integer("--epochs", "Passes over the training images", 10, 1);
        Option<int> batchSize = CommonOptions.Integer("--batch-size", "Images in one step", 64, 1, 65_536);
        Option<double> lr = CommonOptions.Real("--lr", "Learning rate", 0.1);
        Option<double> rho = CommonOptions.Real("--rho", "Decay of Adadelta's running averages", 0.9, 1);
        Option<double> eps = CommonOptions.Real("--eps", "Added inside Adadelta's square roots", 1e-6);
        Option<double> weightDecay = CommonOptions.Real("--weight-decay", "Share of a weight that is added to its gradient", 0);
        Option<LearningRateSchedule?> schedule = new("--schedule")
        {
            Description = "Learning rate from epoch to epoch: constant, step:SIZE[,GAMMA], exponential:GAMMA, "
                + "cosine:EPOCHS[,MINIMUM], warmup:EPOCHS[,START][+SCHEDULE] [default: constant]",
            HelpName = "SCHEDULE",
            CustomParser = result =>
            {
                try
                {
                    return LearningRateSchedule.Parse(result.Tokens[0].Value);
                }
                catch (FormatException e)
                {
                    result.AddError($"--schedule: {e.Message}");
                    return null;
                }
            },
        };
        Option<ulong> seed = CommonOptions.Seed();
        Option<Device> device = CommonOptions.Device();
        Option<int> threads = CommonOptions.Threads();
        Option<string?> network = CommonOptions.Network("Network to train [default: the reference network]");
        Option<string?> output = CommonOptions.Text(
            "--output", $"Folder for the results [default: {CommonOptions.DefaultOutput}]", "DIR");
        Option<bool> plain = new("--plain")
        {
            Description = "Print plain lines instead of the live display, as when the output is redirected",
        };

        Command command = new("train", "Train a network and save losses, loss curve and model; Ctrl+C stops and saves")
        {
            data, dataDir, limit, epochs, batchSize, lr, rho, eps, weightDecay, schedule, seed, device, threads, network, output, plain,
        };
        command.SetAction(result =>
        {
            LearningRateSchedule rates = result.GetValue(schedule) ?? LearningRateSchedule.Constant();
            RunSettings settings = new(
                result.GetValue(epochs), result.GetValue(batchSize), result.GetValue(lr), result.GetValue(rho),
                result.GetValue(eps), result.GetValue(weightDecay), rates.ToString()!, result.GetValue(seed),
                result.GetValue(limit));
            return Run(
                settings, rates, result.GetValue(data), result.GetValue(dataDir), result.GetValue(device), result.GetValue(threads),
                result.GetValue(network), new(result.GetValue(output) ?? CommonOptions.DefaultOutput), result.GetValue(plain));
        });
        return command;
    }

    private static int Run(
        RunSettings settings, LearningRateSchedule rates, string? dataChoice, string? dataDir, Device device, int threads,
        string? networkFile,
        OutputFolder output, bool plain)
    {
        // What can be refused is refused first, the cheapest first: options, network file, folder, library, data.
        DataSource.Check(dataChoice, dataDir);
        NetworkDefinition definition = networkFile is null ? NetworkDefinition.Reference : NetworkDefinition.Load(networkFile);
        output.Prepare();
        using StopSignal stop = new();
        DateTimeOffset started = DateTimeOffset.Now;
        using ComputeContext context = ComputeContext.Create(device, threads);
        DataSource data = DataSource.Open(dataChoice, dataDir, null, settings.Limit, stop.Token);
        definition = definition.For(data.Split.Train.Shape, data.Split.Train.Classes);
        using Network network = definition.Build(context, settings.Seed, settings.BatchSize);
        if (network.OutputCount < data.Split.Train.Classes)
        {
            throw new InvalidDataException(
                $"{definition.Source}: the last layer has {network.OutputCount} outputs, expected at least "
                + $"{data.Split.Train.Classes}, the classes of {data.Split.Name}");
        }

        using AdadeltaOptimizer optimizer = new(network.Parameters, new AdadeltaOptions
        {
            LearningRate = settings.Lr,
            Rho = settings.Rho,
            Eps = settings.Eps,
            WeightDecay = settings.WeightDecay,
        });
        Trainer trainer = new(network, optimizer)
        {
            BatchSize = settings.BatchSize,
            Seed = settings.Seed,
            Schedule = rates,
            Test = data.Split.Test,
        };

        RunDevice runDevice = RunDevice.Of(context);
        Console.WriteLine(data.Describe(dataChoice is not null));
        Console.WriteLine(runDevice);
        long parameters = network.Layers.Sum(layer => layer.ParameterElements);
        Console.WriteLine($"Network: {definition.Source}, {network.Layers.Count} layers, {parameters} parameters");

        LossHistory history;
        try
        {
            history = plain || !LiveDisplay.IsPossible
                ? trainer.Fit(data.Split.Train, settings.Epochs, new PlainLines(Console.Out), stop.Token)
                : LiveDisplay.Run(progress => trainer.Fit(data.Split.Train, settings.Epochs, progress, stop.Token));
        }
        catch (TrainingDivergedException e)
        {
            // The losses show how it came about; the weights are of no use to anyone.
            WriteHistory(e.History, output);
            throw;
        }

        if (history.Steps.Count == 0)
        {
            Console.WriteLine("Stopped before the first step; nothing to save");
            return ExitCode.Stopped;
        }

        Console.WriteLine(history.Cancelled
            ? $"Stopped in epoch {history.Steps[^1].Epoch} after step {history.Steps[^1].Step}"
            : "Training finished");
        // What cannot be had again is written first, so that a full disk or a plot that cannot be drawn costs the least.
        NetworkFile.Save(network, output.Model);
        using (JsonDocument json = JsonDocument.Parse(definition.ToJson()))
        {
            new RunFile(
                RunVersions.Current, started, settings, runDevice, RunData.Of(data), json.RootElement, RunResults.Of(history))
                .Write(output.Run);
        }

        WriteHistory(history, output);

        if (history.Epochs.Count > 0 && history.Epochs[^1] is { TestAccuracy: { } accuracy, TestLoss: { } loss })
        {
            Console.WriteLine(Invariant($"Accuracy: {100 * accuracy:0.00} %"));
            Console.WriteLine(Invariant($"Test loss: {loss:0.0000}"));
        }

        Console.WriteLine($"Written to {output.Path}: steps.csv, epochs.csv, loss.png, loss.svg, run.json, model.safetensors");
        return history.Cancelled ? ExitCode.Stopped : ExitCode.Ok;
    }

    private static void WriteHistory(LossHistory history, OutputFolder output)
    {
        history.WriteStepsCsv(output.Steps);
        history.WriteEpochsCsv(output.Epochs);
        if (history.Steps.Count > 0)
        {
            LossPlot.Write(history, output.PlotPng, output.PlotSvg);
        }
    }
}
