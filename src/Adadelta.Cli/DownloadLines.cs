using Adadelta.Training;

namespace Adadelta.Cli;

/// <summary>Progress of a download on stderr: a line for each file, and on a terminal its share as it grows.</summary>
internal sealed class DownloadLines : IProgress<DownloadProgress>, IDisposable
{
    private readonly bool _terminal = !Console.IsErrorRedirected;
    private (string File, Uri? Source) _current;
    private long _percent = -1;

    public void Report(DownloadProgress value)
    {
        string line = $"Downloading {value.File} ({value.FileIndex + 1} of {value.Files}) from {value.Source.Host}";
        bool another = _current != (value.File, value.Source);
        if (another)
        {
            Dispose();
            _current = (value.File, value.Source);
            Console.Error.Write(_terminal ? line : line + Environment.NewLine);
        }

        long percent = value.TotalBytes is { } total and > 0 ? 100 * value.Bytes / total : -1;
        if (_terminal && percent >= 0 && (another || percent != _percent))
        {
            Console.Error.Write($"\r{line}: {percent} %");
            _percent = percent;
        }
    }

    /// <summary>Ends the line that is being written.</summary>
    public void Dispose()
    {
        if (_terminal && _current.File is not null)
        {
            Console.Error.WriteLine();
            _current = default;
        }
    }
}
