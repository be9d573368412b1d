using Adadelta.Training;

namespace Adadelta.Cli;

/// <summary>Where the images come from.</summary>
/// <param name="Choice">What opens them again: <c>mnist</c>, <c>digits</c> or a folder's full path.</param>
/// <param name="Split">The images.</param>
internal sealed record DataSource(string Choice, DataSplit Split)
{
    public const string Mnist = "mnist";
    public const string DigitsName = "digits";

    private const int AllDigits = 60_000;

    /// <summary>Refuses what cannot be opened for a reason that the command line and the folders' lists show.</summary>
    /// <exception cref="UsageException">A folder is not there, or files are missing in it.</exception>
    public static void Check(string? data, string? dataDir)
    {
        if (data is null or Mnist)
        {
            FindMnistFolder(dataDir);
            return;
        }

        if (dataDir is not null)
        {
            throw new UsageException($"--data-dir: '{dataDir}', expected only with --data {Mnist}, which it is the folder of");
        }

        // DataFolder also takes a folder with a set's prefix behind it.
        if (data != DigitsName && !Contains("--data", data))
        {
            throw Directory.Exists(data)
                ? Missing("--data", data)
                : new UsageException($"--data: '{data}', expected {Mnist}, {DigitsName} or an existing folder");
        }
    }

    /// <summary>Opens the images, and downloads MNIST where it was asked for by name and is not on this machine.</summary>
    /// <param name="data">A choice, or null: MNIST where it is found, else digits.</param>
    /// <param name="dataDir">Folder of MNIST.</param>
    /// <param name="more">Further folders to look for MNIST in.</param>
    /// <param name="limit">Largest number of training images.</param>
    /// <param name="transpose">Whether rows and columns of the images are exchanged.</param>
    /// <param name="stop">Stops a download.</param>
    public static DataSource Open(
        string? data, string? dataDir, IReadOnlyList<string>? more, int? limit, bool transpose, CancellationToken stop)
    {
        Check(data, dataDir);
        DataSource source = data switch
        {
            null => MnistData.Find(dataDir, more) is { } found ? new(Mnist, found) : CreateDigits(limit),
            Mnist => new(Mnist, MnistData.Find(dataDir, more) ?? Download(dataDir, stop)),
            DigitsName => CreateDigits(limit),
            _ => new(Path.GetFullPath(data), DataFolder.Open(data)),
        };
        stop.ThrowIfCancellationRequested();
        DataSplit split = source.Split;
        if (limit is { } most && most < split.Train.Count)
        {
            split = split with { Train = split.Train.Take(most) };
        }

        return source with
        {
            Split = transpose
                ? split with { Train = split.Train.Transpose(), Test = split.Test.Transpose(), IsTransposeAdvised = false }
                : split,
        };
    }

    /// <summary>Says where images are likely to lie on their side.</summary>
    public void AdviseTranspose()
    {
        if (Split.IsTransposeAdvised)
        {
            Failure.Warn(
                $"{Split.Name}: EMNIST's files hold their images with rows and columns exchanged; --transpose puts them upright, as "
                + "pictures and other data sets are");
        }
    }

    /// <summary>The folder that is named as MNIST's, by the option or by the environment; null where none is.</summary>
    /// <exception cref="UsageException">It is named, but MNIST is not in it.</exception>
    public static string? FindMnistFolder(string? dataDir)
    {
        string? variable = Environment.GetEnvironmentVariable(MnistData.FolderVariable);
        (string name, string? folder) =
            dataDir is not null ? ("--data-dir", dataDir) : (MnistData.FolderVariable, variable is "" ? null : variable);
        if (folder is null)
        {
            return null;
        }

        if (!Directory.Exists(folder))
        {
            throw new UsageException($"{name}: '{folder}', expected an existing folder");
        }

        // As torchvision keeps it, or the files themselves.
        return Contains(name, Path.Combine(folder, "MNIST")) || Contains(name, folder) ? folder : throw Missing(name, folder);
    }

    /// <summary>One line on what was opened.</summary>
    /// <param name="asked">Whether the user named it.</param>
    public string Describe(bool asked)
    {
        ImageDataset train = Split.Train;
        string reason = (asked, Choice) switch
        {
            (false, Mnist) => "; found on this machine",
            (false, DigitsName) => "; MNIST was not found on this machine, --data mnist downloads it",
            _ => "",
        };
        return $"Data: {Split.Name} ({Split.Source}{reason}), {train.Count} training and {Split.Test.Count} test images "
            + $"of {train.Shape} in {train.Classes} classes";
    }

    private static bool Contains(string option, string folder)
    {
        try
        {
            return DataFolder.Contains(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"{option}: '{folder}': {e.Message}");
        }
    }

    // The reader says what it looked for and what it found instead.
    private static UsageException Missing(string option, string folder)
    {
        try
        {
            DataFolder.Open(folder);
            return new($"{option}: '{folder}', expected MNIST's files");
        }
        catch (IOException e)
        {
            return new($"{option}: {e.Message}");
        }
    }

    // Image i does not depend on how many there are, so no more are drawn than are used.
    private static DataSource CreateDigits(int? limit) =>
        new(DigitsName, Digits.Create(train: Math.Min(limit ?? AllDigits, AllDigits)));

    private static DataSplit Download(string? dataDir, CancellationToken stop)
    {
        using DownloadLines lines = new();
        return MnistData.GetAsync(dataDir, lines, stop).GetAwaiter().GetResult();
    }
}
