using System.Diagnostics;

namespace Adadelta.Reliability.Tests;

/// <summary>Trainings whose disk fails them: one clear error, and the newest whole checkpoint is there to go on from.</summary>
[Platform("Linux")]
internal sealed class DiskTests
{
    [Test]
    public void A_full_disk_keeps_the_newest_whole_checkpoint()
    {
        // Room for one checkpoint, but not for the next one beside it.
        using Mount disk = new("size=4m");
        var output = Path.Combine(disk.Folder, "run");
        var result = Tool.Run([.. Training.Arguments, "--output", output]);
        AssertFailed(result, Training.Checkpoint(output), "No space left");
        Assert.That(Training.Steps(output), Is.EqualTo(1));
        Assert.That(Directory.GetFiles(output, ".*.tmp"), Is.Empty, "what was begun is removed");
        Training.AssertGoesOn(output);
    }

    [Test]
    public void A_folder_that_vanishes_loses_nothing_that_was_whole()
    {
        var output = TestFolder.New("vanishing");
        var moved = output + "-moved";
        using var tool = Tool.Start([.. Training.Arguments, "--output", output]);
        WaitForCheckpoint(tool, output);
        Directory.Move(output, moved);
        var result = tool.WaitForExit();
        // Either it is made anew and takes all that the run still writes, or the run says that it is gone.
        if (result.ExitCode == 0)
        {
            Training.AssertSameEnd(output);
        }
        else
        {
            AssertFailed(result, output);
        }
        Assert.That(Training.Steps(moved), Is.Positive);
        Training.AssertGoesOn(moved);
    }

    [Test]
    public void A_failing_fsync_keeps_the_newest_whole_checkpoint()
    {
        var launcher = TestFolder.New("failing-fsync");
        if (Run("cc", "-o", launcher, Settings.InRepository("tests/Adadelta.Reliability.Tests/failing_fsync.c")) != 0)
        {
            Assert.Ignore("no C compiler here");
        }
        if (Run(launcher, "true") == 77)
        {
            Assert.Ignore("system calls cannot be filtered here");
        }
        var output = TestFolder.New("no-fsync");
        using (var whole = Tool.Start([.. Training.Arguments, "--output", output]))
        {
            WaitForCheckpoint(whole, output);
            whole.Kill();
            whole.WaitForExit();
        }
        var steps = Training.Steps(output);
        var tool = Path.Combine(TestContext.CurrentContext.TestDirectory, "adadelta.dll");
        using var failing = new Tool.RunningTool(
            new Dictionary<string, string?>(), ["dotnet", tool, .. Training.Resume(output, output)], launcher);
        AssertFailed(failing.WaitForExit(), Training.Checkpoint(output), "Input/output error");
        Assert.That(Training.Steps(output), Is.EqualTo(steps), "the checkpoint that the disk has taken");
        Assert.That(Directory.GetFiles(output, ".*.tmp"), Is.Empty, "what was begun is removed");
        Training.AssertGoesOn(output);
    }

    private static void WaitForCheckpoint(Tool.RunningTool tool, string output)
    {
        while (!File.Exists(Training.Checkpoint(output)))
        {
            Assert.That(tool.HasExited, Is.False, "the training has ended before its first checkpoint");
            Thread.Sleep(1);
        }
    }

    private static void AssertFailed(ToolResult result, params string[] words)
    {
        Assert.That(result.ExitCode, Is.EqualTo(1), result.Output + result.Error);
        foreach (var word in words)
        {
            Assert.That(result.ErrorLine, Does.Contain(word));
        }
    }

    private static int Run(string program, params string[] arguments)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
            process.StandardError.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return -1;
        }
    }

    /// <summary>A file system of its own in memory; only root may mount one.</summary>
    private sealed class Mount : IDisposable
    {
        public Mount(string options)
        {
            Folder = Directory.CreateDirectory(TestFolder.New("disk")).FullName;
            if (Run("mount", "-t", "tmpfs", "-o", options, "adadelta-test", Folder) != 0)
            {
                Assert.Ignore("mounting a file system is not permitted here");
            }
        }

        public string Folder { get; }

        public void Dispose() => Run("umount", "-l", Folder);
    }
}
