using Adadelta.Training;

namespace Adadelta.Cli;

/// <summary>
/// An output folder that belongs to this process, tried out and locked: hours of training must not end at a folder that refuses
/// its files, and two runs must not write into one. The system takes the lock back from a process that has died.
/// </summary>
internal sealed class OutputLock : IDisposable
{
    // EWOULDBLOCK of Linux and of macOS, and Windows' sharing violation.
    private static readonly int[] s_inUse = [11, 35, unchecked((int)0x80070020)];

    private readonly FileStream _lock;
    private readonly bool _created;

    private OutputLock(OutputFolder folder, FileStream held, bool created) => (Folder, _lock, _created) = (folder, held, created);

    public OutputFolder Folder { get; }

    /// <summary>What is to be said of the choice of the folder; null for nothing.</summary>
    public string? Remark { get; private init; }

    /// <summary>Takes the folder that --output names, or the first free one of the default folders.</summary>
    /// <param name="path">The folder's path; null for a default one.</param>
    /// <param name="resumed">The checkpoint that is gone on from: its own folder may hold its run.</param>
    /// <param name="overwrite">Whether another run's files in it may be removed.</param>
    /// <exception cref="UsageException">The folder cannot be written, is in use, or holds another run.</exception>
    public static OutputLock Take(string? path, RunCheckpoint? resumed, bool overwrite)
    {
        if (path is not null)
        {
            OutputFolder named = new(path);
            OutputLock taken = TryTake(named)
                ?? throw new UsageException($"--output: '{path}' is in use by another run, expected a folder of its own");
            if (named.HoldsRun && !overwrite && !IsFolderOf(resumed, named))
            {
                taken.Dispose();
                throw new UsageException(
                    $"--output: '{path}' holds an earlier run, expected another folder, --overwrite, or --resume to go on with that run");
            }

            return taken;
        }

        OutputFolder? passed = null;
        foreach (OutputFolder folder in OutputFolder.Defaults())
        {
            if ((overwrite || !folder.HoldsRun) && TryTake(folder) is { } taken)
            {
                if (overwrite || !folder.HoldsRun)
                {
                    return passed is null
                        ? taken
                        : new(folder, taken._lock, taken._created)
                        {
                            Remark = $"Output: {folder.Path}, since {passed.Path} "
                                + (passed.HoldsRun ? "holds an earlier run (--overwrite writes over it)" : "is in use by another run"),
                        };
                }

                taken.Dispose();
            }

            passed ??= folder;
        }

        throw new InvalidOperationException("unreachable: the default folders have no end");
    }

    /// <summary>Removes what an earlier run has left, so that its files do not lie among the new ones.</summary>
    /// <exception cref="IOException">A file cannot be removed.</exception>
    public void RemoveRun()
    {
        foreach (string file in Folder.Files)
        {
            File.Delete(file);
        }
    }

    /// <summary>Removes files that are being written, before the process ends in the middle of that.</summary>
    public void RemoveTemporary()
    {
        try
        {
            foreach (string file in Directory.EnumerateFiles(Folder.Path, ".adadelta-*.tmp"))
            {
                File.Delete(file);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The process ends all the same.
        }
    }

    public void Dispose()
    {
        // What this run has made and left empty goes.
        if (_created && Directory.Exists(Folder.Path)
            && Directory.EnumerateFileSystemEntries(Folder.Path).All(entry => Path.GetFileName(entry) == Path.GetFileName(Folder.Lock)))
        {
            Directory.Delete(Folder.Path, recursive: true);
        }

        _lock.Dispose();
    }

    /// <summary>Whether the folder is that of the run that is gone on from.</summary>
    public static bool IsFolderOf(RunCheckpoint? checkpoint, OutputFolder folder) =>
        checkpoint is not null && Path.GetFullPath(checkpoint.Path) == Path.GetFullPath(folder.Checkpoint);

    /// <summary>Null where another process holds it.</summary>
    private static OutputLock? TryTake(OutputFolder folder)
    {
        try
        {
            bool created = !Directory.Exists(folder.Path);
            Directory.CreateDirectory(folder.Path);
            foreach (string file in folder.Files)
            {
                if (Directory.Exists(file))
                {
                    throw new UsageException($"--output: '{file}' is a folder, expected a file or nothing");
                }
            }

            // The file stays: one that is removed when its run ends could be locked by another run just then, and lock nobody out.
            FileStream held = new(folder.Lock, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            try
            {
                AtomicFile.CheckWritable(folder.Checkpoint);
                return new(folder, held, created);
            }
            catch
            {
                held.Dispose();
                throw;
            }
        }
        catch (IOException e) when (s_inUse.Contains(e.HResult))
        {
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"--output: cannot write to '{folder.Path}': {e.Message}");
        }
    }
}
