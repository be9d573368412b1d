using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Adadelta.Benchmarks;

/// <summary>The programs whose processes are measured, each as a command without its arguments, and where results go.</summary>
internal static class Programs
{
    private static string Repository { get; } = FindRepository();

    /// <summary>This program.</summary>
    public static string[] Ours =>
        Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet"
            ? [Environment.ProcessPath!, typeof(Programs).Assembly.Location]
            : [Environment.ProcessPath!];

    /// <summary>The same in TorchSharp.</summary>
    public static string[] TorchSharp => ["dotnet", Path.Combine(
        TorchSharpProject, "bin", "Release", "net10.0", RuntimeInformation.RuntimeIdentifier, "Adadelta.Benchmarks.TorchSharp.dll")];

    /// <summary>The sides that are written in C++; there where CMake built it.</summary>
    public static string Native => Path.Combine(NativeBuild, "native", "bench", "bench_worker");

    /// <summary>Folder of the results, unless another is asked for.</summary>
    public static string Results => Path.Combine(Repository, "artifacts", "benchmarks");

    private static string TorchSharpProject => Path.Combine(Repository, "tests", "Adadelta.Benchmarks", "TorchSharp");

    private static string NativeBuild => Path.Combine(Repository, "artifacts", "native", "release");

    /// <summary>Builds the others.</summary>
    /// <param name="torch">TorchSharp's too.</param>
    public static void Build(bool torch)
    {
        if (torch)
        {
            Run("dotnet", "build", "--configuration", "Release", "--verbosity", "quiet", TorchSharpProject);
        }
        Run("cmake", "--build", NativeBuild, "--target", "bench_worker");

        static void Run(string program, params string[] arguments)
        {
            using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
            var text = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            if (process.ExitCode != 0)
            {
                throw new InvalidOperationException($"{program} {string.Join(' ', arguments)} failed:\n{text}");
            }
        }
    }

    private static string FindRepository([CallerFilePath] string here = "")
    {
        var folder = new FileInfo(here).Directory;
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "Adadelta.Native.sln")))
        {
            folder = folder.Parent;
        }
        return folder?.FullName ?? throw new DirectoryNotFoundException($"{here}: expected inside a checkout of the repository");
    }
}
