using NUnit.Framework;

namespace Adadelta.Training.Tests;

public class LossHistoryTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    private string StepsPath => _folder["steps.csv"];

    private string EpochsPath => _folder["epochs.csv"];

    private static LossHistory Example()
    {
        var history = new LossHistory();
        history.Add(new StepResult(1, 1, 2.3025851f, 0.1));
        history.Add(new StepResult(1, 2, 1 / 3f, 0.1));
        history.Add(new StepResult(2, 1, float.Epsilon, 0.1 * 0.7));
        history.Add(new StepResult(2, 2, float.MaxValue, 1e-300));
        history.Add(new EpochResult(1, 1.3179592, 0.1 + 0.2, 0.9897, 0.1, 12.5, 1234.5678901234567));
        history.Add(new EpochResult(2, 1e-17, null, null, 0.07, 0.001, 1e9));
        return history;
    }

    [Test]
    public void Another_kind_of_file_is_named()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["steps.csv"], "<html><body>Please log in</body></html>");
        Assert.That(() => LossHistory.ReadCsv(folder["steps.csv"]), Throws.TypeOf<InvalidDataException>().With.Message.StartsWith(
            $"{folder["steps.csv"]}: a web page"));
        Assert.That(() => LossHistory.ReadCsv(folder.FullName), Throws.TypeOf<IOException>().With.Message.EqualTo(
            $"{folder.FullName}: a folder, expected a file"));
    }

    [Test]
    public void The_files_are_the_documented_ones_in_any_culture()
    {
        using (new DecimalComma())
        {
            Example().WriteStepsCsv(StepsPath);
            Example().WriteEpochsCsv(EpochsPath);
        }
        Assert.That(File.ReadAllText(StepsPath), Is.EqualTo(
            "epoch,step,loss,learning_rate\n"
            + "1,1,2.3025851,0.1\n"
            + "1,2,0.33333334,0.1\n"
            + "2,1,1E-45,0.06999999999999999\n"
            + "2,2,3.4028235E+38,1E-300\n"));
        Assert.That(File.ReadAllText(EpochsPath), Is.EqualTo(
            "epoch,average_loss,test_loss,test_accuracy,learning_rate,seconds,samples_per_second\n"
            + "1,1.3179592,0.30000000000000004,0.9897,0.1,12.5,1234.5678901234567\n"
            + "2,1E-17,,,0.07,0.001,1000000000\n"));
        Assert.That(File.ReadAllBytes(StepsPath)[0], Is.EqualTo((byte)'e'), "no byte order mark");
    }

    [Test]
    public void What_is_written_is_read_back_to_the_bit_in_any_culture()
    {
        using var culture = new DecimalComma();
        var history = Example();
        history.WriteCsv(StepsPath);
        history.WriteEpochsCsv(EpochsPath);
        var read = LossHistory.ReadCsv(StepsPath, EpochsPath);
        Assert.That(read.Steps, Is.EqualTo(history.Steps));
        Assert.That(read.Epochs, Is.EqualTo(history.Epochs));
        Assert.That(read.Cancelled, Is.False);
        Assert.That(LossHistory.ReadCsv(StepsPath).Epochs, Is.Empty);
    }

    [Test]
    public void Any_float_and_double_survives_the_files()
    {
        var random = new Random(1);
        var history = new LossHistory();
        for (var i = 1; i <= 2000; i++)
        {
            var rate = Math.Abs(BitConverter.Int64BitsToDouble(random.NextInt64(long.MinValue, long.MaxValue)));
            history.Add(new StepResult(1, i, BitConverter.Int32BitsToSingle(random.Next(int.MinValue, int.MaxValue)), rate));
        }
        history.WriteStepsCsv(StepsPath);
        var read = LossHistory.ReadCsv(StepsPath);
        // NaN and infinities are among them
        Assert.That(read.Steps.Select(Bits), Is.EqualTo(history.Steps.Select(Bits)));

        static (float, double) Bits(StepResult step) =>
            (float.IsNaN(step.Loss) ? float.NaN : step.Loss, double.IsNaN(step.LearningRate) ? double.NaN : step.LearningRate);
    }

    [Test]
    public void A_history_without_rows_is_a_header()
    {
        new LossHistory().WriteStepsCsv(StepsPath);
        new LossHistory().WriteEpochsCsv(EpochsPath);
        var read = LossHistory.ReadCsv(StepsPath, EpochsPath);
        Assert.That(read.Steps, Is.Empty);
        Assert.That(read.Epochs, Is.Empty);
    }

    [Test]
    public void A_file_from_another_editor_is_read()
    {
        File.WriteAllText(StepsPath, "\uFEFFepoch,step,loss,learning_rate\r\n1,1,\"0.5\",1\r\n\r\n1,2,0.25,1\r\n");
        var expected = new[] { new StepResult(1, 1, 0.5f, 1), new StepResult(1, 2, 0.25f, 1) };
        Assert.That(LossHistory.ReadCsv(StepsPath).Steps, Is.EqualTo(expected));
    }

    // What a program that is published trimmed does (PackageTests publishes one).
    [Test]
    [NonParallelizable]
    public void Without_CsvHelper_the_files_are_the_same_and_are_read_alike()
    {
        Example().WriteStepsCsv(StepsPath);
        Example().WriteEpochsCsv(EpochsPath);
        AppContext.SetSwitch(Csv.Switch, false);
        try
        {
            Example().WriteStepsCsv(_folder["plain-steps.csv"]);
            Example().WriteEpochsCsv(_folder["plain-epochs.csv"]);
            Assert.That(File.ReadAllBytes(_folder["plain-steps.csv"]), Is.EqualTo(File.ReadAllBytes(StepsPath)));
            Assert.That(File.ReadAllBytes(_folder["plain-epochs.csv"]), Is.EqualTo(File.ReadAllBytes(EpochsPath)));
            var read = LossHistory.ReadCsv(StepsPath, EpochsPath);
            Assert.That(read.Steps, Is.EqualTo(Example().Steps));
            Assert.That(read.Epochs, Is.EqualTo(Example().Epochs));

            File.WriteAllText(StepsPath, "epoch,step,loss,learning_rate\r\n1,1,0.5,1\r\n\r\n1,two,0.5,1\r\n");
            Assert.That(
                () => LossHistory.ReadCsv(StepsPath),
                Throws.TypeOf<InvalidDataException>().With.Message.EqualTo(
                    $"{StepsPath}, line 4, column step: 'two', expected a whole number"));
            File.WriteAllText(StepsPath, "epoch,step,loss,learning_rate\n1,1,\"0.5\",1\n");
            Assert.That(
                () => LossHistory.ReadCsv(StepsPath),
                Throws.TypeOf<InvalidDataException>().With.Message.EqualTo(
                    $"{StepsPath}, line 2: '1,1,\"0.5\",1', expected comma-separated values without quotes"));
        }
        finally
        {
            AppContext.SetSwitch(Csv.Switch, true);
        }
    }

    [TestCase("", "line 1: nothing, expected the header 'epoch,step,loss,learning_rate'")]
    [TestCase("epoch,step,loss\n1,1,2\n", "line 1: header 'epoch,step,loss', expected 'epoch,step,loss,learning_rate'")]
    [TestCase("epoch,step,loss,learning_rate\n1,1,0.5,1\n1,two,0.5,1\n", "line 3, column step: 'two', expected a whole number")]
    [TestCase("epoch,step,loss,learning_rate\n1,1,\"0,5\",1\n", "line 2, column loss: '0,5', expected a number")]
    [TestCase("epoch,step,loss,learning_rate\n1,1,0.5,\n", "line 2, column learning_rate: '', expected a number")]
    [TestCase("epoch,step,loss,learning_rate\n1.5,1,0.5,1\n", "line 2, column epoch: '1.5', expected a whole number")]
    [TestCase("epoch,step,loss,learning_rate\n1,1,0.5\n", "line 2: 3 values in '1,1,0.5', expected 4")]
    [TestCase("epoch,step,loss,learning_rate\n1,1,0,5,1\n", "line 2: 5 values in '1,1,0,5,1', expected 4")]
    [TestCase("epoch,step,loss,learning_rate\n0,1,0.5,1\n", "line 2, column epoch: '0', expected epoch >= 1")]
    [TestCase("epoch,step,loss,learning_rate\n1,1,0.5,1\n\n1,1,0.5,1\n", "line 4, column step: '1', expected step >= 2")]
    [TestCase("epoch,step,loss,learning_rate\n2,1,0.5,1\n1,2,0.5,1\n", "line 3, column epoch: '1', expected epoch >= 2")]
    [TestCase("epoch,step,loss,learning_rate\n1,1,0.5,1\n1,2,\"0.5\"x,1\n",
        "line 3: '1,2,\"0.5\"x,1', expected comma-separated values")]
    public void A_malformed_step_file_is_named_with_line_column_and_value(string text, string message)
    {
        File.WriteAllText(StepsPath, text);
        Assert.That(() => LossHistory.ReadCsv(StepsPath),
            Throws.TypeOf<InvalidDataException>().With.Message.StartsWith($"{StepsPath}, {message}"));
    }

    [TestCase("1,0.5,,,0.1,1\n", "line 2: 6 values")]
    [TestCase("1,0.5,,,0.1,1,x\n", "line 2, column samples_per_second: 'x', expected a number")]
    [TestCase("1,,,,0.1,1,1\n", "line 2, column average_loss: '', expected a number")]
    [TestCase("1,0.5,,98%,0.1,1,1\n", "line 2, column test_accuracy: '98%', expected a number")]
    [TestCase("1,0.5,,,0.1,1,1\n1,0.5,,,0.1,1,1\n", "line 3, column epoch: '1', expected epoch >= 2")]
    public void A_malformed_epoch_file_is_named_with_line_column_and_value(string rows, string message)
    {
        new LossHistory().WriteStepsCsv(StepsPath);
        File.WriteAllText(
            EpochsPath, "epoch,average_loss,test_loss,test_accuracy,learning_rate,seconds,samples_per_second\n" + rows);
        Assert.That(() => LossHistory.ReadCsv(StepsPath, EpochsPath),
            Throws.TypeOf<InvalidDataException>().With.Message.StartsWith($"{EpochsPath}, {message}"));
    }

    [Test]
    public void A_missing_file_is_reported_as_such()
    {
        Assert.That(() => LossHistory.ReadCsv(StepsPath), Throws.TypeOf<FileNotFoundException>());
    }

    [Test]
    public void Rows_out_of_order_are_refused()
    {
        var history = Example();
        Assert.That(() => history.Add(new StepResult(2, 2, 0, 0)),
            Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.StartsWith("step: 2, expected step >= 3"));
        Assert.That(() => history.Add(new StepResult(1, 3, 0, 0)),
            Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.StartsWith("epoch: 1, expected epoch >= 2"));
        Assert.That(() => history.Add(history.Epochs[1]),
            Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.StartsWith("epoch: 2, expected epoch >= 3"));
        Assert.That(history.Steps, Has.Count.EqualTo(4));
    }
}
