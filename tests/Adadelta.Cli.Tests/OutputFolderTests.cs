using System.Text.Json;
using Adadelta.Training;

namespace Adadelta.Cli.Tests;

/// <summary>An output folder is one run: what happens where there are two.</summary>
internal sealed class OutputFolderTests
{
    private static readonly string s_bars = Bars.CreateFolder();
    private static readonly string s_network = TestFolder.Write("net.json", Bars.Network);
    private static readonly string[] s_train = ["train", "--data", s_bars, "--network", s_network];

    [Test]
    public void Two_runs_at_once_in_one_folder_are_refused_and_a_killed_run_leaves_it_free()
    {
        string output = TestFolder.New();
        using (Tool.RunningTool first = Tool.Start([.. s_train, "--output", output, "--epochs", "1000000"]))
        {
            first.WaitForLine("Epoch [1], ");
            foreach (string[] more in (string[][])[[], ["--overwrite"], ["--resume"]])
            {
                ToolResult second = Tool.Run([.. s_train, "--output", output, .. more]);
                Assert.That(second.ErrorLine, Is.EqualTo($"--output: '{output}' is in use by another run, expected a folder of its own"));
                Assert.That(second.ExitCode, Is.EqualTo(2));
                Assert.That(second.Output, Is.Empty);
            }

            first.Signal("KILL");
            first.WaitForExit();
        }

        Assert.That(Tool.Run([.. s_train, "--output", output, "--overwrite", "--epochs", "1"]).ExitCode, Is.Zero);
    }

    [Test]
    public void An_earlier_run_is_not_written_over_unless_that_is_asked_for()
    {
        string output = TestFolder.New();
        Succeeds(Tool.Run([.. s_train, "--output", output, "--epochs", "2"]));
        Dictionary<string, byte[]> before = Files(output);
        ToolResult refused = Tool.Run([.. s_train, "--output", output, "--epochs", "1"]);
        Assert.That(refused.ErrorLine, Is.EqualTo(
            $"--output: '{output}' holds an earlier run, expected another folder, --overwrite, or --resume to go on with that run"));
        Assert.That(refused.ExitCode, Is.EqualTo(2));
        Assert.That(Files(output), Is.EqualTo(before));

        Succeeds(Tool.Run([.. s_train, "--output", output, "--epochs", "1", "--overwrite"]));
        Assert.That(LossHistory.ReadCsv(In(output, "steps.csv"), In(output, "epochs.csv")).Epochs, Has.Count.EqualTo(1));
    }

    // One line says where the results are, and what reads them finds them.
    [Test]
    public void Without_a_folder_named_each_run_has_its_own_and_the_latest_is_read()
    {
        string current = Directory.CreateDirectory(TestFolder.New("current")).FullName;
        ToolResult Run(params string[] arguments) => Tool.RunIn(current, arguments);

        ToolResult first = Succeeds(Run([.. s_train, "--epochs", "1"]));
        Assert.That(first.Lines[0], Does.StartWith("Data: "));
        Assert.That(first.Lines[^1], Does.StartWith("Written to adadelta-output: "));
        ToolResult second = Succeeds(Run([.. s_train, "--epochs", "2"]));
        Assert.That(second.Lines[0], Is.EqualTo(
            "Output: adadelta-output-2, since adadelta-output holds an earlier run (--overwrite writes over it)"));
        Assert.That(second.Lines[^1], Does.StartWith("Written to adadelta-output-2: "));
        Assert.That(Succeeds(Run("evaluate")).Lines[0], Is.EqualTo($"Model: {In("adadelta-output-2", "model.safetensors")}"));
        Assert.That(Succeeds(Run("train", "--resume", "--epochs", "3")).Lines, Does.Contain($"Resumed: {In("adadelta-output-2", "checkpoint.safetensors")}, epoch 2 after step 4"));

        Succeeds(Run([.. s_train, "--epochs", "1", "--overwrite"]));
        Assert.That(Succeeds(Run("predict", "0", "--data", s_bars)).ExitCode, Is.Zero);
        Assert.That(Succeeds(Run("evaluate")).Lines[0], Is.EqualTo($"Model: {In("adadelta-output", "model.safetensors")}"));
        Assert.That(Directory.GetDirectories(current), Has.Length.EqualTo(2));
    }

    [Test]
    public void A_run_that_fails_before_its_first_step_leaves_no_folder()
    {
        string folder = Bars.CreateFolder(), output = TestFolder.New();
        File.AppendAllText(In(folder, "train-labels-idx1-ubyte"), "x");
        Assert.That(Tool.Run("train", "--data", folder, "--output", output).ExitCode, Is.EqualTo(1));
        Assert.That(output, Does.Not.Exist);
    }

    // Its losses are of no use beside another run's model: what belongs together is in one folder.
    [Test]
    public void A_run_that_fails_mixes_none_of_its_files_with_those_of_an_earlier_one()
    {
        string output = TestFolder.New();
        Succeeds(Tool.Run([.. s_train, "--output", output, "--epochs", "1"]));
        Dictionary<string, byte[]> before = Files(output);
        string[] diverging = [.. s_train, "--epochs", "100", "--lr", "3e38", "--eps", "1e-2"];
        Assert.That(Tool.Run([.. diverging, "--output", output]).ExitCode, Is.EqualTo(2));
        Assert.That(Files(output), Is.EqualTo(before));

        ToolResult failed = Tool.Run([.. diverging, "--output", output, "--overwrite"]);
        Assert.That(failed.ErrorLine, Does.StartWith("training diverged in epoch 1, step "));
        Assert.That(failed.ExitCode, Is.EqualTo(1));
        Assert.That(Files(output).Keys, Is.SubsetOf(["steps.csv", "epochs.csv", "loss.png", "loss.svg", "run.json"]));
        using JsonDocument run = JsonDocument.Parse(File.ReadAllText(In(output, "run.json")));
        JsonElement results = run.RootElement.GetProperty("results");
        Assert.That(results.GetProperty("finished").GetBoolean(), Is.False);
        Assert.That(results.GetProperty("error").GetString(), Does.StartWith("training diverged in epoch 1, step "));
        Assert.That(results.GetProperty("steps").GetInt32(), Is.EqualTo(LossHistory.ReadCsv(In(output, "steps.csv")).Steps.Count));
    }

    [Test]
    public void A_resumed_run_may_not_be_written_over_a_third_one()
    {
        string first = TestFolder.New(), second = TestFolder.New();
        Succeeds(Tool.Run([.. s_train, "--output", first, "--epochs", "1"]));
        Succeeds(Tool.Run([.. s_train, "--output", second, "--epochs", "1"]));
        ToolResult refused = Tool.Run("train", "--resume", first, "--epochs", "2", "--output", second);
        Assert.That(refused.ErrorLine, Does.StartWith($"--output: '{second}' holds an earlier run"));

        string copy = In(second, "copy.safetensors");
        File.Copy(In(first, "checkpoint.safetensors"), copy);
        Assert.That(Tool.Run("train", "--resume", copy, "--epochs", "2").ErrorLine, Does.StartWith($"--output: '{second}' holds an earlier run"));
        Succeeds(Tool.Run("train", "--resume", copy, "--epochs", "2", "--overwrite"));
    }

    private static string In(string folder, string file) => Path.Combine(folder, file);

    private static Dictionary<string, byte[]> Files(string folder) =>
        Directory.GetFiles(folder).Where(file => Path.GetFileName(file) != ".lock").ToDictionary(file => Path.GetFileName(file), File.ReadAllBytes);

    private static ToolResult Succeeds(ToolResult result)
    {
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        return result;
    }
}
