using System.Globalization;
using Adadelta.Native;

namespace Adadelta.Training;

/// <summary>
/// A step's loss was not a number or infinite, or a weight or an output has become so after it. The step's update has been made, and
/// those of the steps after it that were given to the device before the loss was read (<see cref="Trainer.LossInterval"/>), so the
/// network's parameters and the optimizer's state are no longer of use: load earlier ones or build the network again, and do what
/// the message advises.
/// </summary>
public sealed class TrainingDivergedException : Exception
{
    private const string LowerRate = "try a lower learning rate";

    /// <summary>Makes the exception of a step whose loss was not finite.</summary>
    /// <param name="epoch">The epoch, from 1.</param>
    /// <param name="step">The step in its epoch, from 1.</param>
    /// <param name="loss">The loss.</param>
    /// <param name="history">The steps before this one.</param>
    public TrainingDivergedException(int epoch, int step, float loss, LossHistory history)
        : this(
            epoch, step, loss, history, string.Create(CultureInfo.InvariantCulture, $"loss {loss}, expected a finite number"), LowerRate,
            null)
    {
    }

    internal TrainingDivergedException(
        int epoch, int step, float loss, LossHistory history, string found, string advice, Exception? cause)
        : base(string.Create(CultureInfo.InvariantCulture, $"training diverged in epoch {epoch}, step {step}: {found}; {advice}"), cause)
    {
        (Epoch, Step, Loss, History) = (epoch, step, loss, history);
    }

    /// <summary>The epoch, from 1.</summary>
    public int Epoch { get; }

    /// <summary>The step in its epoch, from 1.</summary>
    public int Step { get; }

    /// <summary>The step's loss; finite where it is the weights after the step that are not.</summary>
    public float Loss { get; }

    /// <summary>The steps whose losses are finite.</summary>
    public LossHistory History { get; }

    /// <summary>What to do about it.</summary>
    internal static string Advice(AdadeltaOptimizer optimizer)
    {
        for (var group = 0; group < optimizer.GroupCount; group++)
        {
            // A network computes in float32, which has nothing between 0 and 1.4e-45.
            var options = optimizer.GetOptions(group);
            if ((float)options.Eps == 0 && options.ZeroEps == ZeroEps.NaN)
            {
                return string.Create(
                    CultureInfo.InvariantCulture,
                    $"an {nameof(options.Eps)} of {options.Eps} makes 0/0 where a gradient has always been 0: take a larger one, or "
                    + $"{nameof(ZeroEps)}.{nameof(ZeroEps.Keep)}");
            }
        }
        return LowerRate;
    }
}
