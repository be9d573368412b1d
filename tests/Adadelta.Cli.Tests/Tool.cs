using System.Diagnostics;
using System.Globalization;
using Adadelta.Training;

namespace Adadelta.Cli.Tests;

/// <summary>What a run of the tool left behind.</summary>
internal sealed record ToolResult(int ExitCode, string Output, string Error)
{
    public string[] Lines { get; } = Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The message of the one line on stderr.</summary>
    public string ErrorLine
    {
        get
        {
            Assert.That(Error, Does.StartWith("error: ").And.EndsWith("\n"));
            Assert.That(Error.TrimEnd('\n'), Does.Not.Contain('\n'), "an error is one line");
            return Error["error: ".Length..].TrimEnd('\n');
        }
    }
}

/// <summary>Runs the built tool as a process of its own, away from this machine's data and caches.</summary>
internal static class Tool
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(2);

    private static string Dll => Path.Combine(TestContext.CurrentContext.TestDirectory, "adadelta.dll");

    public static ToolResult Run(params string[] arguments) => Run(new Dictionary<string, string?>(), arguments);

    public static ToolResult Run(IReadOnlyDictionary<string, string?> environment, params string[] arguments)
    {
        using RunningTool tool = new(environment, [Dll, .. arguments]);
        return tool.WaitForExit();
    }

    /// <summary>
    /// Ends the test where this process ignores a signal, as in a shell's background job (INT) or under nohup (HUP): the tool
    /// inherits that.
    /// </summary>
    public static void SkipWhereIgnored(string signal)
    {
        int number = signal switch { "HUP" => 1, "INT" => 2, "TERM" => 15, _ => throw new ArgumentOutOfRangeException(nameof(signal)) };
        // The mask that Linux keeps; elsewhere nothing is known and nothing is assumed.
        if (OperatingSystem.IsLinux()
            && (ulong.Parse(
                File.ReadLines("/proc/self/status").First(line => line.StartsWith("SigIgn:", StringComparison.Ordinal)).Split('\t')[1],
                NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture) >> (number - 1) & 1) != 0)
        {
            Assert.Ignore($"SIG{signal} is ignored in this process, and the tool inherits that");
        }
    }

    /// <summary>Runs a copy of the tool.</summary>
    public static ToolResult RunDll(string dll, params string[] arguments)
    {
        using RunningTool tool = new(new Dictionary<string, string?>(), [dll, .. arguments]);
        return tool.WaitForExit();
    }

    /// <summary>Runs the tool in a folder.</summary>
    public static ToolResult RunIn(string folder, params string[] arguments)
    {
        using RunningTool tool = new(new Dictionary<string, string?>(), [Dll, .. arguments], folder: folder);
        return tool.WaitForExit();
    }

    /// <summary>Runs the tool from a line of the shell, in which "$@" stands for it.</summary>
    public static ToolResult RunInShell(string line, string[] arguments, params (string Name, string Value)[] environment)
    {
        using RunningTool tool = StartInShell(line, arguments, environment);
        return tool.WaitForExit();
    }

    public static RunningTool StartInShell(string line, string[] arguments, params (string Name, string Value)[] environment) => new(
        environment.ToDictionary(variable => variable.Name, variable => (string?)variable.Value),
        ["-c", line, "sh", "dotnet", Dll, .. arguments], "/bin/sh");

    public static RunningTool Start(params string[] arguments) => new(new Dictionary<string, string?>(), [Dll, .. arguments]);

    /// <summary>Runs the tool with a terminal of 80 columns as its output.</summary>
    public static ToolResult RunOnTerminal(params string[] arguments)
    {
        string command = string.Join(' ', arguments.Prepend(Dll).Prepend("dotnet").Select(argument => $"'{argument}'"));
        Dictionary<string, string?> environment = new() { ["TERM"] = "xterm" };
        using RunningTool tool = new(environment, ["-qec", $"stty cols 80 rows 24; {command}", "/dev/null"], "/usr/bin/script");
        return tool.WaitForExit();
    }

    internal sealed class RunningTool : IDisposable
    {
        private readonly Process _process;
        private readonly Task<string> _error;
        private readonly List<string> _read = [];

        public RunningTool(IReadOnlyDictionary<string, string?> environment, string[] arguments, string program = "dotnet", string? folder = null)
        {
            ProcessStartInfo start = new(program)
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                RedirectStandardInput = true,
                WorkingDirectory = folder ?? TestFolder.Root,
            };
            foreach (string argument in arguments)
            {
                start.ArgumentList.Add(argument);
            }

            start.Environment[MnistData.FolderVariable] = null;
            start.Environment["XDG_CACHE_HOME"] = Path.Combine(TestFolder.Root, "cache");
            foreach ((string name, string? value) in environment)
            {
                start.Environment[name] = value;
            }

            _process = Process.Start(start)!;
            _error = _process.StandardError.ReadToEndAsync();
        }

        public bool HasExited => _process.HasExited;

        public void WaitForLine(string beginning)
        {
            while (_process.StandardOutput.ReadLine() is { } line)
            {
                _read.Add(line);
                if (line.StartsWith(beginning, StringComparison.Ordinal))
                {
                    return;
                }
            }

            Assert.Fail($"the tool ended before a line '{beginning}…'; stderr: {_error.Result}");
        }

        /// <param name="signal">As kill(1) names it, e.g. INT.</param>
        public void Signal(string signal) => Assert.That(TrySignal(signal), Is.True, $"kill -{signal}");

        /// <returns>Whether the process was still there.</returns>
        public bool TrySignal(string signal)
        {
            using Process kill = Process.Start("kill", [$"-{signal}", _process.Id.ToString(CultureInfo.InvariantCulture)]);
            kill.WaitForExit();
            return kill.ExitCode == 0;
        }

        /// <summary>At once, without a process of its own in between.</summary>
        public void Kill() => _process.Kill();

        public ToolResult WaitForExit()
        {
            Task<string> output = _process.StandardOutput.ReadToEndAsync();
            if (!_process.WaitForExit(s_patience))
            {
                _process.Kill();
                Assert.Fail($"the tool did not end within {s_patience}");
            }

            return new(_process.ExitCode, string.Concat(_read.Select(line => line + "\n")) + output.Result, _error.Result);
        }

        public void Dispose()
        {
            if (!_process.HasExited)
            {
                _process.Kill();
            }

            _process.Dispose();
        }
    }
}
