using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Microsoft.Win32.SafeHandles;

namespace Adadelta.Training;

/// <summary>Writes files whole or not at all.</summary>
/// <remarks>
/// A temporary file is called <c>.adadelta-….tmp</c> and is locked for as long as its writer lives. One that nobody holds was left
/// by a process that was killed, and the next write into its folder removes it.
/// </remarks>
public static partial class AtomicFile
{
    private const int Buffer = 1 << 16;

    // As many as Linux follows.
    private const int MostLinks = 40;

    /// <summary>
    /// Writes a file: into a temporary file in the same folder, flushed to disk, then renamed over the target. Whatever fails,
    /// a file that was there before is unchanged and the temporary file is removed. The mode of a file that is written over stays,
    /// and so do its owner and group where this process may give them.
    /// </summary>
    /// <param name="path">
    /// The file. Folders that are missing are made; a symbolic link is followed. What is there and is no regular file (a device, a
    /// pipe, <c>/dev/stdout</c>) is written to as it is, and may have taken a part of the content when an error occurs.
    /// </param>
    /// <param name="write">
    /// Writes the content; the stream is closed afterwards. It can seek unless the target is a device or a pipe.
    /// </param>
    /// <exception cref="IOException">The file cannot be written, e.g. because the disk is full.</exception>
    /// <exception cref="UnauthorizedAccessException">The file or its folder may not be written.</exception>
    public static void Write(string path, Action<Stream> write) =>
        Write(path, write, FlushToDisk);

    /// <summary>
    /// Tries whether <see cref="Write(string, Action{Stream})"/> could write a file, so that long work does not end at a folder that
    /// takes no files. Folders that are missing are made; a file that is there is not touched.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">The file cannot be written, e.g. because a folder stands in its place.</exception>
    /// <exception cref="UnauthorizedAccessException">The file or its folder may not be written.</exception>
    public static void CheckWritable(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        Guard(path, "cannot be written", () =>
        {
            var target = Target.Of(path);
            if (!target.IsStraight)
            {
                using var temporary = target.CreateTemporary();
                File.Delete(temporary.Name);
            }
        });
    }

    /// <param name="path">The file.</param>
    /// <param name="write">Writes the content.</param>
    /// <param name="flush">Brings it to the disk.</param>
    internal static void Write(string path, Action<Stream> write, Action<FileStream> flush)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(write);
        Guard(path, "not written", () =>
        {
            var target = Target.Of(path);
            if (target.IsStraight)
            {
                using var straight = target.OpenStraight();
                write(straight);
                straight.Flush();
                return;
            }
            string? temporary = null;
            try
            {
                using var stream = target.CreateTemporary();
                temporary = stream.Name;
                write(stream);
                flush(stream);
                target.GiveAttributes(temporary);
                // Still open, since the lock is what tells it from a file that was left over.
                File.Move(temporary, target.Path, overwrite: true);
            }
            catch
            {
                TryDelete(temporary);
                throw;
            }
        });
    }

    // .NET passes over an fsync that fails, and what the disk has not taken would replace a file that it has.
    private static void FlushToDisk(FileStream stream)
    {
        if (!OperatingSystem.IsLinux())
        {
            stream.Flush(flushToDisk: true);
            return;
        }
        stream.Flush();
        const int InvalidForThisFile = 22;
        if (Fsync(stream.SafeFileHandle) != 0 && Marshal.GetLastPInvokeError() is var error and not InvalidForThisFile)
        {
            throw new IOException(Marshal.GetPInvokeErrorMessage(error));
        }
    }

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Fsync(SafeFileHandle file);

    private static void Guard(string path, string what, Action action)
    {
        try
        {
            action();
        }
        catch (UnauthorizedAccessException error)
        {
            throw new UnauthorizedAccessException($"{path}: {what}: {error.Message}", error);
        }
        catch (IOException error)
        {
            throw new IOException($"{path}: {what}: {error.Message}", error);
        }
        catch (ArgumentOutOfRangeException error) when (error.ParamName == "value")
        {
            // What the runtime makes of EFBIG: more than the file system or a limit of the process lets a file have.
            throw new IOException($"{path}: {what}: too large for the file system or the process's limit", error);
        }
    }

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

    [GeneratedRegex(@"^\.adadelta-[0-9a-z]{8}\.[0-9a-z]{3}\.tmp$")]
    private static partial Regex TemporaryName();

    /// <summary>What a path stands for.</summary>
    /// <param name="Given">The path as the caller knows it.</param>
    /// <param name="Path">Where its links lead.</param>
    /// <param name="Status">What is there, or null.</param>
    private sealed record Target(string Given, string Path, FileStatus? Status)
    {
        // These are streams of the process itself. Opened anew, a file behind one would be written from its beginning.
        private static readonly string[] s_output = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
        private static readonly string[] s_error = ["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"];

        /// <exception cref="IOException">A folder is there, or links lead in a circle.</exception>
        public static Target Of(string path)
        {
            var at = System.IO.Path.GetFullPath(path);
            for (var links = 0; !IsStandard(at) && new FileInfo(at).LinkTarget is { } next; links++)
            {
                if (links == MostLinks)
                {
                    throw new IOException("it is a symbolic link that leads in a circle");
                }
                at = System.IO.Path.GetFullPath(next, System.IO.Path.GetDirectoryName(at)!);
            }
            return Directory.Exists(at)
                ? throw new IOException("it is a folder, expected a file or nothing")
                : new(path, at, FileStatus.Of(IsStandard(at) ? at : path));
        }

        /// <summary>Whether a rename would put a file in the place of a device or a pipe.</summary>
        public bool IsStraight => IsStandard(Path) || Status is { IsRegular: false };

        public Stream OpenStraight() =>
            s_output.Contains(Path) ? Console.OpenStandardOutput()
            : s_error.Contains(Path) ? Console.OpenStandardError()
            : new FileStream(Given, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, Buffer);

        /// <summary>Makes a temporary file beside the target, and removes those that were left over.</summary>
        public FileStream CreateTemporary()
        {
            if (Status is not null)
            {
                // A rename asks for the folder's permission alone; a file that is protected is not to be replaced.
                File.OpenHandle(Path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete).Dispose();
            }
            var folder = System.IO.Path.GetDirectoryName(Path)!;
            Directory.CreateDirectory(folder);
            RemoveLeftovers(folder);
            var options = new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                // Renamed while it is open, for which Windows asks for this sharing.
                Share = OperatingSystem.IsWindows() ? FileShare.Delete : FileShare.None,
                BufferSize = Buffer,
            };
            if (Status is not null && !OperatingSystem.IsWindows())
            {
                // Nobody else reads it before it has the target's mode.
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            }
            for (var attempt = 1; ; attempt++)
            {
                var temporary = System.IO.Path.Combine(folder, $".adadelta-{System.IO.Path.GetRandomFileName()}.tmp");
                try
                {
                    var stream = new FileStream(temporary, options);
                    if (File.Exists(temporary))
                    {
                        return stream;
                    }
                    stream.Dispose();
                }
                catch (IOException) when (attempt < 3)
                {
                    // Another writer may take it for a leftover between its creation and its lock.
                }
            }
        }

        /// <summary>Gives a file mode, owner and group of the target that it is to replace.</summary>
        public void GiveAttributes(string temporary)
        {
            if (OperatingSystem.IsWindows() || Status is not { } status)
            {
                return;
            }
            try
            {
                status.GiveOwner(temporary);
                File.SetUnixFileMode(temporary, File.GetUnixFileMode(Path));
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // Some file systems have no modes.
            }
        }

        private static bool IsStandard(string path) => s_output.Contains(path) || s_error.Contains(path);

        private static void RemoveLeftovers(string folder)
        {
            try
            {
                foreach (var path in Directory.EnumerateFiles(folder, ".adadelta-*.tmp").Where(
                    path => TemporaryName().IsMatch(System.IO.Path.GetFileName(path))))
                {
                    RemoveUnheld(path);
                }
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // What cannot be listed is no reason to write nothing.
            }
        }

        private static void RemoveUnheld(string path)
        {
            try
            {
                // Deleted by whoever has the lock, so that a writer which gets it later sees that the file is gone.
                new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.None, 0, FileOptions.DeleteOnClose).Dispose();
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // Its writer lives, or it is another user's.
            }
        }
    }

    /// <summary>What .NET does not tell of a file: its type and owner.</summary>
    private readonly partial record struct FileStatus(bool IsRegular, uint User, uint Group)
    {
        private const int CurrentFolder = -100;
        private const uint TypeModeAndOwner = 0x1 | 0x2 | 0x8 | 0x10;
        private const int TypeMask = 0xF000;
        private const int RegularType = 0x8000;
        private const uint Unchanged = uint.MaxValue;

        /// <summary>The status of what is at a path, through links; null where nothing is.</summary>
        public static FileStatus? Of(string path)
        {
            if (OperatingSystem.IsLinux())
            {
                try
                {
                    return Statx(CurrentFolder, path, 0, TypeModeAndOwner, out var status) == 0
                        ? new((status.Mode & TypeMask) == RegularType, status.User, status.Group)
                        : null;
                }
                catch (EntryPointNotFoundException)
                {
                    // A C library from before 2018.
                }
            }
            // Elsewhere devices are known by their names; the owner is not.
            return !File.Exists(path) ? null
                : new(!path.StartsWith("/dev/", StringComparison.Ordinal) && !path.StartsWith(@"\\.\", StringComparison.Ordinal),
                    Unchanged, Unchanged);
        }

        public void GiveOwner(string path)
        {
            if (Of(path) is { } own && (own.User, own.Group) != (User, Group) && Chown(path, User, Group) != 0)
            {
                // Only root gives files away; a group that the user is in may be given by anybody.
                _ = Chown(path, Unchanged, Group);
            }
        }

        [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
        private static partial int Statx(int folder, string path, int flags, uint mask, out StatxResult result);

        [LibraryImport("libc", EntryPoint = "chown", StringMarshalling = StringMarshalling.Utf8)]
        private static partial int Chown(string path, uint user, uint group);

        // struct statx, the same on every architecture
        [StructLayout(LayoutKind.Explicit, Size = 256)]
        private struct StatxResult
        {
            [FieldOffset(20)]
            public uint User;

            [FieldOffset(24)]
            public uint Group;

            [FieldOffset(28)]
            public ushort Mode;
        }
    }
}
