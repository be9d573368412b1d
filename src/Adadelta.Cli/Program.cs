using System.CommandLine;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;

namespace Adadelta.Cli;

internal static class Program
{
    private static int Main(string[] args)
    {
        Output output = Output.Install();
        int code = Attempt(() => Run(args));
        int written = Attempt(() =>
        {
            output.ThrowIfFailed();
            return ExitCode.Ok;
        });
        return code == ExitCode.Ok ? written : code;
    }

    private static int Attempt(Func<int> work)
    {
        try
        {
            return work();
        }
        catch (OperationCanceledException)
        {
            Failure.WriteLine("Stopped");
            return ExitCode.Stopped;
        }
#pragma warning disable CA1031 // The last stop of every failure: one line for the user instead of a stack trace.
        catch (Exception e)
#pragma warning restore CA1031
        {
            return Failure.Report(e);
        }
    }

    private static string Describe(ParseResult result)
    {
        Command command = result.CommandResult.Command;
        string commands = string.Join(", ", result.RootCommandResult.Command.Subcommands.Select(known => known.Name));
        return (command is RootCommand, result.UnmatchedTokens) switch
        {
            (true, []) => $"a command is missing, expected one of {commands} (adadelta --help)",
            (true, [var first, ..]) => $"'{first}', expected one of {commands} (adadelta --help)",
            (false, [var first, ..]) => $"'{first}', expected an option of {command.Name} (adadelta {command.Name} --help)",
            _ => Describe(result.Errors[0]),
        };
    }

    // The parser's own words for an option that is given twice, or without its value.
    private static string Describe(ParseError error)
    {
        if (error.SymbolResult is not OptionResult { IdentifierToken.Value: { } name } option)
        {
            return error.Message;
        }

        return option.IdentifierTokenCount > 1 && !error.Message.StartsWith(name, StringComparison.Ordinal) ? $"{name}: given {option.IdentifierTokenCount} times, expected once"
            : option.Tokens.Count == 0 ? $"{name}: the value is missing"
            : error.Message;
    }

    private static int Run(string[] args)
    {
        RootCommand root = new("Trains convolutional networks with Adadelta on images of handwritten digits, or on your own.")
        {
            TrainCommand.Create(),
            EvaluateCommand.Create(),
            PredictCommand.Create(),
            DoctorCommand.Create(),
        };
        // A file name may begin with '@', and no argument is read from a file that happens to be there.
        ParseResult result = root.Parse(args, new() { ResponseFileTokenReplacer = null });
        if (result.Action is not ParseErrorAction)
        {
            return result.Invoke(new() { EnableDefaultExceptionHandler = false });
        }

        throw new UsageException(Describe(result));
    }
}
