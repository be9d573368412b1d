using System.Diagnostics;
using System.Globalization;
using static System.FormattableString;

namespace Adadelta.Benchmarks;

/// <summary>One side of a measurement.</summary>
internal interface IWork : IDisposable
{
    /// <summary>One step, which leaves its result where <see cref="Check"/> finds it.</summary>
    void Step();

    /// <summary>A number that is the same on every side after the same steps, but for rounding: the loss, for one.</summary>
    double Check();
}

/// <summary>
/// A process that holds one side. It takes its first steps, writes "ready" and what <see cref="IWork.Check"/> said after each, and
/// for every line with a number of milliseconds that it reads runs for about that long and writes milliseconds a step. While it
/// waits it uses no CPU, so that sides can take turns at short intervals.
/// </summary>
internal static class Worker
{
    public const int CheckedSteps = 4;

    public static void Run(IWork work)
    {
        var checks = new double[CheckedSteps];
        for (var i = 0; i < checks.Length; i++)
        {
            work.Step();
            checks[i] = work.Check();
        }
        Console.WriteLine("ready " + string.Join(' ', checks.Select(check => check.ToString("R", CultureInfo.InvariantCulture))));
        while (Console.ReadLine() is { Length: > 0 } line)
        {
            var milliseconds = double.Parse(line, CultureInfo.InvariantCulture);
            _ = Measure(work, milliseconds / 4);
            Console.WriteLine(Invariant($"{Measure(work, milliseconds):R}"));
        }
    }

    /// <summary>Takes one step and writes "done", what came of it and the most memory that the process has had, in bytes.</summary>
    public static void RunOnce(IWork work)
    {
        work.Step();
        using var process = Process.GetCurrentProcess();
        Console.WriteLine(Invariant($"done {work.Check():R} {process.PeakWorkingSet64}"));
    }

    private static double Measure(IWork work, double milliseconds)
    {
        var clock = Stopwatch.StartNew();
        var steps = 0;
        do
        {
            work.Step();
            steps++;
        }
        while (clock.Elapsed.TotalMilliseconds < milliseconds);
        return clock.Elapsed.TotalMilliseconds / steps;
    }
}
