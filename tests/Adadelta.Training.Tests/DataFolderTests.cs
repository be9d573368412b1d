using System.Buffers.Binary;
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
        Assert.That(data.Name, Is.EqualTo(below switch
        {
            "raw" => "root",
            "MNIST/raw" => "MNIST (not the published MNIST)",
            _ => "FashionMNIST (not the published Fashion-MNIST)",
        }));
    }

    // As Kaggle's archives unpack: some hold both, some the nested ones alone.
    [TestCase(true)]
    [TestCase(false)]
    public void Opens_files_in_folders_of_their_own_names(bool both)
    {
        IdxFile.WriteSet(_folder["set"]);
        foreach (var name in new[] { "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte" })
        {
            var bytes = File.ReadAllBytes(_folder["set", name]);
            File.Delete(_folder["set", name]);
            Directory.CreateDirectory(_folder["set", name]);
            File.WriteAllBytes(_folder["set", name, name], bytes);
            if (both)
            {
                File.WriteAllBytes(_folder["set", name.Replace("-idx", ".idx")], bytes);
            }
        }
        var data = DataFolder.Open(_folder["set"]);
        Assert.That((data.Name, data.Source, data.Train.Count), Is.EqualTo(("set", _folder["set"], 4)));
    }

    [Test]
    public void Opens_QMNIST_whose_labels_are_8_numbers_an_image()
    {
        WriteQmnist(label => label);
        var data = DataFolder.Open(_folder["set"]);
        Assert.That(data.Name, Is.EqualTo("qmnist"));
        Assert.That(data.Train.Labels.ToArray(), Is.EqualTo(new byte[] { 0, 1, 2, 0 }));
        Assert.That(data.Test.Labels.ToArray(), Is.EqualTo(new byte[] { 3, 1 }));
    }

    [TestCase(256)]
    [TestCase(-1)]
    public void Refuses_a_label_that_is_not_a_byte(int label)
    {
        WriteQmnist(found => found == 2 ? label : found);
        Assert.That(() => DataFolder.Open(_folder["set"]), Throws.TypeOf<InvalidDataException>().With.Message.EqualTo(
            $"{_folder["set", "qmnist-train-labels-idx2-int"]}: label 2 is {label}, expected 0 <= label < 256"));
    }

    private void WriteQmnist(Func<int, int> label)
    {
        IdxFile.WriteSet(_folder["set"], "qmnist-", test: "test");
        foreach (var half in new[] { "train", "test" })
        {
            var plain = _folder["set", $"qmnist-{half}-labels-idx1-ubyte"];
            byte[] labels = File.ReadAllBytes(plain)[8..];
            File.Delete(plain);
            var numbers = new byte[labels.Length * 32];
            for (var i = 0; i < labels.Length; i++)
            {
                BinaryPrimitives.WriteInt32BigEndian(numbers.AsSpan(32 * i), label(labels[i]));
                numbers.AsSpan(32 * i + 4, 28).Fill(0xff);
            }
            var file = IdxFile.Bytes([labels.Length, 8], numbers);
            file[2] = 0x0c;
            File.WriteAllBytes(_folder["set", $"qmnist-{half}-labels-idx2-int"], file);
        }
    }

    [Test]
    public void EMNIST_s_images_are_put_upright_on_request_and_that_is_advised()
    {
        IdxFile.WriteSet(_folder["set"], "emnist-letters-", test: "test");
        var lying = DataFolder.Open(_folder["set"]);
        Assert.That(lying.IsTransposeAdvised, Is.True);
        var upright = DataFolder.Open(_folder["set"], transpose: true);
        Assert.That(upright.IsTransposeAdvised, Is.False);
        Assert.That(upright.Train.Shape, Is.EqualTo(new Native.ImageShape(1, 5, 3)));
        Assert.That(upright.Train.Pixels.ToArray(), Is.EqualTo(lying.Train.Transpose().Pixels.ToArray()));
        Assert.That(upright.Test.Image(1).ToArray(), Is.EqualTo(new byte[] { 15, 20, 25, 16, 21, 26, 17, 22, 27, 18, 23, 28, 19, 24, 29 }));
        IdxFile.WriteSet(_folder["other"]);
        Assert.That(DataFolder.Open(_folder["other"]).IsTransposeAdvised, Is.False);
    }

    [Test]
    public void A_gap_in_the_labels_is_a_class_without_images()
    {
        IdxFile.WriteSet(_folder["set"]);
        File.WriteAllBytes(_folder["set", "train-labels-idx1-ubyte"], IdxFile.Bytes([4], [0, 255, 2, 0]));
        var data = DataFolder.Open(_folder["set"]);
        Assert.That(data.Train.Classes, Is.EqualTo(256));
        Assert.That(data.Train.EmptyClasses, Is.EqualTo(Enumerable.Range(0, 256).Except([0, 2, 255])));
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
            .With.Message.StartsWith($"{_folder["set"]}: no {missing[..missing.IndexOf("-idx", StringComparison.Ordinal)]} beside ")
            .And.Message.Contains("expected train-images, train-labels, t10k-images"));
    }

    [Test]
    public void A_folder_without_a_set_is_told_with_what_it_has()
    {
        Directory.CreateDirectory(_folder["set"]);
        Assert.That(() => DataFolder.Open(_folder["set"]), Throws.TypeOf<FileNotFoundException>()
            .With.Message.StartsWith($"{_folder["set"]}: no data set found (it is empty), expected train-images"));
        File.WriteAllText(_folder["set", "mnist_train.csv"], "");
        File.WriteAllText(_folder["set", "mnist_test.csv"], "");
        Assert.That(() => DataFolder.Open(_folder["set"]), Throws.TypeOf<FileNotFoundException>()
            .With.Message.StartsWith($"{_folder["set"]}: no data set found (it has mnist_test.csv, mnist_train.csv), expected train-images"));
        Assert.That(() => DataFolder.Open(_folder["set", "mnist_test.csv"]), Throws.TypeOf<DirectoryNotFoundException>()
            .With.Message.EqualTo($"{_folder["set", "mnist_test.csv"]}: a file, expected a folder"));
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
