using System.Diagnostics;
using Adadelta.Training;

namespace Adadelta.Reliability.Tests;

/// <summary>
/// Trainings that are killed (SIGKILL) at random moments, every other one while it writes a checkpoint, and go on as a user would have
/// them go on: the newest whole checkpoint loads, and the end is the bits of the run that was never killed.
/// </summary>
[Platform("Linux")]
internal sealed class KillTests
{
    // Weights and state of 2.4 MB, so that a checkpoint takes some milliseconds to write, and one after every step.
    private static readonly string s_network = TestFolder.Write("net.json", """
        {
          "layers": [
            { "type": "flatten" }, { "type": "dropout", "probability": 0.25 }, { "type": "linear", "out_features": 250 },
            { "type": "relu" }, { "type": "linear", "out_features": "classes" }
          ]
        }
        """);

    private static readonly string[] s_training =
    [
        "train", "--data", "digits", "--limit", "320", "--network", s_network, "--batch-size", "16", "--epochs", "30", "--threads", "1",
        "--seed", "5", "--checkpoint-steps", "1",
    ];

    [Test]
    public void A_training_that_is_killed_at_any_moment_goes_on_with_the_same_bits()
    {
        var random = Settings.Draw();
        var kills = Settings.Count(15, 200);
        var never = TestFolder.New("never-killed");
        Succeeds(Tool.Run([.. s_training, "--output", never]));

        int done = 0, inside = 0, restarts = 0, runs = 0;
        while (done < kills)
        {
            var output = TestFolder.New("killed");
            var checkpoint = Path.Combine(output, "checkpoint.safetensors");
            var steps = 0;
            // The last start of a run is not killed.
            for (var left = Math.Min(kills - done, 10); ; left--)
            {
                // Before the first checkpoint there is nothing to go on from.
                var resume = File.Exists(checkpoint);
                restarts += resume || steps == 0 ? 0 : 1;
                string[] arguments = resume ? ["train", "--resume", output, "--threads", "1", "--checkpoint-steps", "1"]
                    : [.. s_training, "--output", output];
                if (left == 0)
                {
                    Succeeds(Tool.Run(arguments));
                    break;
                }
                var before = Unfinished(output);
                if (!KillOne(arguments, output, writing: (done & 1) == 0, random))
                {
                    // It had ended before: there is no more of this run to kill.
                    break;
                }
                done++;
                inside += Unfinished(output).Except(before).Any() ? 1 : 0;
                if (File.Exists(checkpoint))
                {
                    // Whole, and never older than the one before.
                    var found = (int)SafeTensors.Read(checkpoint).Tensors.Single(tensor => tensor.Name == "training.losses").Shape[0];
                    Assert.That(found, Is.GreaterThanOrEqualTo(steps), "steps in the newest checkpoint");
                    steps = found;
                }
                else
                {
                    Assert.That(steps, Is.Zero, "a checkpoint was there and is gone");
                }
            }
            runs++;
            Assert.That(Unfinished(output), Is.Empty, "what killed runs left is removed");
            foreach (var file in (string[])["model.safetensors", "steps.csv"])
            {
                Assert.That(
                    File.ReadAllBytes(Path.Combine(output, file)), Is.EqualTo(File.ReadAllBytes(Path.Combine(never, file))), file);
            }
            Directory.Delete(output, recursive: true);
        }
        TestContext.Out.WriteLine($"{done} kills, {inside} of them inside a write, in {runs} runs");
        Assert.That(inside, Is.GreaterThanOrEqualTo(kills / 3), "kills inside a write");
    }

    // Kills a training after a random number of checkpoints, while the next one is being written or at any moment.
    private static bool KillOne(string[] arguments, string output, bool writing, Random random)
    {
        var before = Unfinished(output);
        using var tool = Tool.Start(arguments);
        tool.WaitForLine("Network: ");
        var wait = Stopwatch.StartNew();
        var moment = TimeSpan.FromMilliseconds(random.Next(400));
        var pause = random.Next(2000);
        while (wait.Elapsed < moment || (writing && !Unfinished(output).Except(before).Any()))
        {
            if (tool.HasExited)
            {
                return false;
            }
        }
        if (writing)
        {
            Thread.SpinWait(pause);
        }
        tool.Kill();
        tool.WaitForExit();
        return true;
    }

    // Files that a writer has begun and not renamed.
    private static string[] Unfinished(string output) =>
        Directory.Exists(output) ? Directory.GetFiles(output, ".*.tmp") : [];

    private static void Succeeds(ToolResult result) => Assert.That(result.ExitCode, Is.Zero, result.Error);
}
