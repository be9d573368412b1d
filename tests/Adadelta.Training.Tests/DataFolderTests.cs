using NUnit.Framework;

namespace Adadelta.Training.Tests;

public class DataFolderTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void SetUp() => _folder = new();

    [TearDown]
    public void TearDown() => _folder.Dispose();

    [TestCase("", "-idx3-ubyte", "t10k", TestName = "MNIST's names")]
    [TestCase("", ".idx3-ubyte", "t10k", TestName = "Names with a dot")]
    [TestCase("", "", "test", TestName = "Short names")]
    [TestCase("", ".idx", "test", TestName = "Names that end in .idx")]
    [TestCase("emnist-letters-", "-idx3-ubyte", "test", TestName = "EMNIST's names")]
    public void Opens_a_set(string prefix, string ending, string test)
    {
        foreach (var gzip in new[] { false, true })
        {
            var folder = _folder[$"set-{gzip}"];
            IdxFile.WriteSet(folder, prefix, ending, test, gzip);
            Assert.That(DataFolder.Contains(folder), Is.True);
            var data = DataFolder.Open(folder);
            Assert.That(data.Name, Is.EqualTo(prefix.Length > 0 ? "emnist-letters" : $"set-{gzip}"));
            Assert.That(data.Source, Is.EqualTo(folder));
            Assert.That((data.Train.Count, data.Test.Count, data.Train.Shape), Is.EqualTo((4, 2, new Native.ImageShape(1, 3, 5))));
            Assert.That(data.Train.Labels.ToArray(), Is.EqualTo(new byte[] { 0, 1, 2, 0 }));
            Assert.That(data.Test.Labels.ToArray(), Is.EqualTo(new byte[] { 3, 1 }));
            Assert.That(data.Train.Pixels.ToArray(), Is.EqualTo(Enumerable.Range(0, 60)));
            Assert.That((data.Train.Classes, data.Test.Classes), Is.EqualTo((4, 4)), "the highest label of both halves counts");
        }
    }

    [TestCase("raw")]
    [TestCase("MNIST/raw")]
    [TestCase("FashionMNIST/raw")]
    public void Opens_torchvision_layouts(string below)
    {
        IdxFile.WriteSet(_folder["root", below]);
        var data = DataFolder.Open(_folder["root"]);
        Assert.That(data.Source, Is.EqualTo(Path.GetFullPath(_folder["root", below])));
        Assert.That(data.Name, Is.EqualTo(below == "raw" ? "root" : below[..^4]));
    }

    [Test]
    public void Four_dimensions_are_count_channels_height_width()
    {
        IdxFile.WriteSet(_folder["set"], shape: [3, 2, 5]);
        Assert.That(DataFolder.Open(_folder["set"]).Train.Shape, Is.EqualTo(new Native.ImageShape(3, 2, 5)));
    }

    [Test]
    public void The_name_given_wins()
    {
        IdxFile.WriteSet(_folder["set"]);
        var data = DataFolder.Open(_folder["set"], "Mine");
        Assert.That((data.Name, data.Train.Name, data.Test.Name), Is.EqualTo(("Mine", "Mine train", "Mine test")));
    }

    [Test]
    public void Plain_files_come_before_their_gz()
    {
        IdxFile.WriteSet(_folder["set"], gzip: true, shape: [2, 2]);
        IdxFile.WriteSet(_folder["set"], gzip: false, shape: [3, 3]);
        Assert.That(DataFolder.Open(_folder["set"]).Train.Height, Is.EqualTo(3));
    }

    [Test]
    public void One_of_several_sets_is_chosen_by_its_prefix()
    {
        IdxFile.WriteSet(_folder["gzip"], "emnist-letters-", shape: [2, 2]);
        IdxFile.WriteSet(_folder["gzip"], "emnist-digits-", shape: [3, 3]);
        Assert.That(DataFolder.Contains(_folder["gzip"]), Is.False);
        Assert.That(() => DataFolder.Open(_folder["gzip"]), Throws.TypeOf<FileNotFoundException>()
            .With.Message.Contains("2 data sets found").And.Message.Contains(_folder["gzip", "emnist-digits"])
            .And.Message.Contains(_folder["gzip", "emnist-letters"]));
        Assert.That(DataFolder.Open(_folder["gzip", "emnist-letters"]).Train.Height, Is.EqualTo(2));
        Assert.That(DataFolder.Open(_folder["gzip", "emnist-digits"]).Train.Height, Is.EqualTo(3));
        Assert.That(() => DataFolder.Open(_folder["gzip", "emnist-byclass"]), Throws.TypeOf<DirectoryNotFoundException>());
    }

    [Test]
    public void Files_that_are_not_IDX_files_are_passed_over()
    {
        IdxFile.WriteSet(_folder["set"]);
        foreach (var other in new[] { "train-images-idx3-ubyte.md5", "train-images-idx3-ubyte.gz.part", "train-labels.csv", "README" })
        {
            File.WriteAllText(_folder["set", other], "text");
        }
        Assert.That(DataFolder.Open(_folder["set"]).Train.Count, Is.EqualTo(4));
    }

    [TestCase("train-images-idx3-ubyte")]
    [TestCase("train-labels-idx1-ubyte")]
    [TestCase("t10k-images-idx3-ubyte")]
    [TestCase("t10k-labels-idx1-ubyte")]
    public void Without_one_of_the_files_there_is_no_set(string missing)
    {
        IdxFile.WriteSet(_folder["set"]);
        File.Delete(_folder["set", missing]);
        Assert.That(DataFolder.Contains(_folder["set"]), Is.False);
        Assert.That(() => DataFolder.Open(_folder["set"]), Throws.TypeOf<FileNotFoundException>()
            .With.Message.StartsWith(_folder["set"]).And.Message.Contains("expected train-images, train-labels, t10k-images"));
    }

    [Test]
    public void A_missing_folder_is_named()
    {
        Assert.That(DataFolder.Contains(_folder["nothing"]), Is.False);
        Assert.That(() => DataFolder.Open(_folder["nothing"]),
            Throws.TypeOf<DirectoryNotFoundException>().With.Message.EqualTo($"{_folder["nothing"]}: no such folder"));
    }

    private static IEnumerable<TestCaseData> Misfits()
    {
        yield return Case("train-labels-idx1-ubyte", IdxFile.Bytes([3], [0, 1, 2]), "3 labels, expected 4 as train-images-idx3-ubyte has images");
        yield return Case("t10k-labels-idx1-ubyte", IdxFile.Bytes([2, 1], [0, 1]), "2 dimensions, expected 1");
        yield return Case("t10k-images-idx3-ubyte", IdxFile.Counting([2, 3, 6]), "images of 3x6, expected 3x5 as in train-images-idx3-ubyte");
        yield return Case("t10k-images-idx3-ubyte", IdxFile.Counting([2, 1, 3, 5]), "images of 1x3x5, expected 3x5 as in train-images-idx3-ubyte");
        yield return Case("train-images-idx3-ubyte", IdxFile.Counting([4, 15]), "2 dimensions, expected 3 (N, H, W) or 4 (N, C, H, W)");
        yield return Case("train-images-idx3-ubyte", IdxFile.Counting([4, 3, 5])[..^1], "cut off: 59 of 60 bytes");

        static TestCaseData Case(string file, byte[] bytes, string message) => new TestCaseData(file, bytes, message).SetArgDisplayNames(message);
    }

    [TestCaseSource(nameof(Misfits))]
    public void Refuses_files_that_do_not_fit(string file, byte[] bytes, string message)
    {
        IdxFile.WriteSet(_folder["set"]);
        File.WriteAllBytes(_folder["set", file], bytes);
        Assert.That(() => DataFolder.Open(_folder["set"]), Throws.TypeOf<InvalidDataException>()
            .With.Message.StartsWith(_folder["set", file]).And.Message.Contains(message));
    }
}
