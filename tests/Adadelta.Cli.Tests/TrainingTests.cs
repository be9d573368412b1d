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
    public void Writes_the_seven_files_and_nothing_else() => Assert.That(
        Directory.EnumerateFileSystemEntries(_output).Select(Path.GetFileName),
        Is.EquivalentTo((string[])["steps.csv", "epochs.csv", "loss.png", "loss.svg", "run.json", "checkpoint.safetensors", "model.safetensors"]));

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
    public void Evaluate_takes_the_model_file_and_a_network_file_too()
    {
        string alone = Directory.CreateDirectory(TestFolder.New("alone")).FullName;
        string model = Path.Combine(alone, "model.safetensors");
        File.Copy(Path.Combine(_output, "model.safetensors"), model);
        Assert.That(Tool.Run("evaluate", "--model", model).ErrorLine, Does.StartWith($"no run.json beside '{model}', expected it or --network"));

        string network = TestFolder.Write("net.json", NetworkDefinition.Reference.ToJson());
        ToolResult result = Tool.Run("evaluate", "--model", model, "--network", network, "--data", "digits", "--limit", "500");
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        Assert.That(result.Output, Does.Contain("500 test images").And.Match(@"(?m)^Accuracy: \d+\.\d\d %$"));
    }

    [Test]
    public void Predict_reads_a_picture_as_it_reads_the_test_image_it_was_made_from()
    {
        const int Place = 4;
        ReadOnlySpan<byte> pixels = Digits.Create(train: 1, test: Place + 1).Test.Image(Place);
        string same = WritePng(pixels, 1, inverted: false);
        string large = WritePng(pixels, 10, inverted: false);
        string paper = WritePng(pixels, 10, inverted: true);
        ToolResult result = Tool.Run("predict", "--model", _output, "4", same, large, paper);
        Assert.That(result.ExitCode, Is.Zero, result.Error);

        string[] blocks = result.Output.Split("\n\n");
        Assert.That(blocks, Has.Length.EqualTo(4));
        string[] headings = [.. blocks.Select(block => block.Split('\n')[0])];
        Assert.That(headings[0], Does.Match(@"^4: \d \(\d+\.\d\d %\), test image of digits, labelled 4$"));
        Assert.That(headings[1], Does.EndWith(", 28x28 pixels"));
        Assert.That(headings[2], Does.EndWith(", 280x280 pixels, resized to 28x28"));
        Assert.That(headings[3], Does.EndWith(", 280x280 pixels, inverted (light border), resized to 28x28"));

        double[][] probabilities = [.. blocks.Select(Probabilities)];
        Assert.That(probabilities[0], Has.Length.EqualTo(10));
        Assert.That(probabilities[0].Sum(), Is.EqualTo(100).Within(0.1));
        foreach (double[] others in probabilities[1..])
        {
            Assert.That(others, Is.EqualTo(probabilities[0]).Within(0.011));
        }
    }

    [Test]
    public void Predict_refuses_what_is_no_picture_and_no_place()
    {
        string text = TestFolder.Write("note.png", "not a picture");
        Assert.That(Tool.Run("predict", "--model", _output, text).ErrorLine, Is.EqualTo($"image '{text}': not a picture, expected a PNG file"));
        Assert.That(Tool.Run("predict", "--model", _output, "nowhere.png").ErrorLine, Is.EqualTo("image 'nowhere.png': no such file"));
        Assert.That(
            Tool.Run("predict", "--model", _output, "10000").ErrorLine,
            Is.EqualTo("image 10000: expected 0 <= place < 10000, the test images of digits"));
    }

    [Test]
    public void A_damaged_model_or_record_is_named()
    {
        string folder = Directory.CreateDirectory(TestFolder.New("damaged")).FullName;
        string model = Path.Combine(folder, "model.safetensors");
        string run = Path.Combine(folder, "run.json");
        File.Copy(Path.Combine(_output, "run.json"), run);
        File.WriteAllBytes(model, File.ReadAllBytes(Path.Combine(_output, "model.safetensors"))[..^4]);
        ToolResult result = Tool.Run("predict", "--model", folder, "0");
        Assert.That(result.ErrorLine, Does.Contain(model));
        Assert.That(result.ExitCode, Is.EqualTo(1));

        File.WriteAllText(run, "{}");
        result = Tool.Run("predict", "--model", folder, "0");
        Assert.That(result.ErrorLine, Does.StartWith($"{run}: not the record of a training"));
        Assert.That(result.ExitCode, Is.EqualTo(1));
    }

    [Test]
    public void A_missing_model_is_named()
    {
        foreach (string command in (string[])["evaluate", "predict 0"])
        {
            ToolResult result = Tool.Run([.. command.Split(' '), "--model", "/nowhere"]);
            Assert.That(result.ErrorLine, Does.StartWith("no model: '/nowhere/model.safetensors' is not there"));
            Assert.That(result.ExitCode, Is.EqualTo(1));
        }
    }

    private static LossHistory History(string output) =>
        LossHistory.ReadCsv(Path.Combine(output, "steps.csv"), Path.Combine(output, "epochs.csv"));

    private static double[] Probabilities(string block) =>
        [.. Regex.Matches(block, @"(?m)^ +\d+ +(\d+\.\d\d) %").Select(match => double.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture))];

    private static string WritePng(ReadOnlySpan<byte> pixels, int scale, bool inverted)
    {
        using SKBitmap picture = new(28 * scale, 28 * scale, SKColorType.Gray8, SKAlphaType.Opaque);
        Span<byte> target = picture.GetPixelSpan();
        for (int y = 0; y < picture.Height; y++)
        {
            for (int x = 0; x < picture.Width; x++)
            {
                byte value = pixels[(y / scale * 28) + (x / scale)];
                target[(y * picture.RowBytes) + x] = inverted ? (byte)(255 - value) : value;
            }
        }

        string path = TestFolder.New("picture") + ".png";
        using FileStream file = File.Create(path);
        Assert.That(picture.Encode(file, SKEncodedImageFormat.Png, 100), Is.True);
        return path;
    }
}
