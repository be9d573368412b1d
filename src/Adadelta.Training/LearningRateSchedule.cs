using System.Globalization;

namespace Adadelta.Training;

/// <summary>
/// How the learning rate changes from epoch to epoch: PyTorch's schedulers by their closed formulas, so that the rate of an
/// epoch depends on the epoch alone and a resumed run needs no scheduler state.
/// </summary>
/// <remarks>
/// Epochs count from 0, as PyTorch's <c>last_epoch</c>. Derive from this class for a schedule of your own.
/// Source: <see href="https://docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"/>.
/// </remarks>
public abstract class LearningRateSchedule
{
    private const string Forms =
        "constant, step:SIZE[,GAMMA], exponential:GAMMA, cosine:EPOCHS[,MINIMUM] or warmup:EPOCHS[,START][+SCHEDULE]";

    private static readonly LearningRateSchedule s_constant = new ConstantSchedule();

    /// <summary>The learning rate of an epoch.</summary>
    /// <param name="initial">The rate that the schedule starts from, finite and at least 0.</param>
    /// <param name="epoch">The epoch, from 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of its bounds.</exception>
    public double GetLearningRate(double initial, int epoch)
    {
        Require.That(double.IsFinite(initial) && initial >= 0, nameof(initial), initial, "a finite rate >= 0");
        Require.That(epoch >= 0, nameof(epoch), epoch, "epoch >= 0");
        return Compute(initial, epoch);
    }

    /// <summary>The learning rate of an epoch; the arguments have been checked.</summary>
    /// <param name="initial">The rate that the schedule starts from.</param>
    /// <param name="epoch">The epoch, from 0.</param>
    protected abstract double Compute(double initial, int epoch);

    /// <summary>The optimizer's own rate throughout; a <see cref="Trainer"/> then leaves the optimizer's rates alone.</summary>
    public static LearningRateSchedule Constant() => s_constant;

    /// <summary>
    /// <c>torch.optim.lr_scheduler.StepLR</c>: <c>initial * gamma^(epoch / stepSize)</c>, the exponent rounded down.
    /// </summary>
    /// <param name="stepSize">Epochs between two changes, at least 1.</param>
    /// <param name="gamma">The factor of each change, finite and above 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of its bounds.</exception>
    public static LearningRateSchedule Step(int stepSize, double gamma = 0.1)
    {
        Require.That(stepSize >= 1, nameof(stepSize), stepSize, "stepSize >= 1");
        RequireGamma(gamma);
        return new StepSchedule(stepSize, gamma);
    }

    /// <summary><c>torch.optim.lr_scheduler.ExponentialLR</c>: <c>initial * gamma^epoch</c>.</summary>
    /// <param name="gamma">The factor of each epoch, finite and above 0.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="gamma"/> is out of its bounds.</exception>
    public static LearningRateSchedule Exponential(double gamma)
    {
        RequireGamma(gamma);
        return new ExponentialSchedule(gamma);
    }

    /// <summary>
    /// <c>torch.optim.lr_scheduler.CosineAnnealingLR</c>:
    /// <c>minimum + (initial - minimum) * (1 + cos(pi * epoch / epochs)) / 2</c>. Past <paramref name="epochs"/> it rises
    /// again, as PyTorch's does.
    /// </summary>
    /// <param name="epochs">PyTorch's <c>T_max</c>: the epoch that has the minimum, at least 1.</param>
    /// <param name="minimum">PyTorch's <c>eta_min</c>: the lowest rate, finite and at least 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of its bounds.</exception>
    public static LearningRateSchedule Cosine(int epochs, double minimum = 0)
    {
        Require.That(epochs >= 1, nameof(epochs), epochs, "epochs >= 1");
        Require.That(double.IsFinite(minimum) && minimum >= 0, nameof(minimum), minimum, "a finite rate >= 0");
        return new CosineSchedule(epochs, minimum);
    }

    /// <summary>
    /// Puts a linear warm-up before this schedule: <c>torch.optim.lr_scheduler.LinearLR(start_factor, 1, epochs)</c>, that is
    /// <c>initial * (startFactor + (1 - startFactor) * epoch / epochs)</c>, then this schedule from its own epoch 0, as
    /// <c>SequentialLR</c> with the milestone <paramref name="epochs"/> joins them.
    /// </summary>
    /// <param name="epochs">Epochs of the warm-up, at least 1.</param>
    /// <param name="startFactor">The factor of the first epoch, above 0 and at most 1; PyTorch's default is 1/3.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of its bounds.</exception>
    public LearningRateSchedule WithWarmup(int epochs, double startFactor = 1.0 / 3)
    {
        Require.That(epochs >= 1, nameof(epochs), epochs, "epochs >= 1");
        Require.That(startFactor is > 0 and <= 1, nameof(startFactor), startFactor, "0 < startFactor <= 1");
        return new WarmupSchedule(epochs, startFactor, this);
    }

    /// <summary>
    /// Reads a schedule: <c>constant</c>, <c>step:SIZE[,GAMMA]</c>, <c>exponential:GAMMA</c>, <c>cosine:EPOCHS[,MINIMUM]</c> or
    /// <c>warmup:EPOCHS[,START][+SCHEDULE]</c>, e.g. <c>warmup:2+cosine:10</c>. Numbers are written with a decimal point.
    /// <see cref="object.ToString"/> writes what this reads.
    /// </summary>
    /// <param name="text">The text, in upper or lower case.</param>
    /// <exception cref="FormatException">The text is none of these; the message names the part that is wrong.</exception>
    public static LearningRateSchedule Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var plus = text.IndexOf('+', StringComparison.Ordinal);
        var first = (plus < 0 ? text : text[..plus]).Trim();
        var colon = first.IndexOf(':', StringComparison.Ordinal);
        var name = (colon < 0 ? first : first[..colon]).Trim().ToLowerInvariant();
        string[] values = colon < 0 ? [] : first[(colon + 1)..].Split(',', StringSplitOptions.TrimEntries);

        if (plus >= 0 && name != "warmup")
        {
            throw new FormatException($"schedule '{text}': only a warm-up can stand before '+'; expected {Forms}");
        }
        try
        {
            switch (name)
            {
                case "constant":
                    Count(0, 0);
                    return Constant();
                case "step":
                    Count(1, 2);
                    return values.Length == 1 ? Step(Whole(0, "stepSize")) : Step(Whole(0, "stepSize"), Number(1, "gamma"));
                case "exponential":
                    Count(1, 1);
                    return Exponential(Number(0, "gamma"));
                case "cosine":
                    Count(1, 2);
                    return values.Length == 1 ? Cosine(Whole(0, "epochs")) : Cosine(Whole(0, "epochs"), Number(1, "minimum"));
                case "warmup":
                    Count(1, 2);
                    var next = plus < 0 ? Constant() : Parse(text[(plus + 1)..]);
                    return values.Length == 1
                        ? next.WithWarmup(Whole(0, "epochs"))
                        : next.WithWarmup(Whole(0, "epochs"), Number(1, "startFactor"));
                default:
                    throw new FormatException($"schedule '{text}': '{name}' is not known; expected {Forms}");
            }
        }
        catch (ArgumentOutOfRangeException error)
        {
            // ArgumentException adds the parameter's name in brackets, which the message starts with already
            var message = error.Message;
            var suffix = message.IndexOf(" (Parameter", StringComparison.Ordinal);
            throw new FormatException($"schedule '{text}': {(suffix < 0 ? message : message[..suffix])}", error);
        }

        void Count(int least, int most)
        {
            if (values.Length < least || values.Length > most)
            {
                var wanted = least == most ? $"{least}" : $"{least} to {most}";
                throw new FormatException($"schedule '{text}': {name} has {values.Length} numbers, expected {wanted}: {Forms}");
            }
        }

        int Whole(int index, string argument) =>
            int.TryParse(values[index], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int value)
                ? value
                : throw new FormatException($"schedule '{text}': {argument}: '{values[index]}', expected a whole number");

        double Number(int index, string argument) =>
            double.TryParse(values[index], NumberStyles.Float, CultureInfo.InvariantCulture, out double value)
                ? value
                : throw new FormatException($"schedule '{text}': {argument}: '{values[index]}', expected a number");
    }

    private static void RequireGamma(double gamma) =>
        Require.That(double.IsFinite(gamma) && gamma > 0, nameof(gamma), gamma, "a finite factor > 0");

    private sealed class ConstantSchedule : LearningRateSchedule
    {
        protected override double Compute(double initial, int epoch) => initial;
        public override string ToString() => "constant";
    }

    private sealed class StepSchedule(int stepSize, double gamma) : LearningRateSchedule
    {
        protected override double Compute(double initial, int epoch) => initial * Math.Pow(gamma, epoch / stepSize);
        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"step:{stepSize},{gamma:R}");
    }

    private sealed class ExponentialSchedule(double gamma) : LearningRateSchedule
    {
        protected override double Compute(double initial, int epoch) => initial * Math.Pow(gamma, epoch);
        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"exponential:{gamma:R}");
    }

    private sealed class CosineSchedule(int epochs, double minimum) : LearningRateSchedule
    {
        protected override double Compute(double initial, int epoch) =>
            minimum + (initial - minimum) * (1 + Math.Cos(Math.PI * epoch / epochs)) / 2;
        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"cosine:{epochs},{minimum:R}");
    }

    private sealed class WarmupSchedule(int epochs, double startFactor, LearningRateSchedule next) : LearningRateSchedule
    {
        protected override double Compute(double initial, int epoch) =>
            epoch < epochs ? initial * (startFactor + (1 - startFactor) * epoch / epochs) : next.Compute(initial, epoch - epochs);
        public override string ToString() =>
            string.Create(CultureInfo.InvariantCulture, $"warmup:{epochs},{startFactor:R}+{next}");
    }
}
