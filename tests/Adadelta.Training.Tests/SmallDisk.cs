using System.Diagnostics;
using NUnit.Framework;

namespace Adadelta.Training.Tests;

/// <summary>A file system of a test's own that is soon full. A test of a user who may not mount one is skipped with the reason.</summary>
internal sealed class SmallDisk : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public SmallDisk(int kilobytes)
    {
        if (!OperatingSystem.IsLinux() || !Environment.IsPrivilegedProcess)
        {
            _folder.Dispose();
            Assert.Ignore("only root may mount a file system, and only Linux has tmpfs");
        }
        if (Run("mount", "-t", "tmpfs", "-o", $"size={kilobytes}k", "tmpfs", _folder.FullName) is { } error)
        {
            _folder.Dispose();
            Assert.Ignore($"no file system could be mounted: {error}");
        }
    }

    public string this[params ReadOnlySpan<string> parts] => _folder[parts];

    public string[] Files => _folder.Files;

    /// <summary>Leaves no room.</summary>
    public void Fill()
    {
        using var stream = new FileStream(_folder["filler"], FileMode.Create, FileAccess.Write, FileShare.None, 0);
        var block = new byte[4096];
        try
        {
            while (true)
            {
                stream.Write(block);
            }
        }
        catch (IOException)
        {
            // It is full.
        }
    }

    public void MakeReadOnly() => Assert.That(Run("mount", "-o", "remount,ro", _folder.FullName), Is.Null);

    public void Dispose()
    {
        Run("umount", _folder.FullName);
        _folder.Dispose();
    }

    private static string? Run(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
        var error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? null : error.Trim();
    }
}
