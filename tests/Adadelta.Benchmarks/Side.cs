using System.Diagnostics;
using System.Globalization;
using static System.FormattableString;

namespace Adadelta.Benchmarks;

/// <summary>A worker process of one side, seen from the program that compares.</summary>
internal sealed class Side : IDisposable
{
    private readonly Process _process;

    private Side(string name, Process process) => (Name, _process) = (name, process);

    public string Name { get; }

    /// <summary>What the first steps came to.</summary>
    public double[] Checks { get; private set; } = [];

    /// <summary>Milliseconds a step, by round.</summary>
    public List<double> Times { get; } = [];

    /// <summary>Starts a worker and waits until it has taken its first steps.</summary>
    /// <param name="name">The side.</param>
    /// <param name="command">Program and arguments.</param>
    /// <param name="environment">Variables set for it.</param>
    /// <exception cref="InvalidOperationException">It ended or did not say that it was ready.</exception>
    public static Side Start(string name, string[] command, params (string Name, string Value)[] environment)
    {
        ProcessStartInfo start = new(command[0], command[1..]) { RedirectStandardInput = true, RedirectStandardOutput = true };
        foreach (var (variable, value) in environment)
        {
            start.Environment[variable] = value;
        }
        Side side = new(name, Process.Start(start)!);
        var words = side.Read().Split(' ');
        side.Checks = words[0] == "ready"
            ? [.. words[1..].Select(word => double.Parse(word, CultureInfo.InvariantCulture))]
            : throw new InvalidOperationException($"{name}: '{string.Join(' ', words)}', expected 'ready'");
        return side;
    }

    /// <summary>Runs steps for about so many milliseconds and notes what one took.</summary>
    public void Measure(double milliseconds)
    {
        _process.StandardInput.WriteLine(Invariant($"{milliseconds}"));
        Times.Add(double.Parse(Read(), CultureInfo.InvariantCulture));
    }

    public void Dispose()
    {
        _process.StandardInput.Close();
        if (!_process.WaitForExit(TimeSpan.FromSeconds(10)))
        {
            _process.Kill();
        }
        _process.Dispose();
    }

    private string Read() =>
        _process.StandardOutput.ReadLine()
        ?? throw new InvalidOperationException($"{Name}: {string.Join(' ', _process.StartInfo.ArgumentList)}: it ended early");
}
