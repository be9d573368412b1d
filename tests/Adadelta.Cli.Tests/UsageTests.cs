namespace Adadelta.Cli.Tests;

internal sealed class UsageTests
{
    [TestCase("--lr NaN", "--lr: NaN, expected a finite number >= 0")]
    [TestCase("--lr -0.1", "--lr: -0.1, expected a finite number >= 0")]
    [TestCase("--lr ∞", "--lr: ∞, expected a finite number >= 0")]
    [TestCase("--lr 0,1", "--lr: 0,1, expected a finite number >= 0")]
    [TestCase("--lr", "--lr: the value is missing")]
    [TestCase("--lr 1 --lr 2", "--lr: given 2 times, expected once")]
    [TestCase("--rho 1.1", "--rho: 1.1, expected 0 <= number <= 1")]
    [TestCase("--eps -1e-6", "--eps: -1e-6, expected a finite number >= 0")]
    [TestCase("--weight-decay x", "--weight-decay: x, expected a finite number >= 0")]
    [TestCase("--epochs 0", "--epochs: 0, expected a whole number >= 1")]
    [TestCase("--epochs 2.5", "--epochs: 2.5, expected a whole number >= 1")]
    [TestCase("--epochs 99999999999", "--epochs: 99999999999, expected a whole number >= 1")]
    [TestCase("--batch-size 0", "--batch-size: 0, expected a whole number from 1 to 65536")]
    [TestCase("--batch-size 65537", "--batch-size: 65537, expected a whole number from 1 to 65536")]
    [TestCase("--limit -5", "--limit: -5, expected a whole number >= 1")]
    [TestCase("--seed -1", "--seed: -1, expected a whole number from 0 to 18446744073709551615")]
    [TestCase("--threads 257", "--threads: 257, expected a whole number from 0 to 256")]
    [TestCase("--device gpu", "--device: gpu, expected auto, cpu, cuda or cuda:N with a number N >= 0")]
    [TestCase("--device cuda:-1", "--device: cuda:-1, expected auto, cpu, cuda or cuda:N with a number N >= 0")]
    [TestCase("--schedule steps", "--schedule: 'steps': 'steps' is not known; expected constant")]
    [TestCase("--schedule step:0", "--schedule: 'step:0': SIZE: 0, expected SIZE >= 1")]
    [TestCase("--data mnits", "--data: 'mnits', expected mnist, digits or an existing folder")]
    [TestCase("--data-dir nowhere", "--data-dir: 'nowhere', expected an existing folder")]
    [TestCase("--momentum 0.9", "'--momentum', expected an option of train (adadelta train --help)")]
    [TestCase("extra", "'extra', expected an option of train (adadelta train --help)")]
    public void A_wrong_option_is_named_with_its_value_and_bound_before_any_work(string arguments, string message)
    {
        string output = TestFolder.New();
        ToolResult result = Tool.Run(["train", "--output", output, .. arguments.Split(' ')]);
        Assert.That(result.ErrorLine, Does.Contain(message));
        Assert.That(result.ExitCode, Is.EqualTo(2));
        Assert.That(result.Output, Is.Empty);
        Assert.That(output, Does.Not.Exist);
    }

    [TestCase("", "a command is missing, expected one of train, evaluate, predict, doctor")]
    [TestCase("trian", "'trian', expected one of train, evaluate, predict, doctor")]
    [TestCase("predict", "Required argument 'IMAGE' missing")]
    [TestCase("predict --modle x 1", "'--modle', expected an option of predict, a PNG file or an index from 0")]
    [TestCase("evaluate --limit 0", "--limit: 0, expected a whole number >= 1")]
    public void A_wrong_command_is_a_usage_error(string arguments, string message)
    {
        ToolResult result = Tool.Run(arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.That(result.ErrorLine, Does.Contain(message));
        Assert.That(result.ExitCode, Is.EqualTo(2));
    }

    // Whatever a library calls it, and wherever it is refused.
    [TestCase("options.LearningRate", "options.LearningRate: 1E+39, expected 0 <= options.LearningRate <= 3.4E+38", "--lr: 1E+39, expected 0 <= --lr <= 3.4E+38")]
    [TestCase("learningRate", "learningRate: NaN, expected learningRate >= 0", "--lr: NaN, expected --lr >= 0")]
    [TestCase("options.Eps", "options.Eps: 1E-60, expected 0 or at least 1E-45 in float32", "--eps: 1E-60, expected 0 or at least 1E-45 in float32")]
    [TestCase("options.WeightDecay", "options.WeightDecay: -1, expected options.WeightDecay >= 0", "--weight-decay: -1, expected --weight-decay >= 0")]
    [TestCase("device.Index", "device.Index: 3, expected 0 <= device.Index < 2", "--device: 3, expected 0 <= --device < 2")]
    [TestCase("threads", "threads: 257, expected 0 <= threads <= 256", "--threads: 257, expected 0 <= --threads <= 256")]
    [TestCase("maxBatchSize", "maxBatchSize: 65536 images need 90 GB, expected at most 8 GB", "--batch-size: 65536 images need 90 GB, expected at most 8 GB")]
    [TestCase("matrix", "matrix: 3 rows, expected 4", "matrix: 3 rows, expected 4", false)]
    public void A_librarys_argument_is_called_by_the_option_that_sets_it(string argument, string message, string expected, bool option = true)
    {
        Assert.That(OptionNames.Translate(new ArgumentOutOfRangeException(argument, message), out bool isOption), Is.EqualTo(expected));
        Assert.That(isOption, Is.EqualTo(option));
    }

    [TestCase("cosine:0", "--schedule: 'cosine:0': EPOCHS: 0, expected EPOCHS >= 1")]
    [TestCase("exponential:-1", "--schedule: 'exponential:-1': GAMMA: -1, expected a finite factor > 0")]
    [TestCase("warmup:3,2", "--schedule: 'warmup:3,2': START: 2, expected 0 < START <= 1")]
    [TestCase("cosine:3,x", "--schedule: 'cosine:3,x': MINIMUM: 'x', expected a number")]
    public void A_wrong_schedule_is_told_in_the_words_of_its_help(string schedule, string message) =>
        Assert.That(Tool.Run("train", "--schedule", schedule).ErrorLine, Is.EqualTo(message));

    [Test]
    public void Help_lists_every_option_of_train_with_the_reference_runs_defaults()
    {
        ToolResult result = Tool.Run("train", "--help");
        Assert.That(result.ExitCode, Is.Zero);
        string[] options =
        [
            "--data", "--data-dir", "--limit", "--epochs", "--batch-size", "--lr", "--rho", "--eps", "--weight-decay", "--schedule",
            "--seed", "--device", "--threads", "--network", "--output", "--overwrite", "--checkpoint-steps",
            "--resume", "--plain",
        ];
        foreach (string option in options)
        {
            Assert.That(result.Output, Does.Contain($"  {option} "));
        }

        foreach (string value in (string[])["10]", "64]", "0.1]", "0.9]", "1E-06]", "adadelta-output, "])
        {
            Assert.That(result.Output, Does.Contain($"[default: {value}"));
        }
    }
}
