using Adadelta.Training;
using static System.FormattableString;

namespace Adadelta.Cli;

/// <summary>The reference run's lines: a loss every 100 steps, and each epoch's mean over a rule of 50 dashes.</summary>
internal sealed class PlainLines(TextWriter output) : IProgress<TrainingProgress>
{
    private const int StepsBetweenLines = 100;

    private static readonly string s_rule = new('-', 50);

    public void Report(TrainingProgress value)
    {
        if (value.Step % StepsBetweenLines == 0)
        {
            output.WriteLine(
                Invariant($"Epoch [{value.Epoch}/{value.Epochs}], Step [{value.Step}/{value.Steps}], Loss: {value.Loss:0.0000}"));
        }

        if (value.Finished is { } epoch)
        {
            output.WriteLine(Invariant($"Epoch [{epoch.Epoch}], Average Loss: {epoch.AverageLoss:0.0000}"));
            output.WriteLine(s_rule);
        }
    }
}
