using System.CommandLine;
using System.Runtime.InteropServices;
using Adadelta.Native;
using Adadelta.Training;

namespace Adadelta.Cli;

/// <summary><c>adadelta doctor</c>: what the tool found on this machine, and why it did not find the rest.</summary>
internal static class DoctorCommand
{
    private static readonly string[] s_backends = ["cpu", "cuda"];

    public static Command Create()
    {
        Option<string?> dataDir = CommonOptions.DataDir();
        Command command = new("doctor", "Show the native library, its devices and where MNIST is, with the reason for what is missing")
        {
            dataDir,
        };
        command.SetAction(result => Run(result.GetValue(dataDir)));
        return command;
    }

    private static int Run(string? dataDir)
    {
        if (dataDir is not null)
        {
            DataSource.FindMnistFolder(dataDir);
        }

        bool loaded = NativeLibraryInfo.Path is not null;
        Line("Tool", $"{RunVersions.Tool}, {RuntimeInformation.FrameworkDescription}, {RuntimeInformation.RuntimeIdentifier}");
        Line("Native library", NativeLibraryInfo.Path ?? "cannot be loaded");
        if (loaded)
        {
            Line("Version", $"{NativeLibraryInfo.Version}, ABI {NativeLibraryInfo.AbiVersion}");
        }

        foreach (LoadAttempt attempt in NativeLibraryInfo.Attempts)
        {
            if (attempt.Error is not null)
            {
                Line("Tried", $"{attempt.Path}: {attempt.Error}");
            }
        }

        if (loaded)
        {
            WriteDevices();
        }

        WriteMnist(dataDir);
        if (!loaded)
        {
            throw Failure.MissingLibrary();
        }

        return ExitCode.Ok;
    }

    private static void WriteDevices()
    {
        using (ComputeContext context = ComputeContext.Create())
        {
            Line("Device", $"{context.Device} ({context.DeviceName})");
            Line("Threads", $"{context.ThreadCount} of {Environment.ProcessorCount} processors");
            Line("Instruction set", context.InstructionSetName);
            if (context.Libraries.Length > 0)
            {
                Line("Libraries", context.Libraries);
            }
        }

        foreach (string backend in s_backends)
        {
            string reason = NativeLibraryInfo.BackendReason(backend);
            Line($"Backend {backend}", reason.Length == 0 ? "works" : $"not available: {reason}");
        }
    }

    private static void WriteMnist(string? dataDir)
    {
        try
        {
            Line("MNIST", MnistData.Find(DataSource.FindMnistFolder(dataDir)) is { } mnist
                ? $"found in {mnist.Source}"
                : $"not in {MnistData.CacheFolder}, and neither --data-dir nor $ADADELTA_DATA_DIR names a folder; "
                    + "adadelta train --data mnist downloads it");
        }
        catch (UsageException e) when (dataDir is null)
        {
            Line("MNIST", $"not found: {e.Message}");
        }
        catch (Exception e) when (e is InvalidDataException or IOException or UnauthorizedAccessException)
        {
            Line("MNIST", $"found, but damaged: {e.Message}");
        }
    }

    private static void Line(string name, string value) => Console.WriteLine($"{name,-16} {value}");
}
