using System.Globalization;
using Adadelta.Cli;
using CsvHelper;
using ScottPlot;
using static System.FormattableString;

namespace Adadelta.Benchmarks;

/// <summary>One side of one case.</summary>
/// <param name="Case">Name of the <see cref="Problem"/>.</param>
/// <param name="Threads">Threads of the side.</param>
/// <param name="Side">Whose it is.</param>
/// <param name="MedianMs">Milliseconds a step: median over the rounds.</param>
/// <param name="BestMs">That of the best round.</param>
/// <param name="Ratio">Its time by ours: median over the rounds of the quotient in each.</param>
/// <param name="ImagesPerSecond">0 for an optimizer's step.</param>
/// <param name="GigaflopsPerSecond">0 for an optimizer's step.</param>
/// <param name="GigabytesPerSecond">By 28 bytes a parameter; 0 for a network.</param>
/// <param name="Rounds">Rounds measured.</param>
/// <param name="Agrees">Whether its first steps came to what ours did.</param>
/// <param name="Machine">The CPU.</param>
/// <param name="Measured">When, UTC.</param>
internal sealed record CompareRow(
    string Case, int Threads, string Side, double MedianMs, double BestMs, double Ratio, double ImagesPerSecond,
    double GigaflopsPerSecond, double GigabytesPerSecond, int Rounds, bool Agrees, string Machine, string Measured)
{
    public static CompareRow Of(Problem problem, int threads, Side side, Side ours, bool differs)
    {
        var ms = Statistics.Median(side.Times);
        var network = problem as NetworkProblem;
        return new(
            problem.Name, threads, side.Name, Math.Round(ms, 5), Math.Round(side.Times.Min(), 5),
            Math.Round(Statistics.Median(side.Times.Zip(ours.Times, (theirs, mine) => theirs / mine)), 4),
            Math.Round(network?.Batch / ms * 1e3 ?? 0, 1), Math.Round(network?.Flops() / ms * 1e-6 ?? 0, 2),
            Math.Round((problem as OptimizerProblem)?.Bytes / ms * 1e-6 ?? 0, 2), side.Times.Count, !differs, MachineName(),
            DateTime.UtcNow.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture));
    }

    private static string MachineName()
    {
        using var context = Native.ComputeContext.Create(Native.Device.Cpu);
        return $"{context.DeviceName}, {Environment.ProcessorCount} cores, {context.InstructionSetName}";
    }
}

/// <summary>The rows measured, together with those of earlier runs in the same folder, as CSV, Markdown and a plot.</summary>
internal sealed class CompareReport
{
    private readonly string _folder;
    private readonly List<CompareRow> _rows = [];

    public CompareReport(string folder)
    {
        _folder = folder;
        Directory.CreateDirectory(folder);
        if (File.Exists(CsvPath))
        {
            using CsvReader reader = new(new StreamReader(CsvPath), CultureInfo.InvariantCulture);
            _rows.AddRange(reader.GetRecords<CompareRow>());
        }
    }

    public bool SidesAgree => _rows.TrueForAll(row => row.Agrees);

    private string CsvPath => Path.Combine(_folder, "compare.csv");

    public void Add(List<CompareRow> rows)
    {
        _rows.RemoveAll(old => old.Case == rows[0].Case && old.Threads == rows[0].Threads);
        _rows.AddRange(rows);
        foreach (var row in rows)
        {
            Console.WriteLine(Invariant(
                $"{row.Case,-16} threads {row.Threads}  {row.Side,-30} {row.MedianMs,10:0.0000} ms  x {row.Ratio,7:0.000}  ")
                + (row.GigabytesPerSecond > 0
                    ? Invariant($"{row.GigabytesPerSecond,8:0.0} GB/s")
                    : Invariant($"{row.ImagesPerSecond,8:0} images/s  {row.GigaflopsPerSecond,7:0.0} GFLOP/s")));
        }
    }

    public void Write()
    {
        var order = Problem.All.Select(problem => problem.Name).ToList();
        var rows = _rows.OrderBy(row => order.IndexOf(row.Case)).ThenBy(row => row.Threads).ToList();
        using (CsvWriter writer = new(new StreamWriter(CsvPath), CultureInfo.InvariantCulture))
        {
            writer.WriteRecords(rows);
        }
        List<Comparison> comparisons = [.. rows.GroupBy(row => (row.Case, row.Threads)).Select(group => new Comparison([.. group]))];
        var table = string.Join('\n', Table(comparisons)) + "\n";
        File.WriteAllText(Path.Combine(_folder, "compare.md"), table);
        Console.WriteLine(table);
        var beside = comparisons.FindAll(comparison => comparison.Best is not null);
        if (beside.Count > 0)
        {
            CreatePlot(beside).SaveSvg(Path.Combine(_folder, "compare.svg"), 1000, 60 + 26 * beside.Count);
        }
    }

    private static IEnumerable<string> Table(List<Comparison> comparisons)
    {
        yield return "| case | threads | Adadelta.Native | | TorchSharp as written | times ours | TorchSharp at its best | times ours |";
        yield return "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |";
        foreach (var (ours, written, best) in comparisons.Select(comparison => (comparison.Ours, comparison.Written, comparison.Best)))
        {
            yield return Invariant($"| {ours.Case} | {ours.Threads} | {ours.MedianMs:0.000} ms | ")
                + (ours.GigabytesPerSecond > 0
                    ? Invariant($"{ours.GigabytesPerSecond:0.0} GB/s")
                    : Invariant($"{ours.ImagesPerSecond:0} images/s, {ours.GigaflopsPerSecond:0} GFLOP/s"))
                + Invariant($" | {written?.MedianMs:0.000} ms | {written?.Ratio:0.00} | {best?.MedianMs:0.000} ms | {best?.Ratio:0.00} |");
        }

        // beside the reference at batch 64, which has a goal of its own
        var set = comparisons.FindAll(comparison =>
            comparison.Best is not null && comparison.Ours.GigabytesPerSecond == 0 && comparison.Ours.Case != "reference-64");
        if (set.Count > 0)
        {
            yield return "";
            yield return Invariant(
                $"TorchSharp's best time by ours, geometric mean over the networks but reference-64: {Mean(set):0.00}");
        }

        static double Mean(List<Comparison> set) => Math.Exp(set.Average(comparison => Math.Log(comparison.Best!.Ratio)));
    }

    private static Plot CreatePlot(List<Comparison> comparisons)
    {
        Plot plot = new();
        var written = comparisons.Select((comparison, i) => Bar(i, -0.2, comparison.Written!.Ratio, "#9ec5e8"));
        var best = comparisons.Select((comparison, i) => Bar(i, 0.2, comparison.Best!.Ratio, "#0b4f8a"));
        plot.Add.Bars(written.ToArray()).LegendText = "TorchSharp as written";
        plot.Add.Bars(best.ToArray()).LegendText = "TorchSharp at its best";
        foreach (var bars in plot.GetPlottables<ScottPlot.Plottables.BarPlot>())
        {
            bars.Horizontal = true;
            bars.ValueLabelStyle.FontName = PlotFont.Family;
        }
        plot.Add.VerticalLine(1, color: Colors.Black);
        plot.Title("TorchSharp's time for a step, in times of Adadelta.Native (right of 1: slower)");
        plot.XLabel("times ours");
        plot.YLabel("case, threads");
        plot.ShowLegend(Alignment.UpperRight);
        plot.Axes.Left.SetTicks(
            [.. comparisons.Select((_, i) => (double)-i)],
            [.. comparisons.Select(comparison => Invariant($"{comparison.Ours.Case}, {comparison.Ours.Threads}"))]);
        plot.Axes.SetLimits(0, 1.1 * comparisons.Max(comparison => Math.Min(Most, comparison.Written!.Ratio)), -comparisons.Count, 1);
        PlotFont.Register();
        plot.Font.Set(PlotFont.Family);
        return plot;

        static Bar Bar(int place, double offset, double value, string color) => new()
        {
            Position = -place - offset,
            Value = Math.Min(Most, value),
            Size = 0.38,
            FillColor = Color.FromHex(color),
            LineWidth = 0,
            ValueLabel = Invariant($"{value:0.0}"),
        };
    }

    // where the axis ends: the optimizer's cases go far beyond what the others need
    private const double Most = 12;

    /// <summary>The sides of one case.</summary>
    private sealed record Comparison(CompareRow[] Rows)
    {
        public CompareRow Ours => Rows[0];

        public CompareRow? Written => Array.Find(Rows, row => row.Side == $"{Compare.TorchSharp} as written");

        public CompareRow? Best => Rows
            .Where(row => row.Side.StartsWith(Compare.TorchSharp, StringComparison.Ordinal)).MinBy(row => row.Ratio);
    }
}
