using System.Diagnostics;

namespace Adadelta.Reliability.Tests;

/// <summary>
/// Trainings that are killed (SIGKILL) at random moments, every other one while it writes a file, and go on as a user would have
/// them go on: the newest whole checkpoint loads, and the end is the bits of the run that was never killed.
/// </summary>
[Platform("Linux")]
internal sealed class KillTests
{
    [Test]
    public void A_training_that_is_killed_at_any_moment_goes_on_with_the_same_bits()
    {
        var random = Settings.Draw();
        var kills = Settings.Count(14, 200);
        int done = 0, inside = 0, runs = 0;
        while (done < kills)
        {
            var output = TestFolder.New("killed");
            var steps = 0;
            // The last start of a run is not killed, and neither is one that ends before.
            for (var left = Math.Min(kills - done, 7); ; left--)
            {
                // Before the first checkpoint there is nothing to go on from.
                var resumes = File.Exists(Training.Checkpoint(output));
                Assert.That(resumes || steps == 0, "a checkpoint was there and is gone");
                string[] arguments = resumes ? Training.Resume(output, output) : [.. Training.Arguments, "--output", output];
                if (left == 0)
                {
                    Training.AssertSucceeds(Tool.Run(arguments));
                    break;
                }
                var before = Unfinished(output);
                if (!KillOne(arguments, output, writing: (done & 1) == 0, random))
                {
                    break;
                }
                done++;
                inside += Unfinished(output).Except(before).Any() ? 1 : 0;
                if (File.Exists(Training.Checkpoint(output)))
                {
                    // Whole, and never older than the one before.
                    var found = Training.Steps(output);
                    Assert.That(found, Is.GreaterThanOrEqualTo(steps), "steps in the newest checkpoint");
                    steps = found;
                }
            }
            runs++;
            Assert.That(Unfinished(output), Is.Empty, "what killed runs left is removed");
            Training.AssertSameEnd(output);
            Directory.Delete(output, recursive: true);
        }
        TestContext.Out.WriteLine($"{done} kills, {inside} of them inside a write, in {runs} runs");
        Assert.That(inside, Is.GreaterThanOrEqualTo(kills / 3), "kills inside a write");
    }

    // After a random time, and at once or as soon as the next file is being written. False where the training has ended before.
    private static bool KillOne(string[] arguments, string output, bool writing, Random random)
    {
        var before = Unfinished(output);
        using var tool = Tool.Start(arguments);
        tool.WaitForLine("Network: ");
        var running = Stopwatch.StartNew();
        var moment = TimeSpan.FromMilliseconds(random.Next(300));
        while (running.Elapsed < moment || (writing && !Unfinished(output).Except(before).Any()))
        {
            if (tool.HasExited)
            {
                break;
            }
        }
        if (writing)
        {
            Thread.SpinWait(random.Next(2000));
        }
        tool.Kill();
        return tool.WaitForExit().ExitCode != 0;
    }

    // Files that a writer has begun and not renamed.
    private static string[] Unfinished(string output) => Directory.Exists(output) ? Directory.GetFiles(output, ".*.tmp") : [];
}
