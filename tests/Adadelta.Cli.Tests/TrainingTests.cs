using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using Adadelta.Training;
using SkiaSharp;

namespace Adadelta.Cli.Tests;

/// <summary>A short training of the reference network on drawn digits, and all that it leaves behind.</summary>
internal sealed class TrainingTests
{
    private const int Images = 1000;
    private const int StepsPerEpoch = 16;
    private const int Epochs = 2;

    private static readonly string s_rule = new('-', 50);

    private string _output = null!;
    private ToolResult _training = null!;

    [OneTimeSetUp]
    public void Train()
    {
        _output = TestFolder.New("output");
        _training = Tool.Run("train", "--data", "digits", "--limit", "1000", "--epochs", "2", "--output", _output);
        Assert.That(_training.ExitCode, Is.Zero, _training.Error);
    }

    [Test]
    public void Prints_the_reference_runs_lines_between_what_it_uses_and_what_came_out()
    {
        string means = @"Average Loss: \d+\.\d{4}";
        string[] expected =
        [
            @"Data: digits \(embedded\), 1000 training and 10000 test images of 1x28x28 in 10 classes",
            @"Device: \S+ \(.+\), \d+ threads?, \S+",
            "Network: reference, 10 layers, 582026 parameters",
            $@"Epoch \[1\], {means}",
            s_rule,
            $@"Epoch \[2\], {means}",
            s_rule,
            "Training finished",
            @"Accuracy: \d+\.\d\d %",
            @"Test loss: \d+\.\d{4}",
            $"Written to {Regex.Escape(_output)}: steps.csv, epochs.csv, loss.png, loss.svg, run.json, checkpoint.safetensors, model.safetensors",
        ];
        Assert.That(_training.Error, Is.Empty);
        Assert.That(_training.Lines, Has.Length.EqualTo(expected.Length));
        foreach ((string line, string pattern) in _training.Lines.Zip(expected))
        {
            Assert.That(line, Does.Match($"^{pattern}$"));
        }
    }

    [Test]
    public void Writes_the_seven_files_and_nothing_but_its_lock_beside_them() => Assert.That(
        Directory.EnumerateFileSystemEntries(_output).Select(Path.GetFileName),
        Is.EquivalentTo((string[])[".lock", "steps.csv", "epochs.csv", "loss.png", "loss.svg", "run.json", "checkpoint.safetensors", "model.safetensors"]));

    [Test]
    public void Csv_files_hold_every_step_and_epoch()
    {
        Assert.That(File.ReadLines(Path.Combine(_output, "steps.csv")).First(), Is.EqualTo("epoch,step,loss,learning_rate"));
        Assert.That(
            File.ReadLines(Path.Combine(_output, "epochs.csv")).First(),
            Is.EqualTo("epoch,average_loss,test_loss,test_accuracy,learning_rate,seconds,samples_per_second"));
        LossHistory history = History(_output);
        Assert.That(
            history.Steps.Select(step => (step.Epoch, step.Step)),
            Is.EqualTo(from epoch in Enumerable.Range(1, Epochs) from step in Enumerable.Range(1, StepsPerEpoch) select (epoch, step)));
        Assert.That(history.Steps, Has.All.Matches<StepResult>(step => step is { Loss: > 0 and < 10, LearningRate: 0.1 }));
        Assert.That(history.Epochs.Select(epoch => epoch.Epoch), Is.EqualTo((int[])[1, 2]));
        Assert.That(history.Epochs[1].AverageLoss, Is.LessThan(history.Epochs[0].AverageLoss));
        Assert.That(history.Epochs, Has.All.Matches<EpochResult>(epoch => epoch is { TestAccuracy: >= 0 and <= 1, TestLoss: > 0, Seconds: > 0 }));
        string[] printed = [.. history.Epochs.Select(epoch => string.Create(CultureInfo.InvariantCulture, $"Epoch [{epoch.Epoch}], Average Loss: {epoch.AverageLoss:0.0000}"))];
        Assert.That(_training.Lines.Where(line => line.StartsWith("Epoch", StringComparison.Ordinal)), Is.EqualTo(printed));
    }

    [Test]
    public void Png_shows_a_curve()
    {
        using SKBitmap plot = SKBitmap.Decode(Path.Combine(_output, "loss.png"));
        Assert.That((plot.Width, plot.Height), Is.EqualTo((1000, 600)));
        SKColor[] pixels = plot.Pixels;
        Assert.That(pixels.Count(pixel => pixel == SKColors.White), Is.GreaterThan(pixels.Length / 2), "ground");
        Assert.That(pixels.Count(pixel => pixel.Red > 140 && pixel.Blue > pixel.Red + 20), Is.GreaterThan(300), "losses of the steps");
        Assert.That(pixels.Count(pixel => pixel.Red < 40 && pixel.Blue > pixel.Red + 80), Is.GreaterThan(300), "means of the epochs");
        Assert.That(pixels.Count(pixel => pixel == SKColors.Black), Is.GreaterThan(300), "axes and text");
    }

    [Test]
    public void Svg_is_well_formed_and_carries_title_and_axes()
    {
        XDocument plot = XDocument.Load(Path.Combine(_output, "loss.svg"));
        XNamespace svg = "http://www.w3.org/2000/svg";
        Assert.That(plot.Root!.Name, Is.EqualTo(svg + "svg"));
        XElement[] words = [.. plot.Descendants(svg + "text")];
        string[] texts = [.. words.Select(text => text.Value.Trim())];
        Assert.That(texts, Is.SupersetOf((string[])["Loss curve", "Epoch", "Loss", "1", "2"]));
        Assert.That(
            words.Select(text => text.Attribute("font-family")?.Value), Is.All.EqualTo("DejaVu Sans"), "the font that the tool carries");
        Assert.That(plot.Descendants(svg + "path").Count(), Is.GreaterThan(2));
    }

    [Test]
    public void A_curve_of_one_step_has_numbers_on_its_axis()
    {
        LossHistory history = new();
        history.Add(new StepResult(1, 1, 2.3033f, 0.1));
        string svg = TestFolder.New() + ".svg";
        LossPlot.Write(history, TestFolder.New() + ".png", svg);
        XNamespace name = "http://www.w3.org/2000/svg";
        string[] texts = [.. XDocument.Load(svg).Descendants(name + "text").Select(text => text.Value.Trim())];
        Assert.That(texts, Is.SupersetOf((string[])["2.2", "2.3", "2.4"]));
    }

    [Test]
    public void Model_has_pytorchs_names_and_shapes()
    {
        SafeTensorsFile model = SafeTensors.Read(Path.Combine(_output, "model.safetensors"));
        (string, long[])[] expected =
        [
            ("conv1.weight", [32, 1, 5, 5]), ("conv1.bias", [32]), ("conv2.weight", [64, 32, 5, 5]), ("conv2.bias", [64]),
            ("fc1.weight", [512, 1024]), ("fc1.bias", [512]), ("fc2.weight", [10, 512]), ("fc2.bias", [10]),
        ];
        Assert.That(model.Tensors.Select(tensor => tensor.Name), Is.EquivalentTo(expected.Select(tensor => tensor.Item1)));
        foreach ((string name, long[] shape) in expected)
        {
            SafeTensor tensor = model.Tensors.Single(tensor => tensor.Name == name);
            Assert.That(tensor.Shape, Is.EqualTo(shape), name);
            Assert.That(tensor.Data, Has.All.Matches<float>(float.IsFinite), name);
        }
    }

    [Test]
    public void Run_json_tells_settings_versions_device_data_and_results()
    {
        using JsonDocument run = JsonDocument.Parse(File.ReadAllText(Path.Combine(_output, "run.json")));
        JsonElement root = run.RootElement;
        JsonElement settings = root.GetProperty("settings");
        Assert.That(settings.GetProperty("epochs").GetInt32(), Is.EqualTo(Epochs));
        Assert.That(settings.GetProperty("batch_size").GetInt32(), Is.EqualTo(64));
        Assert.That(settings.GetProperty("lr").GetDouble(), Is.EqualTo(0.1));
        Assert.That(settings.GetProperty("rho").GetDouble(), Is.EqualTo(0.9));
        Assert.That(settings.GetProperty("eps").GetDouble(), Is.EqualTo(1e-6));
        Assert.That(settings.GetProperty("weight_decay").GetDouble(), Is.Zero);
        Assert.That(settings.GetProperty("schedule").GetString(), Is.EqualTo("constant"));
        Assert.That(settings.GetProperty("seed").GetUInt64(), Is.EqualTo(1));
        Assert.That(settings.GetProperty("limit").GetInt32(), Is.EqualTo(Images));
        Assert.That(root.GetProperty("versions").GetProperty("native_library").GetString(), Does.Match(@"^\d+\.\d+\.\d+$"));
        Assert.That(root.GetProperty("device").GetProperty("threads").GetInt32(), Is.GreaterThanOrEqualTo(1));
        Assert.That(root.GetProperty("data").GetProperty("choice").GetString(), Is.EqualTo("digits"));
        JsonElement results = root.GetProperty("results");
        Assert.That(results.GetProperty("finished").GetBoolean(), Is.True);
        Assert.That(results.GetProperty("test_accuracy").GetDouble(), Is.EqualTo(History(_output).Epochs[^1].TestAccuracy));
    }

    [Test]
    public void Evaluate_finds_the_accuracy_of_the_last_epoch_again()
    {
        ToolResult result = Tool.Run("evaluate", "--model", _output);
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        EpochResult last = History(_output).Epochs[^1];
        Assert.That(result.Lines, Does.Contain(string.Create(CultureInfo.InvariantCulture, $"Accuracy: {100 * last.TestAccuracy:0.00} %")));
        Assert.That(result.Lines, Does.Contain(string.Create(CultureInfo.InvariantCulture, $"Loss: {last.TestLoss:0.0000}")));

        int header = Array.FindIndex(result.Lines, line => line.StartsWith("Confusion matrix", StringComparison.Ordinal));
        int[][] matrix = [.. result.Lines[(header + 3)..].Select(line => line.Split('|')[1]
            .Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(cell => cell == "." ? 0 : int.Parse(cell, CultureInfo.InvariantCulture)).ToArray())];
        Assert.That(matrix, Has.Length.EqualTo(10).And.All.Length.EqualTo(10));
        Assert.That(matrix.Sum(row => row.Sum()), Is.EqualTo(10_000));
        Assert.That(Enumerable.Range(0, 10).Sum(digit => matrix[digit][digit]) / 10_000.0, Is.EqualTo(last.TestAccuracy).Within(1e-9));
    }

    [Test]
    public void A_model_file_is_enough_and_another_programs_weights_need_their_network_file()
    {
        string alone = Directory.CreateDirectory(TestFolder.New("alone")).FullName;
        string model = Path.Combine(alone, "model.safetensors"), foreign = Path.Combine(alone, "foreign.safetensors");
        File.Copy(Path.Combine(_output, "model.safetensors"), model);
        ToolResult own = Tool.Run("evaluate", "--model", model, "--limit", "500");
        Assert.That(own.ExitCode, Is.Zero, own.Error);
        Assert.That(own.Output, Does.Contain("500 test images").And.Match(@"(?m)^Accuracy: \d+\.\d\d %$"));

        SafeTensors.Write(foreign, SafeTensors.Read(model).Tensors);
        ToolResult none = Tool.Run("evaluate", "--model", foreign);
        Assert.That(none.ErrorLine, Is.EqualTo($"--network: none, and '{foreign}' does not hold one, expected the network file of these weights"));
        Assert.That(none.ExitCode, Is.EqualTo(2));
        string network = TestFolder.Write("net.json", NetworkDefinition.Reference.ToJson());
        ToolResult result = Tool.Run("evaluate", "--model", foreign, "--network", network, "--data", "digits", "--limit", "500");
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        Assert.That(result.Lines[^14..], Is.EqualTo(own.Lines[^14..]));
    }

    [Test]
    public void A_checkpoint_can_be_evaluated_as_a_model()
    {
        ToolResult model = Tool.Run("evaluate", "--model", _output, "--limit", "500");
        ToolResult checkpoint = Tool.Run("evaluate", "--model", Path.Combine(_output, "checkpoint.safetensors"), "--limit", "500");
        Assert.That(checkpoint.ExitCode, Is.Zero, checkpoint.Error);
        Assert.That(checkpoint.Lines[1..], Is.EqualTo(model.Lines[1..]));
    }

    [Test]
    public void Weights_that_do_not_fit_are_named()
    {
        string model = TestFolder.New() + ".safetensors";
        SafeTensorsFile file = SafeTensors.Read(Path.Combine(_output, "model.safetensors"));
        SafeTensors.Write(
            model, [.. file.Tensors.Where(tensor => tensor.Name != "fc1.bias"), new("fc3.bias", [1], [0])], file.Metadata);
        foreach (string command in (string[])["evaluate", "predict 0"])
        {
            ToolResult result = Tool.Run([.. command.Split(' '), "--model", model]);
            Assert.That(result.ErrorLine, Does.StartWith($"{model}: ").And.Contain("'fc1.bias' is missing").And.Contain("'fc3.bias'"));
            Assert.That(result.ExitCode, Is.EqualTo(1));
        }
    }

    [Test]
    public void A_model_whose_outputs_are_no_numbers_is_an_error_and_no_prediction()
    {
        string model = TestFolder.New() + ".safetensors";
        SafeTensorsFile file = SafeTensors.Read(Path.Combine(_output, "model.safetensors"));
        // Each is finite; the sum of their products is not.
        SafeTensors.Write(
            model, [.. file.Tensors.Select(tensor => tensor.Name.StartsWith("fc", StringComparison.Ordinal)
                ? new(tensor.Name, tensor.Shape, [.. tensor.Data.Select(_ => 3e38f)]) : tensor)], file.Metadata);
        foreach (string command in (string[])["evaluate", "predict 0"])
        {
            ToolResult result = Tool.Run([.. command.Split(' '), "--model", model]);
            Assert.That(result.ErrorLine, Does.StartWith($"{model}: no model that can tell a class: ").And.Contain("expected"), command);
            Assert.That(result.ExitCode, Is.EqualTo(1));
            Assert.That(result.Output, Does.Not.Contain(" %"));
        }
    }

    [Test]
    public void A_damaged_model_is_named()
    {
        string model = TestFolder.New() + ".safetensors";
        File.WriteAllBytes(model, File.ReadAllBytes(Path.Combine(_output, "model.safetensors"))[..^4]);
        ToolResult result = Tool.Run("predict", "--model", model, "0");
        Assert.That(result.ErrorLine, Does.StartWith(model));
        Assert.That(result.ExitCode, Is.EqualTo(1));

        SafeTensors.Write(model, [new("fc1.bias", [1], [0])], new Dictionary<string, string> { ["run"] = "{}" });
        result = Tool.Run("predict", "--model", model, "0");
        Assert.That(result.ErrorLine, Does.StartWith($"{model}: 'run' in the metadata is damaged: "));
        Assert.That(result.ExitCode, Is.EqualTo(1));
    }

    [Test]
    public void A_missing_model_is_named()
    {
        foreach (string command in (string[])["evaluate", "predict 0"])
        {
            ToolResult result = Tool.Run([.. command.Split(' '), "--model", "/nowhere"]);
            Assert.That(result.ErrorLine, Does.StartWith("--model: '/nowhere/model.safetensors' is not there, expected "));
            Assert.That(result.ExitCode, Is.EqualTo(2));
        }
    }

    private static LossHistory History(string output) =>
        LossHistory.ReadCsv(Path.Combine(output, "steps.csv"), Path.Combine(output, "epochs.csv"));
}
