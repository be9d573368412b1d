using System.Globalization;
using System.Text.RegularExpressions;
using Adadelta.Training;

namespace Adadelta.Cli.Tests;

internal sealed class MnistTests
{
    [Test]
    public void A_training_on_6000_real_images_reads_nine_in_ten_of_the_test_images()
    {
        if (MnistData.Find(null) is not { } mnist)
        {
            Assert.Ignore($"MNIST is not on this machine: set {MnistData.FolderVariable} to a folder with its four files");
            return;
        }

        // The documented variable, and not an option, leads the tool to the data.
        Dictionary<string, string?> environment = new() { [MnistData.FolderVariable] = mnist.Source };
        string output = TestFolder.New("mnist");
        ToolResult training = Tool.Run(environment, "train", "--limit", "6000", "--epochs", "3", "--output", output);
        Assert.That(training.ExitCode, Is.Zero, training.Error);
        Assert.That(training.Lines[0], Is.EqualTo(
            $"Data: MNIST ({mnist.Source}; found on this machine), 6000 training and 10000 test images of 1x28x28 in 10 classes"));
        Assert.That(Accuracy(training), Is.GreaterThan(90));

        // run.json remembers where the images were, so that evaluate needs neither option nor variable.
        ToolResult evaluation = Tool.Run("evaluate", "--model", output);
        Assert.That(evaluation.ExitCode, Is.Zero, evaluation.Error);
        Assert.That(Accuracy(evaluation), Is.EqualTo(Accuracy(training)));
    }

    [Test]
    public void A_label_that_is_no_digit_is_refused()
    {
        string folder = Directory.CreateDirectory(TestFolder.New("mnist")).FullName;
        foreach (string half in (string[])["train", "t10k"])
        {
            Bars.Write(Path.Combine(folder, $"{half}-images-idx3-ubyte"), [0x00000803, 2, 28, 28], new byte[2 * 28 * 28]);
            Bars.Write(Path.Combine(folder, $"{half}-labels-idx1-ubyte"), [0x00000801, 2], [3, 10]);
        }

        ToolResult result = Tool.Run("train", "--data", "mnist", "--data-dir", folder, "--output", TestFolder.New());
        Assert.That(result.ErrorLine, Is.EqualTo($"{folder}: 11 classes of 1x28x28, expected MNIST's 10 of 1x28x28"));
        Assert.That(result.ExitCode, Is.EqualTo(1));

        ToolResult doctor = Tool.Run("doctor", "--data-dir", folder);
        Assert.That(doctor.Output, Does.Contain("found, but damaged: "));
        Assert.That(doctor.ExitCode, Is.Zero);
    }

    private static double Accuracy(ToolResult result) =>
        double.Parse(Regex.Match(result.Output, @"(?m)^Accuracy: (\d+\.\d\d) %$").Groups[1].Value, CultureInfo.InvariantCulture);
}
