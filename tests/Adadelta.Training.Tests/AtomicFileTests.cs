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

    [Test]
    public void Null_and_empty_arguments_are_refused()
    {
        Assert.That(() => AtomicFile.Write("", _ => { }), Throws.ArgumentException);
        Assert.That(() => AtomicFile.Write(_folder["file"], null!), Throws.ArgumentNullException);
    }
}
