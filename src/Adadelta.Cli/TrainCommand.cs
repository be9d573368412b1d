using System.CommandLine;
using System.Diagnostics;
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
        Option<bool> transpose = CommonOptions.Transpose();
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
                    result.AddError($"--schedule: {OptionNames.TranslateSchedule(e.Message)}");
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
            "Folder for the results of this run alone; with --resume that of the checkpoint "
            + $"[default: {OutputFolder.Default}, or the first of {OutputFolder.Default}-2, -3 … that holds no run]", "DIR");
        Option<bool> overwrite = new("--overwrite")
        {
            Description = "Write into the output folder although it holds an earlier run, whose files are removed before the first step",
        };
        Option<int?> checkpointSteps = CommonOptions.Count(
            "--checkpoint-steps", "Steps between two checkpoints [default: one after each epoch]");
        Option<string?> resume = CommonOptions.OptionalText(
            "--resume",
            "Go on from a checkpoint, by default that of --output or of the latest run, with its run's settings; --epochs may be larger",
            "DIR|FILE");
        Option<bool> plain = new("--plain")
        {
            Description = "Print plain lines instead of the live display, as when the output is redirected",
        };

        Command command = new("train", "Train a network and save losses, loss curve and model; Ctrl+C stops and saves")
        {
            data, dataDir, transpose, limit, epochs, batchSize, lr, rho, eps, weightDecay, schedule, seed, device, threads, network, output,
            overwrite, checkpointSteps, resume, plain,
        };
        command.SetAction(result =>
        {
            string? folder = result.GetValue(output);
            RunCheckpoint? checkpoint = result.GetResult(resume) is null
                ? null
                : RunCheckpoint.Find(result.GetValue(resume) ?? folder);
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
            bool transposed = checkpoint?.Keep(result, transpose, checkpoint.Plan.Data.Transpose) ?? result.GetValue(transpose);
            return Run(
                settings, rates, checkpoint, result.GetValue(data), result.GetValue(dataDir), transposed, result.GetValue(device),
                result.GetValue(threads), result.GetValue(network), folder ?? checkpoint?.Folder, result.GetValue(overwrite),
                result.GetValue(checkpointSteps) ?? 0, result.GetValue(plain));
        });
        return command;
    }

    private static int Run(
        RunSettings settings, LearningRateSchedule rates, RunCheckpoint? checkpoint, string? dataChoice, string? dataDir,
        bool transpose, Device device, int threads, string? networkFile, string? folder, bool overwrite, int checkpointSteps, bool plain)
    {
        // What can be refused is refused first, the cheapest first: options, files, folders; then library, data.
        DataSource.Check(dataChoice ?? checkpoint?.Plan.Data.Choice, dataDir);
        NetworkDefinition definition = DefineNetwork(checkpoint, networkFile);
        using OutputLock held = OutputLock.Take(folder, checkpoint, overwrite);
        OutputFolder output = held.Folder;
        using StopSignal stop = new(held.RemoveTemporary);
        LossHistory history;
        try
        {
            history = Train(
                settings, rates, checkpoint, dataChoice, dataDir, transpose, device, threads, definition, networkFile, held,
                checkpointSteps, plain, stop.Token);
        }
        catch (TrainingDivergedException e)
        {
            // The losses show how it came about; the weights are of no use to anyone.
            WriteHistory(e.History, output);
            throw;
        }
        catch (CheckpointException e)
        {
            IfPossible(() => WriteHistory(e.History, output));
            throw;
        }

        if (history.Steps.Count == 0)
        {
            Console.WriteLine("Stopped before the first step; nothing to save");
            return ExitCode.Stopped;
        }

        bool plotted = WriteHistory(history, output);

        if (history.Epochs.Count > 0 && history.Epochs[^1] is { TestAccuracy: { } accuracy, TestLoss: { } loss })
        {
            // Stopped in the middle of an epoch, the weights are later ones.
            string when = history.Steps[^1].Epoch > history.Epochs[^1].Epoch ? $" after epoch {history.Epochs[^1].Epoch}" : "";
            Console.WriteLine(Invariant($"Accuracy{when}: {100 * accuracy:0.00} %"));
            Console.WriteLine(Invariant($"Test loss{when}: {loss:0.0000}"));
        }

        IEnumerable<string> written = output.Files.Where(file => plotted || (file != output.PlotPng && file != output.PlotSvg));
        Console.WriteLine($"Written to {output.Path}: {string.Join(", ", written.Select(Path.GetFileName))}");
        return history.Cancelled ? ExitCode.Stopped : ExitCode.Ok;
    }

    /// <summary>Everything that needs the images and the network, which are out of reach when this returns.</summary>
    private static LossHistory Train(
        RunSettings settings, LearningRateSchedule rates, RunCheckpoint? checkpoint, string? dataChoice, string? dataDir,
        bool transpose, Device device, int threads, NetworkDefinition definition, string? networkFile, OutputLock held, int checkpointSteps,
        bool plain, CancellationToken stop)
    {
        OutputFolder output = held.Folder;
        RunData? known = checkpoint?.Plan.Data;
        DateTimeOffset started = DateTimeOffset.Now;
        using ComputeContext context = CommonOptions.OpenContext(device, threads);
        DataSource data = DataSource.Open(
            dataChoice ?? known?.Choice, dataDir, known is { Choice: DataSource.Mnist } ? [known.Source] : null, settings.Limit,
            transpose, stop);
        RunData runData = RunData.Of(data, transpose);
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

        if (network.Parameters.Count == 0)
        {
            throw new InvalidDataException($"{definition.Source}: no layer has weights, expected at least one Conv2d or Linear");
        }

        using AdadeltaOptimizer optimizer = new(network.Parameters, new AdadeltaOptions
        {
            LearningRate = settings.Lr,
            Rho = settings.Rho,
            Eps = settings.Eps,
            WeightDecay = settings.WeightDecay,
        });
        RunPlan plan = new(settings, runData, networkJson.RootElement);
        Trainer trainer = new(network, optimizer)
        {
            BatchSize = settings.BatchSize,
            Seed = settings.Seed,
            Schedule = rates,
            Test = data.Split.Test,
            CheckpointPath = output.Checkpoint,
            CheckpointSteps = checkpointSteps,
            CheckpointMetadata = plan.ToMetadata(),
        };
        LossHistory history = checkpoint is null ? new() : trainer.Resume(checkpoint.Path);
        if (history.Steps.Count > 0 && history.Steps[^1].Epoch > settings.Epochs)
        {
            throw new UsageException(
                $"--epochs: {settings.Epochs}, expected at least {history.Steps[^1].Epoch}, the epoch that '{checkpoint!.Path}' has reached");
        }

        RunDevice runDevice = RunDevice.Of(context);
        if (held.Remark is { } remark)
        {
            Console.WriteLine(remark);
        }

        data.AdviseTranspose();
        Console.WriteLine(data.Describe(dataChoice is not null || checkpoint is not null));
        Console.WriteLine(runDevice);
        long parameters = network.Layers.Sum(layer => layer.ParameterElements);
        Console.WriteLine($"Network: {definition.Source}, {network.Layers.Count} layers, {parameters} parameters");

        if (checkpoint is not null)
        {
            Console.WriteLine($"Resumed: {checkpoint.Path}, epoch {history.Steps[^1].Epoch} after step {history.Steps[^1].Step}");
        }

        if (!OutputLock.IsFolderOf(checkpoint, output))
        {
            held.RemoveRun();
        }

        Stopwatch epochTime = Stopwatch.StartNew();
        try
        {
            if (plain || !LiveDisplay.IsPossible)
            {
                RunEpochs(new PlainLines(Console.Out));
            }
            else
            {
                LiveDisplay.Run(RunEpochs);
            }
        }
        catch (TrainingDivergedException e)
        {
            WriteRecord(e.Message);
            throw;
        }
        catch (CheckpointException e)
        {
            IfPossible(() => WriteRecord(e.Message));
            throw;
        }

        if (history.Steps.Count == 0)
        {
            return history;
        }

        Console.WriteLine(history.Cancelled
            ? $"Stopped in epoch {history.Steps[^1].Epoch} after step {history.Steps[^1].Step}"
            : "Training finished");
        // What cannot be had again is written first, so that a full disk or a plot that cannot be drawn costs the least.
        NetworkFile.Save(network, output.Model, plan.ToMetadata());
        WriteRecord(null);
        return history;

        void RunEpochs(IProgress<TrainingProgress> progress)
        {
            foreach (EpochResult _ in trainer.EnumerateEpochs(data.Split.Train, settings.Epochs, history, progress, stop))
            {
                epochTime.Restart();
            }
        }

        void WriteRecord(string? error)
        {
            int last = history.Steps.Count > 0 ? history.Steps[^1].Epoch : 0;
            bool whole = history.Epochs.Count > 0 && history.Epochs[^1].Epoch == last;
            RunResults results = RunResults.Of(history, whole ? 0 : epochTime.Elapsed.TotalSeconds, error);
            new RunFile(RunVersions.Current, started, settings, runDevice, runData, networkJson.RootElement, results).Write(output.Run);
        }
    }

    private static NetworkDefinition DefineNetwork(RunCheckpoint? checkpoint, string? file) => (file, checkpoint) switch
    {
        ({ } path, _) => SavedModel.LoadNetwork(path),
        (null, { } run) => NetworkDefinition.Parse(run.Plan.Network.GetRawText(), run.Path),
        _ => NetworkDefinition.Reference,
    };

    // Where the disk is full, the first failure is the one to report.
    private static void IfPossible(Action write)
    {
        try
        {
            write();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
        }
    }

    /// <returns>Whether the curve was drawn.</returns>
    private static bool WriteHistory(LossHistory history, OutputFolder output)
    {
        // The plot's memory is not the collector's: nothing but this makes it give the images' back before, and the plot would
        // come on top of them.
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        history.WriteStepsCsv(output.Steps);
        history.WriteEpochsCsv(output.Epochs);
        if (history.Steps.Count == 0)
        {
            return false;
        }

        try
        {
            LossPlot.Write(history, output.PlotPng, output.PlotSvg);
            return true;
        }
        catch (Exception e) when (Failure.Cause(e) is DllNotFoundException or BadImageFormatException or EntryPointNotFoundException)
        {
            Failure.Warn($"loss.png and loss.svg are not drawn: {Failure.Missing(Failure.Cause(e))}");
            return false;
        }
    }
}
