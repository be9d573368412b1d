using System.Diagnostics;
using NUnit.Framework;

namespace Adadelta.Training.Tests;

public class AtomicFileTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void SetUp() => _folder = new();

    [TearDown]
    public void TearDown() => _folder.Dispose();

    [Test]
    public void Writes_a_file_in_folders_that_it_makes()
    {
        AtomicFile.Write(_folder["a", "b", "file"], stream => stream.Write([1, 2, 3]));
        Assert.That(File.ReadAllBytes(_folder["a", "b", "file"]), Is.EqualTo(new byte[] { 1, 2, 3 }));
        Assert.That(_folder.Files, Is.EqualTo(new[] { Path.Combine("a", "b", "file") }));
    }

    [Test]
    public void Replaces_a_longer_file()
    {
        File.WriteAllText(_folder["file"], "something longer");
        AtomicFile.Write(_folder["file"], stream => stream.Write("new"u8));
        Assert.That(File.ReadAllText(_folder["file"]), Is.EqualTo("new"));
    }

    [Test]
    public void The_old_file_is_whole_while_the_new_one_is_written()
    {
        File.WriteAllText(_folder["file"], "old");
        AtomicFile.Write(_folder["file"], stream =>
        {
            stream.Write("new"u8);
            stream.Flush();
            Assert.That(File.ReadAllText(_folder["file"]), Is.EqualTo("old"));
            Assert.That(_folder.Files, Has.Length.EqualTo(2), "the new file is written beside the old one");
        });
        Assert.That(_folder.Files, Is.EqualTo(new[] { "file" }));
    }

    [Test]
    public void A_failure_loses_nothing_and_leaves_nothing()
    {
        File.WriteAllText(_folder["file"], "old");
        Assert.That(() => AtomicFile.Write(_folder["file"], stream =>
        {
            stream.Write(new byte[1 << 20]);
            throw new IOException("No space left on device");
        }), Throws.TypeOf<IOException>().With.Message.Contains(_folder["file"]).And.Message.Contains("No space left on device"));
        Assert.That(File.ReadAllText(_folder["file"]), Is.EqualTo("old"));
        Assert.That(_folder.Files, Is.EqualTo(new[] { "file" }));
    }

    [Test]
    public void A_failure_of_the_writer_comes_through_as_it_is()
    {
        var failure = new InvalidOperationException("mine");
        Assert.That(() => AtomicFile.Write(_folder["file"], _ => throw failure), Throws.Exception.SameAs(failure));
        Assert.That(_folder.Files, Is.Empty);
    }

    [Test]
    public void A_full_disk_is_an_IOException_that_names_the_file()
    {
        const string Full = "/dev/full";
        if (!File.Exists(Full))
        {
            Assert.Ignore($"{Full} is not on this system");
        }
        Assert.That(() => AtomicFile.Write(_folder["file"], _ =>
        {
            using var full = new FileStream(Full, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, 0);
            full.Write(new byte[100]);
        }), Throws.TypeOf<IOException>().With.Message.StartsWith(_folder["file"]));
        Assert.That(_folder.Files, Is.Empty);
    }

    [Test]
    public void A_folder_in_the_place_of_the_file_is_refused()
    {
        Directory.CreateDirectory(_folder["taken"]);
        Assert.That(() => AtomicFile.Write(_folder["taken"], _ => { }),
            Throws.TypeOf<IOException>().With.Message.StartsWith(_folder["taken"]).And.Message.Contains("folder"));
    }

    [Test]
    public void A_file_in_the_place_of_the_folder_is_refused_and_kept()
    {
        File.WriteAllText(_folder["taken"], "old");
        Assert.That(() => AtomicFile.Write(_folder["taken", "file"], _ => { }),
            Throws.InstanceOf<IOException>().With.Message.StartsWith(_folder["taken", "file"]));
        Assert.That(File.ReadAllText(_folder["taken"]), Is.EqualTo("old"));
    }

    [Test]
    public void A_folder_that_may_not_be_written_is_refused()
    {
        if (OperatingSystem.IsWindows() || Environment.IsPrivilegedProcess)
        {
            Assert.Ignore("this user may write every folder, or the system has no modes");
            return;
        }
        Directory.CreateDirectory(_folder["locked"]);
        File.SetUnixFileMode(_folder["locked"], UnixFileMode.UserRead | UnixFileMode.UserExecute);
        Assert.That(() => AtomicFile.Write(_folder["locked", "file"], _ => { }),
            Throws.TypeOf<UnauthorizedAccessException>().With.Message.StartsWith(_folder["locked", "file"]));
    }

    [Test]
    public void A_symbolic_link_is_followed()
    {
        File.WriteAllText(_folder["target"], "old");
        File.CreateSymbolicLink(_folder["link"], _folder["target"]);
        AtomicFile.Write(_folder["link"], stream => stream.Write("new"u8));
        Assert.That(File.ReadAllText(_folder["target"]), Is.EqualTo("new"));
        Assert.That(new FileInfo(_folder["link"]).LinkTarget, Is.EqualTo(_folder["target"]));
    }

    // Renaming a file over a device breaks the machine; as root nothing else stops it.
    [TestCase("/dev/null")]
    [TestCase("/dev/stdout")]
    [TestCase("/dev/fd/2")]
    public void A_device_is_written_straight_and_stays(string device)
    {
        if (!File.Exists(device))
        {
            Assert.Ignore($"{device} is not on this system");
        }
        var before = Directory.EnumerateFileSystemEntries("/dev").Order().ToArray();
        AtomicFile.CheckWritable(device);
        AtomicFile.Write(device, stream => stream.Write("straight\n"u8));
        Assert.That(Directory.EnumerateFileSystemEntries("/dev").Order(), Is.EqualTo(before));
        Assert.That(new FileInfo("/dev/null").Length, Is.Zero);
        Assert.That(File.ReadAllBytes("/dev/null"), Is.Empty, "a regular file would have what was written");
    }

    [Test]
    public void A_device_without_room_is_an_IOException_that_names_it()
    {
        if (!File.Exists("/dev/full"))
        {
            Assert.Ignore("/dev/full is not on this system");
        }
        Assert.That(() => AtomicFile.Write("/dev/full", stream => stream.Write(new byte[1 << 20])),
            Throws.TypeOf<IOException>().With.Message.StartsWith("/dev/full: not written: "));
    }

    [Test]
    public void A_pipe_is_written_straight_and_stays()
    {
        Run("mkfifo", _folder["pipe"]);
        var read = Task.Run(() => File.ReadAllText(_folder["pipe"]));
        AtomicFile.Write(_folder["pipe"], stream => stream.Write("through the pipe"u8));
        Assert.That(read.Result, Is.EqualTo("through the pipe"));
        Assert.That(_folder.Files, Is.EqualTo(new[] { "pipe" }));
        Assert.That(Output("stat", "-c", "%F", _folder["pipe"]), Is.EqualTo("fifo"));
    }

    [Test]
    public void Mode_and_owner_of_a_file_that_is_written_over_stay()
    {
        File.WriteAllText(_folder["file"], "old");
        Run("chmod", "640", _folder["file"]);
        if (Environment.IsPrivilegedProcess)
        {
            Run("chown", "1234:2345", _folder["file"]);
        }
        var before = Output("stat", "-c", "%a %u %g", _folder["file"]);
        Assert.That(before, Does.StartWith("640 "));
        AtomicFile.Write(_folder["file"], stream => stream.Write("new"u8));
        Assert.That(Output("stat", "-c", "%a %u %g", _folder["file"]), Is.EqualTo(before));
        Assert.That(File.ReadAllText(_folder["file"]), Is.EqualTo("new"));
    }

    [Test]
    public void A_new_file_has_the_mode_of_every_new_file()
    {
        File.WriteAllText(_folder["usual"], "");
        AtomicFile.Write(_folder["new"], _ => { });
        Assert.That(Output("stat", "-c", "%a", _folder["new"]), Is.EqualTo(Output("stat", "-c", "%a", _folder["usual"])));
    }

    [Test]
    public void A_file_that_is_protected_from_writing_is_refused()
    {
        if (OperatingSystem.IsWindows() || Environment.IsPrivilegedProcess)
        {
            Assert.Ignore("this user may write every file, or the system has no modes");
            return;
        }
        File.WriteAllText(_folder["file"], "old");
        File.SetUnixFileMode(_folder["file"], UnixFileMode.UserRead);
        Assert.That(() => AtomicFile.Write(_folder["file"], _ => { }), Throws.TypeOf<UnauthorizedAccessException>());
        Assert.That(File.ReadAllText(_folder["file"]), Is.EqualTo("old"));
    }

    [Test]
    public void Links_that_lead_in_a_circle_are_refused()
    {
        File.CreateSymbolicLink(_folder["a"], _folder["b"]);
        File.CreateSymbolicLink(_folder["b"], _folder["a"]);
        Assert.That(() => AtomicFile.Write(_folder["a"], _ => { }),
            Throws.TypeOf<IOException>().With.Message.StartsWith(_folder["a"]).And.Message.Contains("circle"));
    }

    [Test]
    public void A_link_to_nothing_is_followed()
    {
        File.CreateSymbolicLink(_folder["link"], "target");
        AtomicFile.Write(_folder["link"], stream => stream.Write("new"u8));
        Assert.That(File.ReadAllText(_folder["target"]), Is.EqualTo("new"));
    }

    [Test]
    public void What_a_killed_process_left_is_removed_by_the_next_write()
    {
        File.WriteAllText(_folder[".adadelta-abcdefgh.ijk.tmp"], "left over");
        File.WriteAllText(_folder[".adadelta-abcdefgh.tmp"], "another's");
        File.WriteAllText(_folder[".abcdefgh.ijk.tmp"], "another's");
        AtomicFile.Write(_folder["file"], _ => { });
        Assert.That(_folder.Files, Is.EquivalentTo(new[] { ".abcdefgh.ijk.tmp", ".adadelta-abcdefgh.tmp", "file" }));
    }

    [Test]
    public void What_a_process_is_writing_is_not_removed()
    {
        AtomicFile.Write(_folder["outer"], outer =>
        {
            outer.Write("outer"u8);
            AtomicFile.Write(_folder["inner"], inner => inner.Write("inner"u8));
            Assert.That(_folder.Files, Has.Length.EqualTo(2));
        });
        Assert.That(_folder.Files, Is.EqualTo(new[] { "inner", "outer" }));
        Assert.That(File.ReadAllText(_folder["outer"]), Is.EqualTo("outer"));
    }

    [Test]
    public void Writers_at_once_do_not_take_each_other_s_files_for_leftovers()
    {
        Parallel.For(0, 200, new ParallelOptions { MaxDegreeOfParallelism = 8 }, i =>
            AtomicFile.Write(_folder[$"{i}"], stream => stream.Write(BitConverter.GetBytes(i))));
        Assert.That(_folder.Files, Has.Length.EqualTo(200));
    }

    [Test]
    public void A_flush_that_fails_leaves_the_old_file()
    {
        File.WriteAllText(_folder["file"], "old");
        Assert.That(
            () => AtomicFile.Write(_folder["file"], stream => stream.Write("new"u8), _ => throw new IOException("Input/output error")),
            Throws.TypeOf<IOException>().With.Message.EqualTo($"{_folder["file"]}: not written: Input/output error"));
        Assert.That(File.ReadAllText(_folder["file"]), Is.EqualTo("old"));
        Assert.That(_folder.Files, Is.EqualTo(new[] { "file" }));
    }

    [Test]
    public void Whether_a_file_can_be_written_is_tried_without_touching_it()
    {
        File.WriteAllText(_folder["file"], "old");
        AtomicFile.CheckWritable(_folder["file"]);
        AtomicFile.CheckWritable(_folder["new", "file"]);
        Assert.That(File.ReadAllText(_folder["file"]), Is.EqualTo("old"));
        Assert.That(_folder.Files, Is.EqualTo(new[] { "file" }));
        Directory.CreateDirectory(_folder["taken"]);
        Assert.That(() => AtomicFile.CheckWritable(_folder["taken"]),
            Throws.TypeOf<IOException>().With.Message.EqualTo($"{_folder["taken"]}: cannot be written: it is a folder, expected a file or nothing"));
        Assert.That(() => AtomicFile.CheckWritable(_folder["file", "below"]), Throws.InstanceOf<IOException>());
    }

    [Test]
    public void Null_and_empty_arguments_are_refused()
    {
        Assert.That(() => AtomicFile.Write("", _ => { }), Throws.ArgumentException);
        Assert.That(() => AtomicFile.Write(_folder["file"], null!), Throws.ArgumentNullException);
    }

    private static void Run(string program, params string[] arguments) => Output(program, arguments);

    private static string Output(string program, params string[] arguments)
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Ignore($"{program} is not on this system");
        }
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.Zero, program);
        return output.Trim();
    }
}
