using NUnit.Framework;
using static Adadelta.Training.Tests.TinyProblem;

namespace Adadelta.Training.Tests;

/// <summary>What becomes of a run whose checkpoints can no longer be written, and of the checkpoint that it has.</summary>
internal sealed class DiskFailureTests
{
    private const int BatchSize = 16;
    private readonly ImageDataset _train = Images(3 * BatchSize, seed: 1);

    [Test]
    public void A_disk_that_is_full_is_told_and_leaves_the_old_file()
    {
        using var disk = new SmallDisk(64);
        AtomicFile.Write(disk["file"], stream => stream.Write("old"u8));
        Assert.That(() => AtomicFile.Write(disk["file"], stream => stream.Write(new byte[1 << 20])),
            Throws.TypeOf<IOException>().With.Message.StartsWith($"{disk["file"]}: not written: "));
        Assert.That(File.ReadAllText(disk["file"]), Is.EqualTo("old"));
        Assert.That(disk.Files, Is.EqualTo(new[] { "file" }));
    }

    [Test]
    public void A_disk_that_becomes_full_ends_the_run_with_its_losses_and_the_old_checkpoint() =>
        AssertOldCheckpointStays(disk => disk.Fill());

    [Test]
    public void A_disk_that_becomes_read_only_ends_the_run_with_its_losses_and_the_old_checkpoint() =>
        AssertOldCheckpointStays(disk => disk.MakeReadOnly());

    private void AssertOldCheckpointStays(Action<SmallDisk> fail)
    {
        using var disk = new SmallDisk(64);
        var path = disk["run", "checkpoint.safetensors"];
        using var whole = new Setup();
        var expected = Make(whole, null).Fit(_train, 4);

        using var setup = new Setup();
        var error = Assert.Throws<CheckpointException>(() => Make(setup, path).Fit(_train, 4, new ProgressAction(report =>
        {
            if (report is { Epoch: 2, Finished: not null })
            {
                fail(disk);
            }
        })));
        Assert.That(error.Message, Does.StartWith($"training ended after step 3 of epoch 3: checkpoint {path}: not written: "));
        Assert.That(error.History.Steps, Is.EqualTo(expected.Steps.Take(9)));
        Assert.That(disk.Files.Where(file => file != "filler"), Is.EqualTo(new[] { Path.Combine("run", "checkpoint.safetensors") }));

        using var resumed = new Setup();
        var trainer = Make(resumed, null);
        Assert.That(trainer.Resume(path).Epochs, Has.Count.EqualTo(2));
        Assert.That(trainer.Fit(_train, 4).Steps, Is.EqualTo(expected.Steps));
        Assert.That(resumed.Weights(), Is.EqualTo(whole.Weights()));
    }

    [Test]
    public void A_folder_that_vanishes_during_a_run_is_made_again()
    {
        using var folder = new TemporaryFolder();
        using var setup = new Setup();
        var history = Make(setup, folder["run", "checkpoint"]).Fit(_train, 3, new ProgressAction(report =>
        {
            if (report is { Epoch: 1, Finished: not null })
            {
                Directory.Delete(folder["run"], recursive: true);
            }
        }));
        using var loaded = new Setup();
        Assert.That(Make(loaded, null).Resume(folder["run", "checkpoint"]).Steps, Is.EqualTo(history.Steps));
        Assert.That(loaded.Weights(), Is.EqualTo(setup.Weights()));
    }

    [Test]
    public void A_file_in_the_place_of_a_vanished_folder_ends_the_run_and_is_kept()
    {
        using var folder = new TemporaryFolder();
        using var setup = new Setup();
        var error = Assert.Throws<CheckpointException>(() => Make(setup, folder["run", "checkpoint"]).Fit(
            _train, 3, new ProgressAction(report =>
            {
                if (report is { Epoch: 1, Finished: not null })
                {
                    Directory.Delete(folder["run"], recursive: true);
                    File.WriteAllText(folder["run"], "another's");
                }
            })));
        Assert.That(error.History.Steps, Has.Count.EqualTo(6));
        Assert.That(File.ReadAllText(folder["run"]), Is.EqualTo("another's"));
    }

    [TestCase("a folder")]
    [TestCase("below a file")]
    [TestCase("read-only")]
    public void A_checkpoint_that_cannot_be_written_is_refused_before_the_first_step(string kind)
    {
        using var folder = new TemporaryFolder();
        using var disk = kind == "read-only" ? new SmallDisk(64) : null;
        var path = disk is null ? folder["taken"] : disk["checkpoint"];
        switch (kind)
        {
            case "a folder":
                Directory.CreateDirectory(path);
                break;
            case "below a file":
                File.WriteAllText(path, "another's");
                path = Path.Combine(path, "checkpoint");
                break;
            default:
                disk!.MakeReadOnly();
                break;
        }
        using var setup = new Setup();
        var before = setup.Weights();
        Assert.That(() => Make(setup, path).EnumerateEpochs(_train, 1, new LossHistory()),
            Throws.InstanceOf<IOException>().With.Message.StartsWith($"{path}: cannot be written: "));
        Assert.That(setup.Weights(), Is.EqualTo(before));
    }

    private static Trainer Make(Setup setup, string? checkpoint) =>
        new(setup.Network, setup.Optimizer) { BatchSize = BatchSize, CheckpointPath = checkpoint };
}
