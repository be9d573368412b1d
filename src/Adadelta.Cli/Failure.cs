using System.Text.RegularExpressions;
using Adadelta.Native;
using Adadelta.Training;

namespace Adadelta.Cli;

/// <summary>What the process tells its caller.</summary>
internal static class ExitCode
{
    public const int Ok = 0;
    public const int Failed = 1;

    /// <summary>The command line is wrong, or names what is not there; nothing was done.</summary>
    public const int Usage = 2;

    /// <summary>Stopped by Ctrl+C, SIGTERM or SIGHUP: 128 + SIGINT, as shells have it.</summary>
    public const int Stopped = 130;
}

/// <summary>The command line asks for something that cannot be, or names what is not there: exit code 2.</summary>
internal sealed class UsageException(string message) : Exception(message);

internal static partial class Failure
{
    /// <summary>Writes the failure as one line on stderr.</summary>
    /// <returns>The exit code.</returns>
    public static int Report(Exception failure)
    {
        failure = Cause(failure);
        string message = failure.Message;
        if (failure is DllNotFoundException missing)
        {
            message = NativeLibraryInfo.Path is null ? MissingLibrary().Message : Missing(missing);
        }

        if (failure is NullReferenceException or IndexOutOfRangeException or InvalidCastException or KeyNotFoundException)
        {
            // A fault of this program, whose message alone would help nobody.
            message = $"internal error, please report it: {failure.GetType().Name} in {failure.TargetSite?.DeclaringType}: {message}";
        }

        bool isOption = false;
        if (failure is ArgumentException refused)
        {
            message = OptionNames.Translate(refused, out isOption);
        }

        if (failure is TrainingDivergedException)
        {
            message = OptionNames.TranslateAdvice(message);
        }

        WriteLine($"error: {OneLine(message)}");
        return failure is UsageException || isOption ? ExitCode.Usage : ExitCode.Failed;
    }

    /// <summary>What the runtime wraps where a static constructor or a task throws.</summary>
    public static Exception Cause(Exception failure)
    {
        while (failure is TypeInitializationException or AggregateException && failure.InnerException is { } inner)
        {
            failure = inner;
        }

        return failure;
    }

    /// <summary>A library other than the native one that cannot be loaded, without the runtime's list of every place and name.</summary>
    public static string Missing(Exception failure)
    {
        string[] lines = failure.Message.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        string name = lines[0].Split('\'') is [_, var quoted, _, ..] ? quoted : lines[0];
        string? reason = lines.Skip(1).FirstOrDefault(line => !line.EndsWith("No such file or directory", StringComparison.Ordinal));
        return $"the library {name} cannot be loaded: {reason ?? "no such file"}; install the tool again";
    }

    /// <summary>Writes one line on stderr about something that the work goes on in spite of.</summary>
    public static void Warn(string message) => WriteLine($"warning: {OneLine(message)}");

    /// <summary>The native library cannot be loaded: every path tried, each with the beginning of its reason.</summary>
    public static DllNotFoundException MissingLibrary()
    {
        // The system's own search answers in a long paragraph, which doctor shows in full.
        IEnumerable<string> tried = NativeLibraryInfo.Attempts
            .Select(attempt => $"{attempt.Path} ({attempt.Error?.Split(". ", 2)[0]})");
        string advice = string.IsNullOrEmpty(Environment.GetEnvironmentVariable("ADADELTA_NATIVE_PATH"))
            ? "set ADADELTA_NATIVE_PATH to the library or its folder"
            : "ADADELTA_NATIVE_PATH says so: correct it, or unset it";
        return new(
            $"the native library cannot be loaded, tried {string.Join(", ", tried)}; {advice} (adadelta doctor shows more)");
    }

    /// <summary>Writes one line on stderr.</summary>
    public static void WriteLine(string line) => Console.Error.WriteLine(line);

    // What the runtime adds to the message of an argument's exception, which begins with the argument.
    [GeneratedRegex(@" \(Parameter '[^']*'\)", RegexOptions.CultureInvariant)]
    private static partial Regex RuntimesParameter();

    private static string OneLine(string text)
    {
        string[] lines = RuntimesParameter().Replace(text, "").Split(['\r', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return lines.Aggregate("", (line, next) => line switch
        {
            "" => next,
            [.., '.' or ':' or ';' or ','] => $"{line} {next}",
            _ => $"{line}; {next}",
        });
    }
}
