namespace Adadelta.Cli.Tests;

internal sealed class BadDataTests
{
    private static readonly string s_network = TestFolder.Write("net.json", Bars.Network);

    [Test]
    public void A_truncated_file_is_named()
    {
        string folder = Bars.CreateFolder();
        string file = Path.Combine(folder, "train-images-idx3-ubyte");
        File.WriteAllBytes(file, File.ReadAllBytes(file)[..^100]);
        Refused(folder, $"{file}: the file is cut off");
    }

    [Test]
    public void A_wrong_magic_number_is_named()
    {
        string folder = Bars.CreateFolder();
        string file = Path.Combine(folder, "t10k-images-idx3-ubyte");
        Bars.Write(file, [0x50_4b_03_04, 40, Bars.Size, Bars.Size], new byte[40 * Bars.Size * Bars.Size]);
        Refused(folder, $"{file}: begins with 0x504B, expected 0x0000");
    }

    [Test]
    public void Bytes_left_over_are_refused()
    {
        string folder = Bars.CreateFolder();
        string file = Path.Combine(folder, "train-labels-idx1-ubyte");
        File.AppendAllText(file, "x");
        Refused(folder, $"{file}: bytes left over");
    }

    [Test]
    public void A_label_that_the_network_has_no_output_for_is_refused()
    {
        string folder = Bars.CreateFolder();
        Bars.Write(Path.Combine(folder, "t10k-labels-idx1-ubyte"), [0x00000801, 40], [.. Enumerable.Repeat((byte)7, 40)]);
        string network = TestFolder.Write("net.json", """{ "layers": [ { "type": "flatten" }, { "type": "linear", "out_features": 4 } ] }""");
        Refused(folder, "the last layer has 4 outputs, expected at least 8, the classes of ", network);
    }

    [Test]
    public void A_folder_without_a_data_set_is_named()
    {
        string folder = Directory.CreateDirectory(TestFolder.New()).FullName;
        Refused(folder, $"--data: {folder}: no data set found, expected train-images", exitCode: 2);
    }

    [Test]
    public void A_folder_that_is_named_as_mnists_and_lacks_its_files_is_refused_and_no_digits_are_drawn_instead()
    {
        string folder = Bars.CreateFolder();
        File.Delete(Path.Combine(folder, "t10k-labels-idx1-ubyte"));
        foreach (string command in (string[])["train", "train --data mnist", "doctor"])
        {
            ToolResult option = Tool.Run([.. command.Split(' '), "--data-dir", folder]);
            Assert.That(option.ErrorLine, Does.StartWith($"--data-dir: {folder}: ").And.Contain("t10k-labels"), command);
            Assert.That(option.ExitCode, Is.EqualTo(2), command);
            Assert.That(option.Output, Is.Empty, command);
        }

        Dictionary<string, string?> environment = new() { ["ADADELTA_DATA_DIR"] = folder };
        ToolResult variable = Tool.Run(environment, "train");
        Assert.That(variable.ErrorLine, Does.StartWith($"ADADELTA_DATA_DIR: {folder}: ").And.Contain("t10k-labels"));
        Assert.That(variable.ExitCode, Is.EqualTo(2));
    }

    [Test]
    public void A_folder_of_mnist_beside_another_data_set_is_refused()
    {
        ToolResult result = Tool.Run("train", "--data", "digits", "--data-dir", TestFolder.Root);
        Assert.That(result.ErrorLine, Is.EqualTo($"--data-dir: '{TestFolder.Root}', expected only with --data mnist, which it is the folder of"));
        Assert.That(result.ExitCode, Is.EqualTo(2));
    }

    private static void Refused(string folder, string message, string? network = null, int exitCode = 1)
    {
        ToolResult result = Tool.Run("train", "--data", folder, "--network", network ?? s_network, "--output", TestFolder.New());
        Assert.That(result.ErrorLine, Does.Contain(message));
        Assert.That(result.ExitCode, Is.EqualTo(exitCode));
        Assert.That(result.Output, Does.Not.Contain("Epoch"));
    }
}
