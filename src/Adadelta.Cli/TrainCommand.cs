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
            "--output",
            $"Folder for the results; with --resume that of the checkpoint [default: {CommonOptions.DefaultOutput}]", "DIR");
        Option<int?> checkpointSteps = CommonOptions.Count(
            "--checkpoint-steps", "Steps between two checkpoints [default: one after each epoch]");
        Option<string?> resume = CommonOptions.OptionalText(
            "--resume",
            "Go on from a checkpoint, by default that of the output folder, with its run's settings; --epochs may be larger",
            "DIR|FILE");
        Option<bool> plain = new("--plain")
        {
            Description = "Print plain lines instead of the live display, as when the output is redirected",
        };

        Command command = new("train", "Train a network and save losses, loss curve and model; Ctrl+C stops and saves")
        {
            data, dataDir, limit, epochs, batchSize, lr, rho, eps, weightDecay, schedule, seed, device, threads, network, output,
            checkpointSteps, resume, plain,
        };
        command.SetAction(result =>
        {
            string? folder = result.GetValue(output);
            RunCheckpoint? checkpoint = result.GetResult(resume) is null
                ? null
                : RunCheckpoint.Find(result.GetValue(resume) ?? folder ?? CommonOptions.DefaultOutput);
            T Value<T>(Option<T> option, Func<RunSettings, T> kept) => checkpoint is null
                ? result.GetValue(option)!
                : checkpoint.Keep(result, option, kept(checkpoint.Plan.Settings));

            LearningRateSchedule rates = Value(schedule, settings => LearningRateSchedule.Parse(settings.Schedule))
                ?? LearningRateSchedule.Constant();
            // More epochs than were planned are no other run: its first ones are the same.
            int wanted = checkpoint is not null && result.GetResult(epochs) is not { Implicit: false }
                ? checkpoint.Plan.Settings.Epochs
                : result.GetValue(epochs);
            RunSettings settings = new(
                wanted, Value(batchSize, known => known.BatchSize), Value(lr, known => known.Lr), Value(rho, known => known.Rho),
                Value(eps, known => known.Eps), Value(weightDecay, known => known.WeightDecay), rates.ToString()!,
                Value(seed, known => known.Seed), Value(limit, known => known.Limit));
            return Run(
                settings, rates, checkpoint, result.GetValue(data), result.GetValue(dataDir), result.GetValue(device),
                result.GetValue(threads), result.GetValue(network),
                new(folder ?? checkpoint?.Folder ?? CommonOptions.DefaultOutput), result.GetValue(checkpointSteps) ?? 0,
                result.GetValue(plain));
        });
        return command;
    }

    private static int Run(
        RunSettings settings, LearningRateSchedule rates, RunCheckpoint? checkpoint, string? dataChoice, string? dataDir,
        Device device, int threads, string? networkFile, OutputFolder output, int checkpointSteps, bool plain)
    {
        using StopSignal stop = new();
        LossHistory history;
        try
        {
            history = Train(
                settings, rates, checkpoint, dataChoice, dataDir, device, threads, networkFile, output, checkpointSteps, plain,
                stop.Token);
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

        WriteHistory(history, output);

        if (history.Epochs.Count > 0 && history.Epochs[^1] is { TestAccuracy: { } accuracy, TestLoss: { } loss })
        {
            Console.WriteLine(Invariant($"Accuracy: {100 * accuracy:0.00} %"));
            Console.WriteLine(Invariant($"Test loss: {loss:0.0000}"));
        }

        Console.WriteLine($"Written to {output.Path}: steps.csv, epochs.csv, loss.png, loss.svg, run.json, checkpoint.safetensors, model.safetensors");
        return history.Cancelled ? ExitCode.Stopped : ExitCode.Ok;
    }

    /// <summary>Everything that needs the images and the network, which are out of reach when this returns.</summary>
    private static LossHistory Train(
        RunSettings settings, LearningRateSchedule rates, RunCheckpoint? checkpoint, string? dataChoice, string? dataDir,
        Device device, int threads, string? networkFile, OutputFolder output, int checkpointSteps, bool plain,
        CancellationToken stop)
    {
        // What can be refused is refused first, the cheapest first: options, network file, folder, library, data.
        RunData? known = checkpoint?.Plan.Data;
        DataSource.Check(dataChoice ?? known?.Choice, dataDir);
        NetworkDefinition definition = DefineNetwork(checkpoint, networkFile);
        output.Prepare();
        DateTimeOffset started = DateTimeOffset.Now;
        using ComputeContext context = ComputeContext.Create(device, threads);
        DataSource data = DataSource.Open(
            dataChoice ?? known?.Choice, dataDir, known is { Choice: DataSource.Mnist } ? [known.Source] : null, settings.Limit,
            stop);
        RunData runData = RunData.Of(data);
        checkpoint?.Check(runData);
        definition = definition.For(data.Split.Train.Shape, data.Split.Train.Classes);
        using JsonDocument networkJson = JsonDocument.Parse(definition.ToJson());
        if (checkpoint is not null && !JsonElement.DeepEquals(networkJson.RootElement, checkpoint.Plan.Network))
        {
            throw new UsageException($"--network: '{networkFile}', expected the network of the run of '{checkpoint.Path}'");
        }

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
            CheckpointPath = output.Checkpoint,
            CheckpointSteps = checkpointSteps,
            CheckpointMetadata = new RunPlan(settings, runData, networkJson.RootElement).ToMetadata(),
        };
        LossHistory history = checkpoint is null ? new() : trainer.Resume(checkpoint.Path);
        if (history.Steps.Count > 0 && history.Steps[^1].Epoch > settings.Epochs)
        {
            throw new UsageException(
                $"--epochs: {settings.Epochs}, expected at least {history.Steps[^1].Epoch}, the epoch that '{checkpoint!.Path}' has reached");
        }

        RunDevice runDevice = RunDevice.Of(context);
        Console.WriteLine(data.Describe(dataChoice is not null || checkpoint is not null));
        Console.WriteLine(runDevice);
        long parameters = network.Layers.Sum(layer => layer.ParameterElements);
        Console.WriteLine($"Network: {definition.Source}, {network.Layers.Count} layers, {parameters} parameters");

        if (checkpoint is not null)
        {
            Console.WriteLine($"Resumed: {checkpoint.Path}, epoch {history.Steps[^1].Epoch} after step {history.Steps[^1].Step}");
        }

        if (plain || !LiveDisplay.IsPossible)
        {
            RunEpochs(new PlainLines(Console.Out));
        }
        else
        {
            LiveDisplay.Run(RunEpochs);
        }

        if (history.Steps.Count == 0)
        {
            return history;
        }

        Console.WriteLine(history.Cancelled
            ? $"Stopped in epoch {history.Steps[^1].Epoch} after step {history.Steps[^1].Step}"
            : "Training finished");
        // What cannot be had again is written first, so that a full disk or a plot that cannot be drawn costs the least.
        NetworkFile.Save(network, output.Model);
        new RunFile(
            RunVersions.Current, started, settings, runDevice, runData, networkJson.RootElement, RunResults.Of(history))
            .Write(output.Run);
        return history;

        void RunEpochs(IProgress<TrainingProgress> progress)
        {
            foreach (EpochResult _ in trainer.EnumerateEpochs(data.Split.Train, settings.Epochs, history, progress, stop))
            {
            }
        }
    }

    private static NetworkDefinition DefineNetwork(RunCheckpoint? checkpoint, string? file) => (file, checkpoint) switch
    {
        ({ } path, _) => NetworkDefinition.Load(path),
        (null, { } run) => NetworkDefinition.Parse(run.Plan.Network.GetRawText(), run.Path),
        _ => NetworkDefinition.Reference,
    };

    private static void WriteHistory(LossHistory history, OutputFolder output)
    {
        // The plot's memory is not the collector's: nothing but this makes it give the images' back before, and the plot would
        // come on top of them.
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        history.WriteStepsCsv(output.Steps);
        history.WriteEpochsCsv(output.Epochs);
        if (history.Steps.Count > 0)
        {
            LossPlot.Write(history, output.PlotPng, output.PlotSvg);
        }
    }
}
