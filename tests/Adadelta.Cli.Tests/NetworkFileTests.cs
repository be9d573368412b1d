using Adadelta.Training;

namespace Adadelta.Cli.Tests;

internal sealed class NetworkFileTests
{
    private static readonly string s_bars = Bars.CreateFolder();

    [TestCase("""{ "layers": [ { "type": "conv2d", "out_channels": 8, "kernal": 3 } ] }""", "layers[0] (conv2d): unknown property 'kernal', expected one of type, name, out_channels, kernel, stride, padding, dilation, bias")]
    [TestCase("""{ "layers": [ { "type": "flatten" }, { "type": "dense", "out_features": 4 } ] }""", "layers[1]: type: \"dense\", expected one of conv2d, maxpool2d, avgpool2d, relu, flatten, linear, dropout")]
    [TestCase("""{ "layers": [ { "type": "flatten" }, { "type": "linear" } ] }""", "layers[1] (linear): out_features is missing, expected a whole number >= 1 or \"classes\"")]
    [TestCase("""{ "layers": [ { "type": "conv2d", "out_channels": -8, "kernel": 3 } ] }""", "layers[0] (conv2d): out_channels: -8, expected a whole number >= 1")]
    [TestCase("""{ "layers": [ { "type": "flatten" } """, "line 1")]
    [TestCase("""{ "input": [3, 8, 8], "layers": [ { "type": "flatten" } ] }""", "input: 3x8x8, but the images are 1x8x8")]
    [TestCase("""{ "layers": [ { "type": "linear", "out_features": 4 } ] }""", "fc1")]
    [TestCase("""{ "layers": [ { "type": "conv2d", "name": "wide", "out_channels": 4, "kernel": 9 }, { "type": "flatten" } ] }""", "wide")]
    [TestCase("""{ "layers": [ { "type": "relu", "name": "a b" }, { "type": "flatten" } ] }""", "a b")]
    [TestCase("""{ "layers": [ { "type": "flatten" }, { "type": "linear", "out_features": 3 } ] }""", "the last layer has 3 outputs, expected at least 4, the classes of ")]
    public void A_mistake_in_a_network_file_is_named(string json, string message)
    {
        string file = TestFolder.Write("net.json", json);
        ToolResult result = Tool.Run("train", "--data", s_bars, "--network", file, "--output", TestFolder.New());
        Assert.That(result.ErrorLine, Does.Contain(message).And.StartsWith(file));
        Assert.That(result.ExitCode, Is.EqualTo(1));
        Assert.That(result.Output, Does.Not.Contain("Epoch"));
    }

    [TestCase("nowhere.json", "no such file")]
    [TestCase("/nowhere/net.json", "no such file")]
    [TestCase(".", "a folder, expected a JSON file")]
    public void A_network_that_is_no_file_is_refused_by_every_command(string path, string message)
    {
        string model = TestFolder.New() + ".safetensors";
        SafeTensors.Write(model, [new("fc1.weight", [1], [1])]);
        foreach (string[] command in (string[][])[["train", "--data", s_bars], ["evaluate", "--model", model], ["predict", "--model", model, "0"]])
        {
            ToolResult result = Tool.Run([.. command, "--network", path]);
            Assert.That(result.ErrorLine, Is.EqualTo($"--network: '{path}': {message}"), command[0]);
            Assert.That(result.ExitCode, Is.EqualTo(2), command[0]);
            Assert.That(result.Output, Is.Empty, command[0]);
        }
    }
}
