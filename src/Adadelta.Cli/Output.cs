using System.Globalization;
using System.Text;

namespace Adadelta.Cli;

/// <summary>
/// Standard output that outlives its reader: hours of training must not end because a disk behind it is full or a terminal has
/// gone. What cannot be written is dropped, and the first reason is kept for the end. (A pipe that nobody reads any more is no
/// error: the runtime drops what goes there.)
/// </summary>
internal sealed class Output(TextWriter inner) : TextWriter(CultureInfo.InvariantCulture)
{
    private Exception? _failure;

    public override Encoding Encoding => inner.Encoding;

    /// <summary>Makes all that is written to the console go through such an output.</summary>
    public static Output Install()
    {
        Output output = new(Console.Out);
        Console.SetOut(output);
        // What cannot be said there can be said nowhere.
        Console.SetError(new Output(Console.Error));
        return output;
    }

    /// <exception cref="IOException">Something could not be written.</exception>
    public void ThrowIfFailed()
    {
        Flush();
        if (_failure is not null)
        {
            throw new IOException($"stdout: not written: {_failure.Message}", _failure);
        }
    }

    public override void Write(char value) => Try(() => inner.Write(value));

    public override void Write(char[] buffer, int index, int count) => Try(() => inner.Write(buffer, index, count));

    public override void Write(string? value) => Try(() => inner.Write(value));

    // In one piece, so that lines of two writers do not mix.
    public override void WriteLine(string? value) => Write(value + NewLine);

    public override void Flush() => Try(inner.Flush);

    private void Try(Action write)
    {
        if (_failure is not null)
        {
            return;
        }

        try
        {
            write();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A stream that was closed before the tool began reports that access is denied.
            _failure = e;
        }
    }
}
