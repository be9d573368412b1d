using Adadelta.Training;
using ScottPlot;
using ScottPlot.TickGenerators;
using static System.FormattableString;

namespace Adadelta.Cli;

/// <summary>
/// The loss curve: every step's loss in the background, the epochs' means in front, over a logarithmic axis, since a loss falls
/// by orders of magnitude and its end is what is looked at. Epoch e lies between e - 0.5 and e + 0.5, its mean at e.
/// </summary>
internal static class LossPlot
{
    private const int Width = 1000;
    private const int Height = 600;

    // A loss of 0 has no logarithm; nothing below this can be told from 0 in a float's cross-entropy.
    private const double LeastLoss = 1e-7;

    /// <summary>Writes the curve as PNG and SVG.</summary>
    /// <param name="history">At least one step.</param>
    /// <param name="pngPath">File to write.</param>
    /// <param name="svgPath">File to write.</param>
    public static void Write(LossHistory history, string pngPath, string svgPath)
    {
        using Plot plot = Draw(history);
        byte[] png = plot.GetImageBytes(Width, Height, ImageFormat.Png);
        AtomicFile.Write(pngPath, stream => stream.Write(png));
        string svg = plot.GetSvgXml(Width, Height);
        AtomicFile.Write(svgPath, stream =>
        {
            using StreamWriter writer = new(stream, leaveOpen: true);
            writer.Write(svg);
        });
    }

    private static Plot Draw(LossHistory history)
    {
        Plot plot = new();
        IReadOnlyList<StepResult> steps = history.Steps;
        int first = steps[0].Epoch;
        // A stopped run may hold no whole epoch; its longest one is then the best measure there is.
        int stepsPerEpoch = steps.Max(step => step.Step);
        double[] losses = [.. steps.Select(step => Logarithm(step.Loss))];

        var curve = plot.Add.Signal(losses, 1.0 / stepsPerEpoch, Color.FromHex("#9ec5e8"));
        curve.Data.XOffset = first - 0.5 + (0.5 / stepsPerEpoch);
        curve.MaximumMarkerSize = 0;
        curve.LegendText = "each step";
        if (history.Epochs.Count > 0)
        {
            var means = plot.Add.Scatter(
                history.Epochs.Select(epoch => (double)epoch.Epoch).ToArray(),
                history.Epochs.Select(epoch => Logarithm(epoch.AverageLoss)).ToArray(),
                Color.FromHex("#0b4f8a"));
            means.LineWidth = 2.5f;
            means.MarkerSize = 8;
            means.LegendText = "mean of the epoch";
        }

        plot.Title("Loss curve");
        plot.XLabel("Epoch");
        plot.YLabel("Loss");
        plot.ShowLegend(Alignment.UpperRight);
        PlotFont.Register();
        plot.Font.Set(PlotFont.Family);
        plot.Axes.SetLimitsX(first - 0.5, steps[^1].Epoch + 0.5);
        double low = losses.Min();
        double high = losses.Max();
        double margin = Math.Max(0.05 * (high - low), 0.02);
        plot.Axes.SetLimitsY(low - margin, high + margin);
        plot.Axes.Left.TickGenerator = LossTicks(low - margin, high + margin);
        plot.Axes.Bottom.TickGenerator = new NumericAutomatic
        {
            IntegerTicksOnly = true,
            MinorTickGenerator = new EvenlySpacedMinorTickGenerator(1),
        };
        return plot;
    }

    private static double Logarithm(double loss) => Math.Log10(Math.Max(loss, LeastLoss));

    // Labels at 1, 2 and 5 times a power of ten while the range is short enough for them, else at the powers alone; where it is so
    // short that not even two of them are in it, at equal steps.
    private static NumericManual LossTicks(double low, double high)
    {
        NumericManual ticks = new();
        bool dense = high - low < 2.5;
        int labels = 0;
        for (int power = (int)Math.Floor(low); power <= (int)Math.Ceiling(high); power++)
        {
            for (int digit = 1; digit <= 9; digit++)
            {
                double position = power + Math.Log10(digit);
                if (position < low || position > high)
                {
                    continue;
                }

                if (digit == 1 || (dense && digit is 2 or 5))
                {
                    ticks.AddMajor(position, Label(digit * Math.Pow(10, power)));
                    labels++;
                }
                else
                {
                    ticks.AddMinor(position);
                }
            }
        }

        return labels < 2 ? EqualTicks(Math.Pow(10, low), Math.Pow(10, high)) : ticks;
    }

    private static NumericManual EqualTicks(double least, double most)
    {
        const int Steps = 4;
        NumericManual ticks = new();
        double power = Math.Pow(10, Math.Floor(Math.Log10((most - least) / Steps)));
        double step = power * ((double[])[1, 2, 5, 10]).First(factor => factor * power * Steps >= most - least);
        for (double number = Math.Ceiling(least / step); number * step <= most; number++)
        {
            ticks.AddMajor(Math.Log10(number * step), Label(number * step));
        }

        return ticks;
    }

    private static string Label(double loss) => Invariant($"{loss:0.#######}");
}
