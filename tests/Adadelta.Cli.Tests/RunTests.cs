using System.Text.Json;
using System.Text.RegularExpressions;
using Adadelta.Training;

namespace Adadelta.Cli.Tests;

/// <summary>Runs on a small data set: lines of long epochs, what is chosen and refused, and how a run is stopped.</summary>
internal sealed class RunTests
{
    private static readonly string s_bars = Bars.CreateFolder();
    private static readonly string s_network = TestFolder.Write("net.json", Bars.Network);

    [Test]
    public void Prints_a_loss_every_100_steps()
    {
        ToolResult result = Train(TestFolder.New(), "--epochs", "2", "--batch-size", "1");
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        string[] lines = [.. result.Lines.SkipWhile(line => !line.StartsWith("Epoch", StringComparison.Ordinal)).TakeWhile(line => !line.StartsWith("Accuracy", StringComparison.Ordinal))];
        string rule = new('-', 50);
        string[] expected =
        [
            "Epoch [1/2], Step [100/200], Loss: #", "Epoch [1/2], Step [200/200], Loss: #", "Epoch [1], Average Loss: #", rule,
            "Epoch [2/2], Step [100/200], Loss: #", "Epoch [2/2], Step [200/200], Loss: #", "Epoch [2], Average Loss: #", rule,
            "Training finished",
        ];
        Assert.That(lines.Select(line => Regex.Replace(line, @": \d+\.\d{4}$", ": #")), Is.EqualTo(expected));
    }

    [Test]
    public void The_same_seed_gives_the_same_losses_and_another_seed_others()
    {
        string Steps(string seed)
        {
            string output = TestFolder.New();
            Assert.That(Train(output, "--epochs", "2", "--seed", seed).ExitCode, Is.Zero);
            return File.ReadAllText(Path.Combine(output, "steps.csv"));
        }

        string first = Steps("7");
        Assert.That(Steps("7"), Is.EqualTo(first));
        Assert.That(Steps("8"), Is.Not.EqualTo(first));
    }

    [Test]
    public void Options_reach_the_training()
    {
        string output = TestFolder.New();
        ToolResult result = Train(
            output, "--limit", "50", "--epochs", "3", "--batch-size", "20", "--lr", "0.5", "--rho", "0.8", "--eps", "1e-5",
            "--weight-decay", "0.01", "--schedule", "step:1,0.5", "--threads", "1");
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        Assert.That(result.Output, Does.Contain("50 training and 40 test images of 1x8x8 in 4 classes").And.Contain(", 1 thread, "));
        LossHistory history = LossHistory.ReadCsv(Path.Combine(output, "steps.csv"), Path.Combine(output, "epochs.csv"));
        Assert.That(history.Steps, Has.Count.EqualTo(9));
        Assert.That(history.Epochs.Select(epoch => epoch.LearningRate), Is.EqualTo((double[])[0.5, 0.25, 0.125]));
        using JsonDocument run = JsonDocument.Parse(File.ReadAllText(Path.Combine(output, "run.json")));
        JsonElement settings = run.RootElement.GetProperty("settings");
        Assert.That(settings.GetProperty("rho").GetDouble(), Is.EqualTo(0.8));
        Assert.That(settings.GetProperty("eps").GetDouble(), Is.EqualTo(1e-5));
        Assert.That(settings.GetProperty("weight_decay").GetDouble(), Is.EqualTo(0.01));
        Assert.That(settings.GetProperty("schedule").GetString(), Is.EqualTo("step:1,0.5"));
        Assert.That(run.RootElement.GetProperty("device").GetProperty("threads").GetInt32(), Is.EqualTo(1));
    }

    [Test]
    public void Without_data_digits_are_taken_where_there_is_no_mnist_and_it_says_so()
    {
        ToolResult result = Tool.Run("train", "--limit", "64", "--epochs", "1", "--network", s_network, "--output", TestFolder.New());
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        Assert.That(result.Lines[0], Does.StartWith("Data: digits (embedded; MNIST was not found on this machine"));
    }

    [Platform("Unix")]
    [TestCase("/dev/null/output", "/dev/null/output")]
    [TestCase("/proc/adadelta", "/proc/adadelta")]
    public void An_output_folder_that_cannot_be_written_is_refused_before_training(string output, string message)
    {
        ToolResult result = Train(output, "--epochs", "1");
        Assert.That(result.ErrorLine, Does.StartWith("--output: cannot write to").And.Contain(message));
        Assert.That(result.ExitCode, Is.EqualTo(2));
        Assert.That(result.Output, Is.Empty);
    }

    [Test]
    public void An_output_file_that_is_a_folder_is_refused_before_training()
    {
        string output = TestFolder.New();
        string model = Directory.CreateDirectory(Path.Combine(output, "model.safetensors")).FullName;
        ToolResult result = Train(output, "--epochs", "1");
        Assert.That(result.ErrorLine, Is.EqualTo($"--output: '{model}' is a folder, expected a file or nothing"));
        Assert.That(result.Output, Is.Empty);
    }

    [Test]
    [Platform("Unix")]
    public void A_plot_that_cannot_be_written_costs_nothing_else()
    {
        string output = TestFolder.New();
        using Tool.RunningTool training = Start(output);
        training.WaitForLine("Epoch [1], ");
        File.CreateSymbolicLink(Path.Combine(output, "loss.png"), "/proc/adadelta/loss.png");
        training.Signal("TERM");
        ToolResult result = training.WaitForExit();
        Assert.That(result.ErrorLine, Does.StartWith(Path.Combine(output, "loss.png") + ": not written: "));
        Assert.That(result.ExitCode, Is.EqualTo(1));
        Assert.That(
            Directory.GetFiles(output).Select(Path.GetFileName),
            Is.SupersetOf(["model.safetensors", "run.json", "steps.csv", "epochs.csv"]));
        Assert.That(Tool.Run("evaluate", "--model", output).ExitCode, Is.Zero);
    }

    [Test]
    public void A_training_that_diverges_fails_with_its_losses_saved_and_no_model()
    {
        string output = TestFolder.New();
        ToolResult result = Train(output, "--epochs", "100", "--lr", "3e38", "--eps", "1e-2");
        Assert.That(result.ErrorLine, Does.StartWith("training diverged in epoch 1, step "));
        Assert.That(result.ExitCode, Is.EqualTo(1));
        Assert.That(Path.Combine(output, "steps.csv"), Does.Exist);
        Assert.That(Path.Combine(output, "model.safetensors"), Does.Not.Exist);
    }

    [Platform("Unix")]
    [TestCase("INT")]
    [TestCase("TERM")]
    [TestCase("HUP")]
    public void A_signal_stops_the_training_with_all_that_was_trained_saved(string signal)
    {
        Tool.SkipWhereIgnored(signal);

        string output = TestFolder.New();
        using Tool.RunningTool training = Start(output);
        training.WaitForLine("Epoch [2], ");
        training.Signal(signal);
        ToolResult result = training.WaitForExit();
        Assert.That(result.ExitCode, Is.EqualTo(130), result.Error);
        Assert.That(result.Error, Is.Empty);

        LossHistory history = LossHistory.ReadCsv(Path.Combine(output, "steps.csv"), Path.Combine(output, "epochs.csv"));
        StepResult last = history.Steps[^1];
        Assert.That(result.Lines, Does.Contain($"Stopped in epoch {last.Epoch} after step {last.Step}"));
        Assert.That(result.Output, Does.Not.Contain("Training finished"));
        Assert.That(history.Epochs, Has.Count.GreaterThanOrEqualTo(2));
        Assert.That(Path.Combine(output, "loss.png"), Does.Exist);
        Assert.That(Path.Combine(output, "loss.svg"), Does.Exist);
        using (JsonDocument run = JsonDocument.Parse(File.ReadAllText(Path.Combine(output, "run.json"))))
        {
            JsonElement results = run.RootElement.GetProperty("results");
            Assert.That(results.GetProperty("finished").GetBoolean(), Is.False);
            Assert.That(results.GetProperty("steps").GetInt32(), Is.EqualTo(history.Steps.Count));
            Assert.That(results.GetProperty("last_loss").GetDouble(), Is.EqualTo((double)last.Loss));
            Assert.That(
                results.GetProperty("average_loss").GetDouble(),
                Is.EqualTo(history.Steps.Where(step => step.Epoch == last.Epoch).Average(step => (double)step.Loss)).Within(1e-12),
                "the mean of what the last epoch has");
            Assert.That(results.GetProperty("training_seconds").GetDouble(), Is.GreaterThan(0));
        }

        ToolResult evaluation = Tool.Run("evaluate", "--model", output);
        Assert.That(evaluation.ExitCode, Is.Zero, evaluation.Error);
        Assert.That(evaluation.Output, Does.Contain("Accuracy: 100.00 %"));
    }

    [Test]
    public void On_a_terminal_a_live_line_follows_the_steps()
    {
        if (!File.Exists("/usr/bin/script"))
        {
            Assert.Ignore("/usr/bin/script, which lends the tool a terminal, is not here");
        }

        ToolResult result = Tool.RunOnTerminal("train", "--data", s_bars, "--network", s_network, "--output", TestFolder.New(), "--epochs", "300");
        Assert.That(result.ExitCode, Is.Zero, result.Output);
        // So small a network trains so many images a second that their number may not leave room for the words behind it.
        Assert.That(result.Output, Does.Match(@"epoch \d+/300  step \d/4  loss \d\.\d{4}  \d+\s+samples/s"));
        Assert.That(result.Output, Does.Match(@"\d:\d\d\s+left"));
        Assert.That(
            result.Output, Does.Match(@"Epoch 300/300  loss \d\.\d{4}  test \d\.\d{4}  accuracy \d+\.\d\d %  \d+ s  \d+\s+samples/s"));
        Assert.That(result.Output, Does.Not.Contain("Average Loss"));
        Assert.That(result.Output, Does.EndWith("model.safetensors\r\n").And.Contain("Training finished"));
    }

    private static Tool.RunningTool Start(string output) => Tool.Start(
        "train", "--data", s_bars, "--network", s_network, "--output", output, "--epochs", "1000000", "--batch-size", "1");

    private static ToolResult Train(string output, params string[] options) =>
        Tool.Run(["train", "--data", s_bars, "--network", s_network, "--output", output, .. options]);
}
