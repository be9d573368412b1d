using System.Security.Cryptography;
using NUnit.Framework;

namespace Adadelta.Training.Tests;

// Environment variables belong to the whole process.
[NonParallelizable]
public class MnistDataTests
{
    private TemporaryFolder _folder = null!;
    private readonly Dictionary<string, string?> _environment = [];

    [SetUp]
    public void SetUp()
    {
        _folder = new();
        foreach (var name in new[] { MnistData.FolderVariable, "XDG_CACHE_HOME" })
        {
            _environment[name] = Environment.GetEnvironmentVariable(name);
        }
        Environment.SetEnvironmentVariable(MnistData.FolderVariable, null);
        Environment.SetEnvironmentVariable("XDG_CACHE_HOME", _folder["xdg"]);
    }

    [TearDown]
    public void TearDown()
    {
        foreach (var (name, value) in _environment)
        {
            Environment.SetEnvironmentVariable(name, value);
        }
        _folder.Dispose();
    }

    private string Folder(string name, params string[] below)
    {
        IdxFile.WriteSet(_folder[[name, .. below]], gzip: true, shape: [28, 28]);
        return _folder[name];
    }

    [Test]
    public void The_cache_is_the_user_s()
    {
        Assert.That(MnistData.CacheFolder, Is.EqualTo(_folder["xdg", "adadelta", "mnist"]));
        Environment.SetEnvironmentVariable("XDG_CACHE_HOME", "relative");
        Assert.That(MnistData.CacheFolder, Does.EndWith(Path.Combine("adadelta", "mnist")).And.Not.Contains("relative"));
        Assert.That(Path.IsPathFullyQualified(MnistData.CacheFolder), Is.True);
    }

    [Test]
    public void Looks_in_the_folder_asked_for_then_the_variable_then_others_then_the_cache()
    {
        Assert.That(MnistData.Find(null, [_folder["more"]]), Is.Null);
        Folder(Path.Combine("xdg", "adadelta", "mnist"));
        Assert.That(Source(), Is.EqualTo(_folder["xdg", "adadelta", "mnist"]));
        Folder("more");
        Assert.That(Source(), Is.EqualTo(_folder["more"]));
        Environment.SetEnvironmentVariable(MnistData.FolderVariable, Folder("variable"));
        Assert.That(Source(), Is.EqualTo(_folder["variable"]));
        Folder("asked");
        Assert.That(Source(_folder["asked"]), Is.EqualTo(_folder["asked"]));

        string Source(string? asked = null) => MnistData.Find(asked, [_folder["more"]])!.Source;
    }

    // Whoever names a folder does not want other images.
    [Test]
    public void A_folder_that_was_named_and_lacks_files_is_an_error_that_names_them()
    {
        Folder(Path.Combine("xdg", "adadelta", "mnist"));
        Assert.That(() => MnistData.Find(_folder["asked"]),
            Throws.TypeOf<DirectoryNotFoundException>().With.Message.EqualTo($"{_folder["asked"]}: no such folder"));
        Folder("asked");
        File.Delete(_folder["asked", "train-labels-idx1-ubyte.gz"]);
        Assert.That(() => MnistData.Find(_folder["asked"]),
            Throws.TypeOf<FileNotFoundException>().With.Message.StartsWith($"{_folder["asked"]}: no train-labels beside train-images-idx3-ubyte.gz"));
        Environment.SetEnvironmentVariable(MnistData.FolderVariable, _folder["asked"]);
        Assert.That(() => MnistData.Find(null),
            Throws.TypeOf<FileNotFoundException>().With.Message.StartsWith($"ADADELTA_DATA_DIR: {_folder["asked"]}: no train-labels beside"));
        Environment.SetEnvironmentVariable(MnistData.FolderVariable, _folder["nowhere"]);
        Assert.That(() => MnistData.Find(null),
            Throws.TypeOf<DirectoryNotFoundException>().With.Message.EqualTo($"ADADELTA_DATA_DIR: {_folder["nowhere"]}: no such folder"));
    }

    [Test]
    public void A_cache_with_a_damaged_file_counts_as_empty()
    {
        var cache = Folder(Path.Combine("xdg", "adadelta", "mnist"));
        Assert.That(MnistData.Find(null), Is.Not.Null);
        var images = Path.Combine(cache, "train-images-idx3-ubyte.gz");
        File.WriteAllBytes(images, File.ReadAllBytes(images)[..^20]);
        Assert.That(MnistData.Find(null), Is.Null);
        Assert.That(() => MnistData.Find(cache), Throws.TypeOf<InvalidDataException>(), "a folder that was named is not the tool's own");
    }

    [TestCase]
    [TestCase("raw")]
    [TestCase("MNIST")]
    [TestCase("MNIST", "raw")]
    public void Takes_flat_folders_and_torchvision_s(params string[] below)
    {
        var data = MnistData.Find(Folder("root", below))!;
        Assert.That(data.Name, Is.EqualTo(below.Contains("MNIST") ? "MNIST (not the published MNIST)" : "root"));
        Assert.That((data.Train.Count, data.Train.Classes, data.Test.Classes), Is.EqualTo((4, 10, 10)));
    }

    [Test]
    public void Beside_other_torchvision_sets_MNIST_is_taken()
    {
        Folder("root", "FashionMNIST", "raw");
        Folder("root", "MNIST", "raw");
        Assert.That(MnistData.Find(_folder["root"])!.Source, Is.EqualTo(_folder["root", "MNIST", "raw"]));
    }

    [Test]
    public void A_set_of_another_size_is_not_MNIST()
    {
        IdxFile.WriteSet(_folder["root"]);
        Assert.That(() => MnistData.Find(_folder["root"]), Throws.TypeOf<InvalidDataException>().With.Message.StartsWith(_folder["root"]));
    }

    [Test]
    public async Task Get_finds_before_it_downloads() =>
        Assert.That((await MnistData.GetAsync(Folder("root"), null, CancellationToken.None)).Source, Is.EqualTo(_folder["root"]));

    [Test]
    public void The_real_MNIST_is_read_byte_for_byte()
    {
        Environment.SetEnvironmentVariable(MnistData.FolderVariable, _environment[MnistData.FolderVariable]);
        Environment.SetEnvironmentVariable("XDG_CACHE_HOME", _environment["XDG_CACHE_HOME"]);
        if (MnistData.Find(null) is not { } mnist)
        {
            Assert.Ignore($"MNIST was not found: set {MnistData.FolderVariable} to the folder that holds it");
            return;
        }
        Assert.That(mnist.Name, Is.EqualTo("MNIST"));
        Assert.That((mnist.Train.Count, mnist.Test.Count, mnist.Train.Classes), Is.EqualTo((60_000, 10_000, 10)));
        Assert.That(mnist.Train.Labels[..10].ToArray(), Is.EqualTo(new byte[] { 5, 0, 4, 1, 9, 2, 1, 3, 1, 4 }));

        // The published MD5 sums are those of the files, headers included.
        Assert.That(Md5(IdxFile.Bytes([60_000, 28, 28], mnist.Train.Pixels.ToArray())), Is.EqualTo("6bbc9ace898e44ae57da46a324031adb"));
        Assert.That(Md5(IdxFile.Bytes([10_000], mnist.Test.Labels.ToArray())), Is.EqualTo("27ae3e4e09519cfbb04c329615203637"));
    }

#pragma warning disable CA5351 // MD5 is what MNIST's publishers give
    private static string Md5(byte[] bytes) => Convert.ToHexStringLower(MD5.HashData(bytes));
#pragma warning restore CA5351
}
