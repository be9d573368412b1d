using System.Text.RegularExpressions;

namespace Adadelta.Cli;

/// <summary>
/// What the libraries call an argument, in the words of this tool's options: the one place where a message of theirs is
/// translated.
/// </summary>
internal static partial class OptionNames
{
    private static readonly Dictionary<string, string> s_options = new(StringComparer.Ordinal)
    {
        ["LearningRate"] = "--lr",
        ["learningRate"] = "--lr",
        ["Rho"] = "--rho",
        ["Eps"] = "--eps",
        ["WeightDecay"] = "--weight-decay",
        ["device.Type"] = "--device",
        ["device.Index"] = "--device",
        ["threads"] = "--threads",
        ["maxBatchSize"] = "--batch-size",
        ["BatchSize"] = "--batch-size",
        ["epochs"] = "--epochs",
        ["CheckpointPath"] = "--output",
        ["CheckpointSteps"] = "--checkpoint-steps",
    };

    // The parts of --schedule, as its help writes them.
    private static readonly Dictionary<string, string> s_scheduleParts = new(StringComparer.Ordinal)
    {
        ["stepSize"] = "SIZE",
        ["gamma"] = "GAMMA",
        ["epochs"] = "EPOCHS",
        ["minimum"] = "MINIMUM",
        ["startFactor"] = "START",
    };

    /// <summary>A refused argument's message, with the option in place of the argument where there is one.</summary>
    /// <param name="refused">What the library has thrown.</param>
    /// <param name="isOption">Whether there is one.</param>
    public static string Translate(ArgumentException refused, out bool isOption)
    {
        isOption = false;
        if (refused.ParamName is not { Length: > 0 } name)
        {
            return refused.Message;
        }

        // The messages begin with the argument's name; the runtime puts it behind them again.
        string message = refused.Message.Replace($" (Parameter '{name}')", "", StringComparison.Ordinal);
        if (OptionOf(name) is not { } option)
        {
            return message;
        }

        isOption = true;
        return Regex.Replace(message, $@"(?<![\w.-]){Regex.Escape(name)}(?!\w)", option, RegexOptions.CultureInvariant);
    }

    /// <summary>What is wrong with a schedule's text, in the words of --schedule.</summary>
    public static string TranslateSchedule(string message) =>
        SchedulePart().Replace(message, match => s_scheduleParts[match.Value]).Replace("schedule '", "'", StringComparison.Ordinal);

    /// <summary>What to do about a training that diverged, in the words of the options.</summary>
    public static string TranslateAdvice(string message) =>
        message.Replace("an Eps of ", "an --eps of ", StringComparison.Ordinal).Replace(", or ZeroEps.Keep", "", StringComparison.Ordinal);

    /// <summary>The option that sets an argument of the libraries, e.g. <c>options.LearningRate</c>; null for none.</summary>
    private static string? OptionOf(string argument) =>
        s_options.GetValueOrDefault(argument) ?? s_options.GetValueOrDefault(argument[(argument.LastIndexOf('.') + 1)..]);

    // No part of the user's own text, in which a quotation mark, a colon or a comma stands before it.
    [GeneratedRegex("(?<![':,])\\b(?:stepSize|gamma|epochs|minimum|startFactor)\\b", RegexOptions.CultureInvariant)]
    private static partial Regex SchedulePart();
}
