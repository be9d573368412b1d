using System.Globalization;
using Adadelta.Training;
using Spectre.Console;
using Spectre.Console.Rendering;
using static System.FormattableString;

namespace Adadelta.Cli;

/// <summary>Progress on a terminal: one line that follows the steps, and above it a line for each epoch that has ended.</summary>
internal sealed class LiveDisplay : IProgress<TrainingProgress>
{
    private readonly Lock _lock = new();
    private readonly IAnsiConsole _console;
    private readonly ProgressTask _task;
    private TrainingProgress _last;

    private LiveDisplay(IAnsiConsole console, ProgressTask task) => (_console, _task) = (console, task);

    /// <summary>Whether the output is a terminal that can move its cursor.</summary>
    public static bool IsPossible => !Console.IsOutputRedirected && AnsiConsole.Profile.Capabilities.Ansi;

    /// <summary>Shows the progress while the work runs.</summary>
    public static void Run(Action<IProgress<TrainingProgress>> work)
    {
        IAnsiConsole console = AnsiConsole.Console;
        Numbers numbers = new();
        console.Progress()
            .AutoClear(true)
            .Columns(new ProgressBarColumn { Width = 10 }, numbers)
            .Start(context =>
            {
                ProgressTask task = context.AddTask("training", maxValue: 1);
                LiveDisplay display = new(console, task);
                numbers.Display = display;
                work(display);
            });
    }

    public void Report(TrainingProgress value)
    {
        lock (_lock)
        {
            _last = value;
        }

        _task.Value = ((value.Epoch - 1) + ((double)value.Step / value.Steps)) / value.Epochs;
        if (value.Finished is { } epoch)
        {
            // Above the live line, where it stays.
            _console.WriteLine(EpochLine(epoch, value.Epochs));
        }
    }

    // Fits 80 columns, as the live line does, up to 99 epochs.
    private static string EpochLine(EpochResult epoch, int epochs)
    {
        string test = epoch is { TestAccuracy: { } accuracy, TestLoss: { } loss }
            ? Invariant($"  test {loss:0.0000}  accuracy {100 * accuracy:0.00} %")
            : "";
        int digits = epochs.ToString(CultureInfo.InvariantCulture).Length;
        string number = epoch.Epoch.ToString(CultureInfo.InvariantCulture).PadLeft(digits);
        return string.Create(
            CultureInfo.InvariantCulture,
            $"Epoch {number}/{epochs}  loss {epoch.AverageLoss:0.0000}{test}  {epoch.Seconds:0} s  "
            + $"{epoch.SamplesPerSecond:0} samples/s");
    }

    private sealed class Numbers : ProgressColumn
    {
        public LiveDisplay? Display { get; set; }

        protected override bool NoWrap => true;

        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime)
        {
            if (Display is not { } display)
            {
                return Text.Empty;
            }

            TrainingProgress last;
            lock (display._lock)
            {
                last = display._last;
            }

            if (last.Steps == 0)
            {
                return new Text("starting");
            }

            string format = last.Remaining?.TotalHours >= 1 ? @"h\:mm\:ss" : @"m\:ss";
            string left = last.Remaining is { } time ? $"  {time.ToString(format, CultureInfo.InvariantCulture)} left" : "";
            return new Text(string.Create(
                CultureInfo.InvariantCulture,
                $"epoch {last.Epoch}/{last.Epochs}  step {last.Step}/{last.Steps}  loss {last.Loss:0.0000}  "
                + $"{last.SamplesPerSecond:0} samples/s{left}"));
        }
    }
}
