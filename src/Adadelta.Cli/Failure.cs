using Adadelta.Native;

namespace Adadelta.Cli;

/// <summary>What the process tells its caller.</summary>
internal static class ExitCode
{
    public const int Ok = 0;
    public const int Failed = 1;

    /// <summary>The command line is wrong; nothing was done.</summary>
    public const int Usage = 2;

    /// <summary>Stopped by Ctrl+C or SIGTERM: 128 + SIGINT, as shells have it.</summary>
    public const int Stopped = 130;
}

/// <summary>The command line asks for something that cannot be: exit code 2.</summary>
internal sealed class UsageException(string message) : Exception(message);

internal static class Failure
{
    /// <summary>Writes the failure as one line on stderr.</summary>
    /// <returns>The exit code.</returns>
    public static int Report(Exception failure)
    {
        // The runtime wraps what a static constructor or a task throws; the user wants the cause.
        while (failure is TypeInitializationException or AggregateException && failure.InnerException is { } inner)
        {
            failure = inner;
        }

        if (failure is DllNotFoundException && NativeLibraryInfo.Path is null)
        {
            failure = MissingLibrary();
        }

        string message = failure.Message;
        if (failure is NullReferenceException or IndexOutOfRangeException or InvalidCastException or KeyNotFoundException)
        {
            // A fault of this program, whose message alone would help nobody.
            message = $"internal error, please report it: {failure.GetType().Name} in {failure.TargetSite?.DeclaringType}: {message}";
        }

        if (failure is ArgumentException { ParamName: { } name })
        {
            // The messages begin with the argument's name; the runtime puts it behind them again.
            message = message.Replace($" (Parameter '{name}')", "", StringComparison.Ordinal);
        }

        Console.Error.WriteLine($"error: {OneLine(message)}");
        return failure is UsageException ? ExitCode.Usage : ExitCode.Failed;
    }

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

    private static string OneLine(string text)
    {
        string[] lines = text.Split(['\r', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return lines.Aggregate("", (line, next) => line switch
        {
            "" => next,
            [.., '.' or ':' or ';' or ','] => $"{line} {next}",
            _ => $"{line}; {next}",
        });
    }
}
