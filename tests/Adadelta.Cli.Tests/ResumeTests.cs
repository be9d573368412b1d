using System.Text.Json;
using Adadelta.Training;

namespace Adadelta.Cli.Tests;

/// <summary>A run that was stopped and resumed, beside the same run that never stopped.</summary>
internal sealed class ResumeTests
{
    private static readonly string s_bars = Bars.CreateFolder();
    private static readonly string s_network = TestFolder.Write("net.json", """
        {
          "layers": [
            { "type": "flatten" }, { "type": "dropout", "probability": 0.25 }, { "type": "linear", "out_features": "classes" }
          ]
        }
        """);

    // 7 steps an epoch, the last one short.
    private static readonly string[] s_settings =
    [
        "--data", s_bars, "--network", s_network, "--batch-size", "30", "--lr", "0.5", "--rho", "0.8", "--eps", "1e-5",
        "--weight-decay", "0.01", "--schedule", "exponential:0.5", "--seed", "9",
    ];

    [Test]
    public void A_run_of_more_epochs_goes_on_with_the_bits_of_one_that_never_stopped()
    {
        string whole = TestFolder.New(), parts = TestFolder.New();
        Succeeds(Tool.Run(["train", .. s_settings, "--output", whole, "--epochs", "5"]));
        Succeeds(Tool.Run(["train", .. s_settings, "--output", parts, "--epochs", "2", "--checkpoint-steps", "3", "--threads", "1"]));
        ToolResult resumed = Succeeds(Tool.Run("train", "--resume", parts, "--epochs", "5"));
        Assert.That(resumed.Lines, Does.Contain($"Resumed: {In(parts, "checkpoint.safetensors")}, epoch 2 after step 7"));
        Assert.That(resumed.Lines, Does.Contain("Training finished").And.None.StartWith("Epoch [2]"));
        AssertSame(parts, whole);
        using JsonDocument run = JsonDocument.Parse(File.ReadAllText(In(parts, "run.json")));
        Assert.That(run.RootElement.GetProperty("results").GetProperty("steps").GetInt32(), Is.EqualTo(35));
        Assert.That(run.RootElement.GetProperty("settings").GetProperty("weight_decay").GetDouble(), Is.EqualTo(0.01));
    }

    // As after a crash: what is left is the last checkpoint, in the middle of an epoch, and no other file.
    [Test]
    public void A_checkpoint_within_an_epoch_is_gone_on_from()
    {
        string whole = TestFolder.New(), parts = TestFolder.New(), crashed = Directory.CreateDirectory(TestFolder.New()).FullName;
        Succeeds(Tool.Run(["train", .. s_settings, "--output", whole, "--epochs", "3"]));
        using (Tool.RunningTool training = Tool.Start(
            ["train", .. s_settings, "--output", parts, "--epochs", "1000000", "--checkpoint-steps", "5"]))
        {
            training.WaitForLine("Epoch [1], ");
            string checkpoint = In(parts, "checkpoint.safetensors");
            while (!File.Exists(checkpoint))
            {
                Thread.Yield();
            }

            // Files are replaced whole, so that a copy at any time is one of them.
            File.Copy(checkpoint, In(crashed, "checkpoint.safetensors"));
            training.Signal("KILL");
            training.WaitForExit();
        }

        int steps = Losses(In(crashed, "checkpoint.safetensors"));
        Assert.That(steps % 5, Is.Zero);
        int epochs = Math.Max(3, (steps / 7) + 1);
        if (epochs > 3)
        {
            Succeeds(Tool.Run(["train", .. s_settings, "--output", whole, "--overwrite", "--epochs", $"{epochs}"]));
        }

        Succeeds(Tool.Run(["train", .. s_settings, "--output", crashed, "--epochs", $"{epochs}", "--resume"]));
        AssertSame(crashed, whole);
    }

    [Platform("Unix")]
    [Test]
    public void A_run_that_a_signal_stopped_is_gone_on_from()
    {
        string whole = TestFolder.New(), parts = TestFolder.New();
        using (Tool.RunningTool training = Tool.Start(
            ["train", .. s_settings, "--output", parts, "--epochs", "1000000", "--checkpoint-steps", "1000000"]))
        {
            training.WaitForLine("Epoch [2], ");
            training.Signal("TERM");
            Assert.That(training.WaitForExit().ExitCode, Is.EqualTo(130));
        }

        LossHistory stopped = LossHistory.ReadCsv(In(parts, "steps.csv"));
        Assert.That(Losses(In(parts, "checkpoint.safetensors")), Is.EqualTo(stopped.Steps.Count));
        string epochs = $"{stopped.Steps[^1].Epoch + 1}";
        Succeeds(Tool.Run(["train", "--resume", In(parts, "checkpoint.safetensors"), "--epochs", epochs]));
        Succeeds(Tool.Run(["train", .. s_settings, "--output", whole, "--epochs", epochs]));
        Assert.That(File.ReadAllText(In(parts, "steps.csv")), Is.EqualTo(File.ReadAllText(In(whole, "steps.csv"))));
        AssertSameModel(parts, whole);
    }

    [Test]
    public void A_finished_run_and_another_output_folder()
    {
        string first = TestFolder.New(), second = TestFolder.New();
        Succeeds(Tool.Run(["train", .. s_settings, "--output", first, "--epochs", "1"]));
        ToolResult again = Succeeds(Tool.Run("train", "--resume", first, "--output", second));
        Assert.That(again.Lines, Does.Contain("Training finished"));
        AssertSameModel(second, first);
        Succeeds(Tool.Run(["train", "--resume", first, "--epochs", "2"]));
        Refused(
            Tool.Run("train", "--resume", first, "--epochs", "1"),
            $"--epochs: 1, expected at least 2, the epoch that '{In(first, "checkpoint.safetensors")}' has reached", 2);
    }

    [Test]
    public void Other_settings_are_refused_with_both_values_and_nothing_changes()
    {
        string output = TestFolder.New();
        Succeeds(Tool.Run(["train", .. s_settings, "--output", output, "--epochs", "1", "--limit", "60"]));
        string checkpoint = In(output, "checkpoint.safetensors");
        byte[] before = File.ReadAllBytes(checkpoint);
        foreach ((string option, string value, string kept) in ((string, string, string)[])
            [
                ("--batch-size", "31", "30"), ("--lr", "0.25", "0.5"), ("--rho", "0.9", "0.8"), ("--eps", "1E-06", "1E-05"),
                ("--weight-decay", "0", "0.01"), ("--schedule", "constant", "exponential:0.5"), ("--seed", "1", "9"),
                ("--limit", "61", "60"),
            ])
        {
            Refused(
                Tool.Run("train", "--resume", output, option, value),
                $"{option}: {value}, expected {kept}, as in the run of '{checkpoint}'", 2);
        }

        string network = TestFolder.Write("other.json", Bars.Network);
        Refused(
            Tool.Run("train", "--resume", output, "--network", network),
            $"--network: '{network}', expected the network of the run of '{checkpoint}'", 2);
        Assert.That(File.ReadAllBytes(checkpoint), Is.EqualTo(before));
    }

    [Test]
    public void Other_images_of_the_same_number_and_name_are_refused_with_both_checksums_and_moved_ones_are_not()
    {
        string output = TestFolder.New(), data = Bars.CreateFolder();
        string[] settings = ["train", .. s_settings[2..], "--data", data];
        Succeeds(Tool.Run([.. settings, "--output", output, "--epochs", "1"]));
        using JsonDocument run = JsonDocument.Parse(File.ReadAllText(In(output, "run.json")));
        JsonElement known = run.RootElement.GetProperty("data");
        string moved = TestFolder.New("moved");
        Directory.Move(data, moved);
        Succeeds(Tool.Run("train", "--resume", output, "--data", moved, "--epochs", "2"));

        foreach ((string file, string kind) in ((string, string)[])
            [("train-images-idx3-ubyte", "training"), ("train-labels-idx1-ubyte", "training"), ("t10k-images-idx3-ubyte", "test")])
        {
            Directory.CreateDirectory(data);
            foreach (string path in Directory.GetFiles(moved))
            {
                File.Copy(path, In(data, Path.GetFileName(path)), overwrite: true);
            }

            byte[] bytes = File.ReadAllBytes(In(data, file));
            bytes[^1] ^= 1;
            File.WriteAllBytes(In(data, file), bytes);
            ToolResult result = Tool.Run("train", "--resume", output, "--data", data, "--epochs", "3");
            string name = Path.GetFileName(data), before = Path.GetFileName(moved);
            Assert.That(result.ErrorLine, Does.Match(
                $@"^--data: checksum of the {kind} images: [0-9a-f]{{16}} of {name} \({data}\), expected [0-9a-f]{{16}} of {before} \({moved}\), as in the run of '"));
            Assert.That(result.ErrorLine, Does.Contain(known.GetProperty($"{kind}_checksum").GetString()));
            Assert.That(result.ExitCode, Is.EqualTo(2));

            // What is tested on by default is told where it has changed; what was asked for is not.
            ToolResult evaluation = Succeeds(Tool.Run("evaluate", "--model", output, "--data", data));
            Assert.That(evaluation.Error, Is.Empty);
        }

        File.Copy(In(data, "t10k-images-idx3-ubyte"), In(moved, "t10k-images-idx3-ubyte"), overwrite: true);
        Assert.That(
            Succeeds(Tool.Run("evaluate", "--model", output)).Error,
            Does.StartWith($"warning: the test images of {Path.GetFileName(moved)} ({moved}) are not those of the training: checksum "));
    }

    [Test]
    public void Transposed_images_stay_so_in_resume_evaluate_and_predict()
    {
        string upright = Bars.CreateFolder(), files = Bars.CreateFolder(), first = TestFolder.New(), second = TestFolder.New();
        foreach (string file in (string[])["train-images-idx3-ubyte", "t10k-images-idx3-ubyte"])
        {
            byte[] bytes = File.ReadAllBytes(In(files, file));
            byte[] pixels = [.. bytes[16..].Chunk(Bars.Size * Bars.Size).SelectMany(image => image.Select(
                (_, i) => image[(i % Bars.Size * Bars.Size) + (i / Bars.Size)]))];
            File.WriteAllBytes(In(files, file), [.. bytes[..16], .. pixels]);
        }

        string[] settings = ["train", .. s_settings[2..], "--epochs", "2"];
        Succeeds(Tool.Run([.. settings, "--data", upright, "--output", first]));
        Succeeds(Tool.Run([.. settings, "--data", files, "--transpose", "--output", second]));
        Assert.That(File.ReadAllText(In(second, "steps.csv")), Is.EqualTo(File.ReadAllText(In(first, "steps.csv"))));

        Succeeds(Tool.Run("train", "--resume", first, "--epochs", "3"));
        Succeeds(Tool.Run("train", "--resume", second, "--epochs", "3"));
        Assert.That(File.ReadAllText(In(second, "steps.csv")), Is.EqualTo(File.ReadAllText(In(first, "steps.csv"))));
        string[] expected = Succeeds(Tool.Run("evaluate", "--model", first)).Lines[3..];
        Assert.That(Succeeds(Tool.Run("evaluate", "--model", second)).Lines[3..], Is.EqualTo(expected));
        Assert.That(Succeeds(Tool.Run("evaluate", "--model", second, "--data", files)).Lines[3..], Is.EqualTo(expected), "its own files");
        Assert.That(Succeeds(Tool.Run("evaluate", "--model", second, "--data", upright)).Lines[3..], Is.EqualTo(expected), "upright ones");
        Assert.That(Succeeds(Tool.Run("evaluate", "--model", first, "--data", files, "--transpose")).Lines[3..], Is.EqualTo(expected));
        Assert.That(
            Succeeds(Tool.Run("predict", "--model", second, "1", "2")).Output.Replace(Path.GetFileName(files), "", StringComparison.Ordinal),
            Is.EqualTo(Succeeds(Tool.Run("predict", "--model", first, "1", "2")).Output.Replace(Path.GetFileName(upright), "", StringComparison.Ordinal)));
        Refused(
            Tool.Run("train", "--resume", first, "--transpose"),
            $"--transpose: yes, expected no, as in the run of '{In(first, "checkpoint.safetensors")}'", 2);
    }

    [Test]
    public void Files_called_emnist_are_advised_to_be_put_upright()
    {
        string folder = Bars.CreateFolder(), output = TestFolder.New();
        foreach (string file in Directory.GetFiles(folder))
        {
            File.Move(file, In(folder, $"emnist-digits-{Path.GetFileName(file)}"));
        }

        string[] train = ["train", "--data", folder, "--network", s_network, "--epochs", "1"];
        const string Advice = "warning: emnist-digits: EMNIST's files hold their images with rows and columns exchanged; --transpose puts them "
            + "upright, as pictures and other data sets are\n";
        Assert.That(Succeeds(Tool.Run([.. train, "--output", TestFolder.New()])).Error, Is.EqualTo(Advice));
        Assert.That(Succeeds(Tool.Run([.. train, "--transpose", "--output", output])).Error, Is.Empty);
        Assert.That(Succeeds(Tool.Run("evaluate", "--model", output)).Error, Is.Empty);
        string other = TestFolder.New();
        Succeeds(Tool.Run("train", "--data", s_bars, "--network", s_network, "--epochs", "1", "--output", other));
        Assert.That(Succeeds(Tool.Run("evaluate", "--model", other, "--data", folder)).Error, Is.EqualTo(Advice));
    }

    [Test]
    public void What_is_no_checkpoint_is_refused()
    {
        string output = TestFolder.New();
        Succeeds(Tool.Run(["train", .. s_settings, "--output", output, "--epochs", "1"]));
        string checkpoint = In(output, "checkpoint.safetensors"), model = In(output, "model.safetensors");
        Refused(
            Tool.Run("train", "--resume", "/nowhere"),
            "--resume: '/nowhere/checkpoint.safetensors' is not there, expected the output folder of a training or a checkpoint", 2);
        string foreign = TestFolder.New() + ".safetensors";
        SafeTensors.Write(foreign, [new("fc1.weight", [1], [1])]);
        foreach (string file in (string[])[foreign, model])
        {
            Refused(
                Tool.Run("train", "--resume", file),
                $"--resume: '{file}' is no checkpoint of adadelta train, expected the output folder of a training or a checkpoint", 2);
        }

        byte[] bytes = File.ReadAllBytes(checkpoint);
        File.WriteAllBytes(checkpoint, bytes[..^4]);
        RefusedFile();
        File.WriteAllText(checkpoint, "not a file of tensors");
        RefusedFile();

        void RefusedFile()
        {
            byte[] before = File.ReadAllBytes(model);
            ToolResult result = Tool.Run("train", "--resume", output);
            Assert.That(result.ErrorLine, Does.Contain(checkpoint));
            Assert.That(result.ExitCode, Is.EqualTo(1));
            Assert.That(File.ReadAllBytes(model), Is.EqualTo(before));
        }
    }

    private static string In(string folder, string file) => Path.Combine(folder, file);

    private static int Losses(string checkpoint) =>
        (int)SafeTensors.Read(checkpoint).Tensors.Single(tensor => tensor.Name == "training.losses").Shape[0];

    private static ToolResult Succeeds(ToolResult result)
    {
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        return result;
    }

    private static void Refused(ToolResult result, string message, int exitCode)
    {
        Assert.That(result.ErrorLine, Is.EqualTo(message));
        Assert.That(result.ExitCode, Is.EqualTo(exitCode));
    }

    private static void AssertSame(string found, string expected)
    {
        Assert.That(File.ReadAllText(In(found, "steps.csv")), Is.EqualTo(File.ReadAllText(In(expected, "steps.csv"))));
        AssertSameModel(found, expected);
        Assert.That(Epochs(found), Is.EqualTo(Epochs(expected)));
    }

    private static void AssertSameModel(string found, string expected) => Assert.That(
        File.ReadAllBytes(In(found, "model.safetensors")), Is.EqualTo(File.ReadAllBytes(In(expected, "model.safetensors"))));

    // All but the times.
    private static IEnumerable<EpochResult> Epochs(string folder) =>
        LossHistory.ReadCsv(In(folder, "steps.csv"), In(folder, "epochs.csv")).Epochs
            .Select(epoch => epoch with { Seconds = 0, SamplesPerSecond = 0 });
}
