using System.Globalization;

namespace Adadelta.Training;

/// <summary>
/// A run ended because its checkpoint could not be written, e.g. on a full disk. The checkpoint before it is as it was, and the network
/// and the optimizer are as after the last step of <see cref="History"/>: save them elsewhere, or take the run up from the checkpoint.
/// </summary>
public sealed class CheckpointException : IOException
{
    /// <summary>Makes the exception.</summary>
    /// <param name="history">The steps that were made; at least one.</param>
    /// <param name="cause">Why the checkpoint was not written.</param>
    public CheckpointException(LossHistory history, Exception cause)
        : base(Text(history, cause), cause)
    {
        History = history;
    }

    /// <summary>The steps that were made.</summary>
    public LossHistory History { get; }

    private static string Text(LossHistory history, Exception cause)
    {
        ArgumentNullException.ThrowIfNull(history);
        ArgumentNullException.ThrowIfNull(cause);
        var last = history.Steps[^1];
        return string.Create(
            CultureInfo.InvariantCulture, $"training ended after step {last.Step} of epoch {last.Epoch}: checkpoint {cause.Message}");
    }
}
