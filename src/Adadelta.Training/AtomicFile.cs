namespace Adadelta.Training;

/// <summary>Writes files whole or not at all.</summary>
public static class AtomicFile
{
    /// <summary>
    /// Writes a file: into a temporary file in the same folder, flushed to disk, then renamed over the target. Whatever fails,
    /// a file that was there before is unchanged and the temporary file is removed.
    /// </summary>
    /// <param name="path">The file. Folders that are missing are made; a symbolic link is followed.</param>
    /// <param name="write">Writes the content; the stream can seek and is closed afterwards.</param>
    /// <exception cref="IOException">The file cannot be written, e.g. because the disk is full.</exception>
    /// <exception cref="UnauthorizedAccessException">The file or its folder may not be written.</exception>
    public static void Write(string path, Action<Stream> write)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(write);
        string? temporary = null;
        try
        {
            // Renaming over a link would replace the link and leave the file it points to as it was.
            var target = new FileInfo(path).LinkTarget is null
                ? Path.GetFullPath(path)
                : File.ResolveLinkTarget(path, returnFinalTarget: true)!.FullName;
            if (Directory.Exists(target))
            {
                throw new IOException("it is a folder");
            }
            var folder = Path.GetDirectoryName(target)!;
            Directory.CreateDirectory(folder);
            temporary = Path.Combine(folder, $".{Path.GetRandomFileName()}.tmp");
            using (var stream = new FileStream(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }
            File.Move(temporary, target, overwrite: true);
        }
        catch (Exception error)
        {
            TryDelete(temporary);
            switch (error)
            {
                case UnauthorizedAccessException:
                    throw new UnauthorizedAccessException(Message(path, error), error);
                case IOException:
                    throw new IOException(Message(path, error), error);
                default:
                    throw;
            }
        }
    }

    private static string Message(string path, Exception error) => $"{path}: not written: {error.Message}";

    private static void TryDelete(string? temporary)
    {
        try
        {
            if (temporary is not null)
            {
                File.Delete(temporary);
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // The first failure is the one to report.
        }
    }
}
