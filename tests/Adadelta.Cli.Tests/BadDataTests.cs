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
        Refused(folder, $"{folder}: no data set found, expected train-images");
    }

    private static void Refused(string folder, string message, string? network = null)
    {
        ToolResult result = Tool.Run("train", "--data", folder, "--network", network ?? s_network, "--output", TestFolder.New());
        Assert.That(result.ErrorLine, Does.Contain(message));
        Assert.That(result.ExitCode, Is.EqualTo(1));
        Assert.That(result.Output, Does.Not.Contain("Epoch"));
    }
}
