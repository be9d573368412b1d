using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using static System.FormattableString;

namespace Adadelta.Benchmarks;

/// <summary>
/// <c>startup</c>: from the start of a process to the end of its first training step of the reference network, with images that
/// are in memory, and the most memory that the process has had by then; beside TorchSharp.
/// </summary>
internal static class Startup
{
    private const string Case = "reference-64";

    public static Command Command()
    {
        Option<int> rounds = new("--rounds") { Description = "Rounds", DefaultValueFactory = _ => 9 };
        Option<bool> noTorch = new("--no-torchsharp") { Description = "Leave TorchSharp out" };
        Option<bool> noBuild = new("--no-build") { Description = "Take TorchSharp's program as it is" };
        Command command = new("startup", "From the start of a process to the end of its first training step") { rounds, noTorch, noBuild };
        command.SetAction(result =>
        {
            var torch = !result.GetValue(noTorch);
            if (torch && !result.GetValue(noBuild))
            {
                Programs.Build(torch);
            }
            List<(string Name, string[] Command, List<double> Times, List<double> Megabytes)> sides =
                [(Compare.Ours, [.. Programs.Ours, "once", Case, "2"], [], [])];
            if (torch)
            {
                sides.Add((Compare.TorchSharp, [.. Programs.TorchSharp, "once", Case, "2", "Written"], [], []));
            }
            for (var round = 0; round < result.GetValue(rounds); round++)
            {
                foreach (var side in sides)
                {
                    var (milliseconds, bytes) = Run(side.Command);
                    side.Times.Add(milliseconds);
                    side.Megabytes.Add(bytes / 1e6);
                }
            }
            Console.WriteLine("| | first step done after | peak memory |\n| --- | ---: | ---: |");
            foreach (var side in sides)
            {
                Console.WriteLine(Invariant(
                    $"| {side.Name} | {Statistics.Median(side.Times):0} ms | {Statistics.Median(side.Megabytes):0} MB |"));
            }
        });
        return command;
    }

    private static (double Milliseconds, double Bytes) Run(string[] command)
    {
        var clock = Stopwatch.StartNew();
        using var process = Process.Start(new ProcessStartInfo(command[0], command[1..]) { RedirectStandardOutput = true })!;
        var line = process.StandardOutput.ReadLine();
        var milliseconds = clock.Elapsed.TotalMilliseconds;
        process.WaitForExit();
        return line?.Split(' ') is ["done", _, var bytes]
            ? (milliseconds, double.Parse(bytes, CultureInfo.InvariantCulture))
            : throw new InvalidOperationException($"{string.Join(' ', command)}: '{line}', expected 'done'");
    }
}
