using Adadelta.Native;

namespace Adadelta.Training;

/// <summary>How far a download is.</summary>
/// <param name="File">Name of the file that is being fetched.</param>
/// <param name="FileIndex">Its number, from 0.</param>
/// <param name="Files">How many files there are.</param>
/// <param name="Bytes">Bytes of it that are there.</param>
/// <param name="TotalBytes">Its size in bytes, where the server says.</param>
/// <param name="Source">The mirror it comes from.</param>
public readonly record struct DownloadProgress(string File, int FileIndex, int Files, long Bytes, long? TotalBytes, Uri Source);

/// <summary>Finds the MNIST database on this machine, or downloads it.</summary>
public static class MnistData
{
    /// <summary>The environment variable that names a folder with MNIST.</summary>
    public const string FolderVariable = "ADADELTA_DATA_DIR";

    private const int Classes = 10;
    private static readonly ImageShape s_shape = new(1, 28, 28);

    /// <summary>
    /// Where a download is kept: <c>adadelta/mnist</c> in the user's cache (XDG_CACHE_HOME or ~/.cache; on Windows local
    /// application data).
    /// </summary>
    public static string CacheFolder
    {
        get
        {
            var xdg = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");

            // The XDG rules say that a relative path is to be ignored.
            var cache = Path.IsPathFullyQualified(xdg ?? "") ? xdg!
                : OperatingSystem.IsWindows() ? Folder(Environment.SpecialFolder.LocalApplicationData)
                : Path.Combine(Folder(Environment.SpecialFolder.UserProfile), ".cache");
            return Path.Combine(cache, "adadelta", "mnist");

            static string Folder(Environment.SpecialFolder folder) =>
                Environment.GetFolderPath(folder, Environment.SpecialFolderOption.DoNotVerify);
        }
    }

    /// <summary>
    /// Opens MNIST where it is: in the folder that is named, by <paramref name="dataDir"/> or else by ADADELTA_DATA_DIR; where none is,
    /// in <paramref name="more"/>, else in <see cref="CacheFolder"/>. Each may hold the four files, plain or .gz, itself or as
    /// torchvision keeps them, in <c>MNIST/raw</c>.
    /// </summary>
    /// <param name="dataDir">The folder to look in, or null.</param>
    /// <param name="more">Further folders, which may be missing, or null.</param>
    /// <returns>
    /// The data set, or null when none was named and no folder holds it. A cache with damaged files counts as empty; GetAsync fetches
    /// those again. A part of MNIST, or other images of its size, do not have its name.
    /// </returns>
    /// <exception cref="DirectoryNotFoundException">The folder that was named does not exist.</exception>
    /// <exception cref="FileNotFoundException">The folder that was named lacks files; the message says which.</exception>
    /// <exception cref="InvalidDataException">
    /// Files are damaged, not of MNIST's size, or those of another published data set.
    /// </exception>
    public static DataSplit? Find(string? dataDir, IReadOnlyList<string>? more = null) => Find(dataDir, more, CacheFolder);

    /// <summary>
    /// Opens MNIST where <see cref="Find(string?, IReadOnlyList{string}?)"/> finds it, else downloads it into
    /// <see cref="CacheFolder"/>: the files that are missing there or damaged.
    /// </summary>
    /// <param name="dataDir">The folder to look in, or null.</param>
    /// <param name="progress">Takes reports of a download, or null.</param>
    /// <param name="cancellationToken">Stops a download; what has arrived is kept, and the next call goes on from there.</param>
    /// <returns>The data set.</returns>
    /// <exception cref="IOException">
    /// No mirror could be reached, or none gave the right bytes; the message names each and the alternatives.
    /// </exception>
    /// <exception cref="DirectoryNotFoundException">The folder that was named does not exist.</exception>
    /// <exception cref="FileNotFoundException">The folder that was named lacks files; the message says which.</exception>
    /// <exception cref="InvalidDataException">Its files are damaged or not MNIST's.</exception>
    /// <exception cref="UnauthorizedAccessException">The cache cannot be written.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static async Task<DataSplit> GetAsync(
        string? dataDir, IProgress<DownloadProgress>? progress, CancellationToken cancellationToken)
    {
        if (Find(dataDir) is { } found)
        {
            return found;
        }

        // Stalls are timed by the downloader; a limit on the whole file would cut off slow lines.
        using var client = new HttpClient { Timeout = Timeout.InfiniteTimeSpan };
        await new MnistDownloader(client).DownloadAsync(CacheFolder, progress, cancellationToken).ConfigureAwait(false);
        return Open(CacheFolder);
    }

    internal static DataSplit? Find(string? dataDir, IReadOnlyList<string>? more, string cacheFolder)
    {
        if (string.IsNullOrEmpty(dataDir) && Environment.GetEnvironmentVariable(FolderVariable) is { Length: > 0 } variable)
        {
            return PlaceIn(variable) is { } place ? Open(place) : throw DataFolder.WhyNot(variable) switch
            {
                DirectoryNotFoundException error => new DirectoryNotFoundException($"{FolderVariable}: {error.Message}", error),
                var error => new FileNotFoundException($"{FolderVariable}: {error!.Message}", error),
            };
        }
        if (!string.IsNullOrEmpty(dataDir))
        {
            return PlaceIn(dataDir) is { } place ? Open(place) : throw DataFolder.WhyNot(dataDir)!;
        }
        foreach (var folder in more ?? [])
        {
            if (PlaceIn(folder) is { } place)
            {
                return Open(place);
            }
        }
        try
        {
            return PlaceIn(cacheFolder) is { } place ? Open(place) : null;
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }

    private static string? PlaceIn(string folder) =>
        Array.Find((string[])[Path.Combine(folder, "MNIST"), folder], DataFolder.Contains);

    private static DataSplit Open(string folder)
    {
        var data = DataFolder.Open(folder);
        if (KnownDataset.NameOf(data.Train, data.Test) is { } name and not KnownDataset.Mnist)
        {
            throw new InvalidDataException(
                $"{data.Source}: holds {name}, expected {KnownDataset.Mnist}; open it as a folder of its own");
        }
        if (data.Train.Shape != s_shape || data.Train.Classes > Classes)
        {
            throw new InvalidDataException(
                $"{data.Source}: {data.Train.Classes} classes of {data.Train.Shape}, expected MNIST's {Classes} of {s_shape}");
        }

        // A part of MNIST may lack the highest digits; a network for it has 10 outputs all the same.
        return data with { Train = data.Train.WithClasses(Classes), Test = data.Test.WithClasses(Classes) };
    }
}
