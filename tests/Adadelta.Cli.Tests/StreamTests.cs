using Adadelta.Training;

namespace Adadelta.Cli.Tests;

/// <summary>What the tool does where nobody can take its output, and where it is told to stop more than once.</summary>
[Platform("Unix")]
internal sealed class StreamTests
{
    private static readonly string s_bars = Bars.CreateFolder();
    private static readonly string s_network = TestFolder.Write("net.json", Bars.Network);
    private static readonly string[] s_train = ["train", "--data", s_bars, "--network", s_network];

    [OneTimeSetUp]
    public void NeedsFullDevice()
    {
        if (!File.Exists("/dev/full"))
        {
            Assert.Ignore("/dev/full, a disk that is always full, is not here");
        }
    }

    [Test]
    public void Streams_that_are_closed_cost_nothing_that_was_trained()
    {
        string output = TestFolder.New();
        ToolResult result = Tool.RunInShell("\"$@\" >&-", [.. s_train, "--epochs", "2", "--output", output]);
        Assert.That(result.ErrorLine, Does.StartWith("stdout: not written: "));
        Assert.That(result.ExitCode, Is.EqualTo(1));
        Assert.That(Path.Combine(output, "model.safetensors"), Does.Exist);

        output = TestFolder.New();
        result = Tool.RunInShell("\"$@\" 2>&-", [.. s_train, "--epochs", "2", "--threads", "200", "--output", output]);
        Assert.That(result.ExitCode, Is.Zero, "the warning of so many threads cannot be written, and nothing else is wrong");
        Assert.That(Path.Combine(output, "model.safetensors"), Does.Exist);
        Assert.That(Tool.RunInShell("\"$@\" 2>&-", ["evaluate", "--model", "nowhere"]).ExitCode, Is.EqualTo(2));
    }

    [Test]
    public void A_full_disk_behind_stdout_costs_nothing_that_was_trained_and_is_named()
    {
        string output = TestFolder.New();
        ToolResult result = Tool.RunInShell("\"$@\" > /dev/full", [.. s_train, "--epochs", "3", "--output", output]);
        Assert.That(result.ErrorLine, Does.StartWith("stdout: not written: No space left on device"));
        Assert.That(result.ExitCode, Is.EqualTo(1));
        Assert.That(LossHistory.ReadCsv(Path.Combine(output, "steps.csv"), Path.Combine(output, "epochs.csv")).Epochs, Has.Count.EqualTo(3));
        Assert.That(Directory.GetFiles(output).Select(Path.GetFileName), Does.Contain("model.safetensors").And.Contain("loss.svg").And.Contain("run.json"));

        foreach (string[] command in (string[][])[["evaluate", "--model", output], ["predict", "--model", output, "0"], ["doctor"], ["train", "--help"]])
        {
            result = Tool.RunInShell("\"$@\" > /dev/full", command);
            Assert.That(result.ErrorLine, Does.StartWith("stdout: not written: "), command[0]);
            Assert.That(result.ExitCode, Is.EqualTo(1), command[0]);
        }
    }

    [Test]
    public void A_full_disk_behind_stderr_leaves_the_exit_code() =>
        Assert.That(Tool.RunInShell("\"$@\" 2> /dev/full", ["train", "--lr", "x"]).ExitCode, Is.EqualTo(2));

    // As head does: it takes its line and goes. The run has no less to save for that.
    [Test]
    public void A_training_whose_reader_has_gone_is_trained_and_saved_to_its_end()
    {
        string output = TestFolder.New();
        ToolResult result = Tool.RunInShell(
            "{ \"$@\"; echo $? > \"$CODE\"; } | head -n 1", [.. s_train, "--epochs", "200", "--output", output], ("CODE", output + ".code"));
        Assert.That(result.Lines, Has.Length.EqualTo(1));
        Assert.That(result.Error, Is.Empty);
        Assert.That(File.ReadAllText(output + ".code"), Is.EqualTo("0\n"));
        Assert.That(LossHistory.ReadCsv(Path.Combine(output, "steps.csv"), Path.Combine(output, "epochs.csv")).Epochs, Has.Count.EqualTo(200));
    }

    // A terminal that closes takes stdout and stderr away and may send SIGHUP more than once.
    [Test]
    public void A_terminal_that_closes_stops_the_training_with_all_that_was_trained_saved()
    {
        Tool.SkipWhereIgnored("HUP");
        string output = TestFolder.New();
        using Tool.RunningTool training = Tool.Start([.. s_train, "--output", output, "--epochs", "1000000"]);
        training.WaitForLine("Epoch [2], ");
        training.Signal("HUP");
        training.Signal("HUP");
        Assert.That(training.WaitForExit().ExitCode, Is.EqualTo(130));
        Assert.That(LossHistory.ReadCsv(Path.Combine(output, "steps.csv")).Steps, Is.Not.Empty);
        Assert.That(Path.Combine(output, "model.safetensors"), Does.Exist);
    }

    [Test]
    public void A_second_ctrl_c_ends_the_process_at_once_and_leaves_no_temporary_file()
    {
        // The second signal may come when all is saved already: then it is no second one, and another round is needed.
        for (int round = 0; round < 20; round++)
        {
            string output = TestFolder.New();
            using Tool.RunningTool training = Tool.StartInShell(
                // A background job of a shell ignores SIGINT; this one is told not to.
                "exec env --default-signal=INT \"$@\"", [.. s_train, "--output", output, "--epochs", "1000000"]);
            training.WaitForLine("Epoch [2], ");
            string temporary = Path.Combine(output, ".adadelta-abcdefgh.ijk.tmp");
            // As its writer has it: no other writer takes it for one that was left over.
            using (new FileStream(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None))
            {
                training.Signal("INT");
                training.TrySignal("INT");
                ToolResult result = training.WaitForExit();
                if (!result.Output.Contains("Written to", StringComparison.Ordinal))
                {
                    Assert.That(result.ExitCode, Is.EqualTo(130));
                    Assert.That(temporary, Does.Not.Exist);
                    return;
                }
            }
        }

        Assert.Fail("no second signal came in time");
    }
}
