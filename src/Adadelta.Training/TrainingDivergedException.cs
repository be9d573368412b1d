using System.Globalization;

namespace Adadelta.Training;

/// <summary>
/// A step's loss was not a number or infinite. The step's update has been made, and those of the steps after it that were given to
/// the device before the loss was read (<see cref="Trainer.LossInterval"/>), so the network's parameters and the optimizer's
/// state are no longer of use: load earlier ones or build the network again, with a lower learning rate.
/// </summary>
public sealed class TrainingDivergedException : Exception
{
    /// <summary>Makes the exception of a step.</summary>
    /// <param name="epoch">The epoch, from 1.</param>
    /// <param name="step">The step in its epoch, from 1.</param>
    /// <param name="loss">The loss.</param>
    /// <param name="history">The steps before this one.</param>
    public TrainingDivergedException(int epoch, int step, float loss, LossHistory history)
        : base(string.Create(
            CultureInfo.InvariantCulture,
            $"training diverged in epoch {epoch}, step {step}: loss {loss}, expected a finite number; try a lower learning rate"))
    {
        (Epoch, Step, Loss, History) = (epoch, step, loss, history);
    }

    /// <summary>The epoch, from 1.</summary>
    public int Epoch { get; }

    /// <summary>The step in its epoch, from 1.</summary>
    public int Step { get; }

    /// <summary>The loss: not a number or infinite.</summary>
    public float Loss { get; }

    /// <summary>The steps before this one.</summary>
    public LossHistory History { get; }
}
