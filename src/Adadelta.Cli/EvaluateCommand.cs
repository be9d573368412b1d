using System.CommandLine;
using System.Globalization;
using Adadelta.Native;
using Adadelta.Training;
using static System.FormattableString;

namespace Adadelta.Cli;

/// <summary><c>adadelta evaluate</c>: how a trained model reads a data set's test images.</summary>
internal static class EvaluateCommand
{
    // Beyond this the matrix is wider than a terminal, and the confusions are listed instead.
    private const int MostMatrixClasses = 16;
    private const int ListedConfusions = 20;

    public static Command Create()
    {
        Option<string?> model = CommonOptions.Model();
        Option<string?> network = CommonOptions.Network("Network of the model [default: the one that the model holds]");
        Option<string?> data = CommonOptions.Data(
            "Images: MNIST, drawn digits, or a folder of IDX files [default: those the model was trained with]");
        Option<string?> dataDir = CommonOptions.DataDir();
        Option<bool> transpose = CommonOptions.Transpose();
        Option<int?> limit = CommonOptions.Count("--limit", "Read the first N test images only");
        Option<Device> device = CommonOptions.Device();
        Option<int> threads = CommonOptions.Threads();
        Command command = new("evaluate", "Test a trained model: accuracy, loss and confusion matrix")
        {
            model, network, data, dataDir, transpose, limit, device, threads,
        };
        command.SetAction(result => Run(
            result.GetValue(model), result.GetValue(network), result.GetValue(data), result.GetValue(dataDir),
            result.GetValue(transpose), result.GetValue(limit), result.GetValue(device), result.GetValue(threads)));
        return command;
    }

    private static int Run(
        string? modelPath, string? networkFile, string? dataChoice, string? dataDir, bool transpose, int? limit, Device device, int threads)
    {
        SavedModel model = SavedModel.Find(modelPath, networkFile);
        using StopSignal stop = new();
        using ComputeContext context = CommonOptions.OpenContext(device, threads);
        DataSource data = model.OpenData(dataChoice, dataDir, transpose, stop.Token);
        using Network network = model.Build(context, data);
        ImageDataset images = limit is { } most && most < data.Split.Test.Count ? data.Split.Test.Take(most) : data.Split.Test;

        Console.WriteLine($"Model: {model.Weights}");
        Console.WriteLine(
            $"Data: {data.Split.Name} ({data.Split.Source}), {images.Count} test images of {images.Shape} "
            + $"in {images.Classes} classes");
        Console.WriteLine(RunDevice.Of(context));
        Evaluation evaluation;
        try
        {
            evaluation = Trainer.Evaluate(network, images, stop.Token);
        }
        catch (NotFiniteNumberException e)
        {
            throw model.NotNumbers(e.Message);
        }

        Console.WriteLine(Invariant($"Accuracy: {100 * evaluation.Accuracy:0.00} %"));
        Console.WriteLine(Invariant($"Loss: {evaluation.Loss:0.0000}"));
        Console.WriteLine();
        WriteConfusions(evaluation.ConfusionMatrix, Console.Out);
        return ExitCode.Ok;
    }

    private static void WriteConfusions(int[,] matrix, TextWriter output)
    {
        int classes = matrix.GetLength(0);
        if (classes <= MostMatrixClasses)
        {
            WriteMatrix(matrix, classes, output);
            return;
        }

        var confusions = Enumerable.Range(0, classes * classes)
            .Select(place => (True: place / classes, Predicted: place % classes, Count: matrix[place / classes, place % classes]))
            .Where(cell => cell.True != cell.Predicted && cell.Count > 0)
            .OrderByDescending(cell => cell.Count)
            .ToList();
        output.WriteLine($"Most frequent of {confusions.Count} kinds of confusion:");
        foreach (var (actual, predicted, count) in confusions.Take(ListedConfusions))
        {
            output.WriteLine(Invariant($"{count,6} x  {actual} read as {predicted}"));
        }
    }

    private static void WriteMatrix(int[,] matrix, int classes, TextWriter output)
    {
        int width = Math.Max(5, matrix.Cast<int>().Max().ToString(CultureInfo.InvariantCulture).Length + 1);
        string Cell(object value) => Convert.ToString(value, CultureInfo.InvariantCulture)!.PadLeft(width);

        output.WriteLine("Confusion matrix (rows: true class, columns: predicted class):");
        output.WriteLine($"{"",5} |{string.Concat(Enumerable.Range(0, classes).Select(predicted => Cell(predicted)))} |  right");
        string rule = $"{new string('-', 6)}+{new string('-', (classes * width) + 1)}+---------";
        output.WriteLine(rule);
        for (int actual = 0; actual < classes; actual++)
        {
            int[] row = [.. Enumerable.Range(0, classes).Select(predicted => matrix[actual, predicted])];
            int total = row.Sum();
            // A dot keeps the eye on what is there; a class without images has no share.
            string cells = string.Concat(row.Select(count => Cell(count == 0 ? "." : count)));
            string share = total == 0 ? "-" : Invariant($"{100.0 * row[actual] / total:0.0} %");
            output.WriteLine($"{actual.ToString(CultureInfo.InvariantCulture),5} |{cells} | {share,7}");
        }
    }
}
