using NUnit.Framework;

namespace Adadelta.Training.Tests;

public class KnownDatasetTests
{
    private const string Fashion = "/usr/share/datasets/fashion-mnist";

    [Test]
    public void MNIST_is_known_whatever_its_folder_is_called()
    {
        if (Environment.GetEnvironmentVariable(MnistData.FolderVariable) is not { Length: > 0 } folder)
        {
            Assert.Ignore($"set {MnistData.FolderVariable} to a folder with the files of MNIST");
            return;
        }
        using var other = new TemporaryFolder();
        Directory.CreateSymbolicLink(other["fashion"], folder);
        Assert.That(DataFolder.Open(other["fashion"]).Name, Is.EqualTo("MNIST"));
        Assert.That(DataFolder.Open(other["fashion"], transpose: true).Name, Is.EqualTo("MNIST"));
    }

    // As many images of the same shape, in a folder called mnist.
    [Test]
    public void Fashion_MNIST_in_a_folder_called_mnist_is_not_MNIST()
    {
        if (!Directory.Exists(Fashion))
        {
            Assert.Ignore($"{Fashion} is not on this machine: install Debian's dataset-fashion-mnist");
        }
        using var other = new TemporaryFolder();
        Directory.CreateSymbolicLink(other["mnist"], Fashion);
        var data = DataFolder.Open(other["mnist"]);
        Assert.That(data.Name, Is.EqualTo("Fashion-MNIST"));
        Assert.That(data.Train.Name, Is.EqualTo("Fashion-MNIST train"));
        Assert.That(() => MnistData.Find(other["mnist"]), Throws.TypeOf<InvalidDataException>().With.Message.EqualTo(
            $"{other["mnist"]}: holds Fashion-MNIST, expected MNIST; open it as a folder of its own"));
    }

    [TestCase("mnist", "mnist (not the published MNIST)")]
    [TestCase("Fashion_MNIST", "Fashion_MNIST (not the published Fashion-MNIST)")]
    [TestCase("mnist-rotated", "mnist-rotated")]
    public void Other_images_are_not_given_a_known_name(string folder, string name)
    {
        using var parent = new TemporaryFolder();
        IdxFile.WriteSet(parent[folder], shape: [28, 28]);
        var data = DataFolder.Open(parent[folder]);
        Assert.That((data.Name, data.Test.Name), Is.EqualTo((name, $"{name} test")));
    }
}
