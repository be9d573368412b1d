using System.Text.RegularExpressions;

namespace Adadelta.Training;

/// <summary>
/// Opens a folder of IDX files: MNIST, Fashion-MNIST, EMNIST or one's own. It holds four files, each plain or <c>.gz</c>:
/// <c>train-images…</c>, <c>train-labels…</c>, and <c>t10k-images…</c>, <c>t10k-labels…</c> (or <c>test-…</c>), with the usual ending
/// <c>-idx3-ubyte</c> or none, and possibly a prefix that names the set (<c>emnist-letters-train-images-idx3-ubyte.gz</c>).
/// The files may lie in the folder itself, in its <c>raw</c> or, as torchvision keeps them, in <c>NAME/raw</c>.
/// </summary>
/// <remarks>
/// Images have 3 dimensions, read as N, H, W with one channel, or 4, always read as N, C, H, W. The number of classes is the
/// highest label of both halves plus one.
/// </remarks>
public static partial class DataFolder
{
    private const string Expected = "expected train-images, train-labels, t10k-images (or test-images) and t10k-labels (or test-labels), "
        + "each an IDX file or its .gz";

    /// <summary>Reads a data set.</summary>
    /// <param name="folder">
    /// The folder. Where it holds several sets, as EMNIST's does, add the set's prefix as if it were a file:
    /// <c>gzip/emnist-letters</c>.
    /// </param>
    /// <param name="name">Name of the set; without it, its prefix or else the folder's name.</param>
    /// <returns>Both halves; <see cref="DataSplit.Source"/> is the folder that holds the files.</returns>
    /// <exception cref="DirectoryNotFoundException">There is no such folder.</exception>
    /// <exception cref="FileNotFoundException">The folder does not hold exactly one data set; the message says what was found.</exception>
    /// <exception cref="InvalidDataException">A file is damaged, or files do not fit each other; the message names file, value and bound.</exception>
    public static DataSplit Open(string folder, string? name = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        var files = Find(folder, out var error) ?? throw error!;
        var source = Path.GetDirectoryName(files.TrainImages)!;
        name ??= files.Prefix.Length > 0 ? files.Prefix : FolderName(source);
        var (trainImages, trainLabels) = ReadHalf(files.TrainImages, files.TrainLabels);
        var (testImages, testLabels) = ReadHalf(files.TestImages, files.TestLabels);
        if (!trainImages.Dims.AsSpan(1).SequenceEqual(testImages.Dims.AsSpan(1)))
        {
            throw new InvalidDataException(
                $"{files.TestImages}: images of {Shape(testImages)}, expected {Shape(trainImages)} as in {Path.GetFileName(files.TrainImages)}");
        }
        var classes = Math.Max(trainLabels.Max(), testLabels.Max()) + 1;
        return new(name, Half("train", trainImages, trainLabels), Half("test", testImages, testLabels), source);

        ImageDataset Half(string part, IdxArray images, byte[] labels)
        {
            var channels = images.Dims.Length == 4 ? images.Dims[1] : 1;
            return new($"{name} {part}", channels, images.Dims[^2], images.Dims[^1], classes, images.Data, labels);
        }
    }

    /// <summary>Whether <see cref="Open"/> would find the files of one data set. Their content is not looked at.</summary>
    /// <param name="folder">The folder, as in <see cref="Open"/>.</param>
    public static bool Contains(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        return Find(folder, out _) is not null;
    }

    private static (IdxArray Images, byte[] Labels) ReadHalf(string imagesPath, string labelsPath)
    {
        var images = IdxReader.Read(imagesPath);
        if (images.Dims.Length < 3)
        {
            throw new InvalidDataException($"{imagesPath}: {images.Dims.Length} dimensions, expected 3 (N, H, W) or 4 (N, C, H, W)");
        }
        var labels = IdxReader.Read(labelsPath);
        if (labels.Dims.Length != 1)
        {
            throw new InvalidDataException($"{labelsPath}: {labels.Dims.Length} dimensions, expected 1");
        }
        if (labels.Dims[0] != images.Dims[0])
        {
            throw new InvalidDataException(
                $"{labelsPath}: {labels.Dims[0]} labels, expected {images.Dims[0]} as {Path.GetFileName(imagesPath)} has images");
        }
        return (images, labels.Data);
    }

    private static string Shape(IdxArray images) => string.Join('x', images.Dims[1..]);

    private static string FolderName(string folder)
    {
        var name = Path.GetFileName(folder);
        return name.Equals("raw", StringComparison.OrdinalIgnoreCase) ? Path.GetFileName(Path.GetDirectoryName(folder)) ?? name : name;
    }

    private sealed record Files(string Prefix, string TrainImages, string TrainLabels, string TestImages, string TestLabels);

    /// <summary>The files of the one data set at a place, or why there is none.</summary>
    private static Files? Find(string folder, out Exception? error)
    {
        error = null;
        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        var prefix = "";
        if (!Directory.Exists(full))
        {
            var parent = Path.GetDirectoryName(full);
            if (parent is null || !Directory.Exists(parent) || !Sets(parent).Any(set => set.Prefix == Path.GetFileName(full)))
            {
                error = new DirectoryNotFoundException($"{folder}: no such folder");
                return null;
            }
            (full, prefix) = (parent, Path.GetFileName(full));
        }
        List<Files> found = [];
        foreach (var place in Places(full))
        {
            found.AddRange(Sets(place).Where(set => prefix.Length == 0 || set.Prefix == prefix));
        }
        if (found.Count == 1)
        {
            return found[0];
        }
        error = found.Count == 0
            ? new FileNotFoundException($"{folder}: no data set found, {Expected}")
            : new FileNotFoundException($"{folder}: {found.Count} data sets found, expected 1; name one of them: "
                + string.Join(", ", found.Select(set => Path.Combine(Path.GetDirectoryName(set.TrainImages)!, set.Prefix))));
        return null;
    }

    private static IEnumerable<string> Places(string folder)
    {
        yield return folder;
        if (Directory.Exists(Path.Combine(folder, "raw")))
        {
            yield return Path.Combine(folder, "raw");
        }
        foreach (var child in Directory.EnumerateDirectories(folder).Order(StringComparer.Ordinal))
        {
            if (Directory.Exists(Path.Combine(child, "raw")))
            {
                yield return Path.Combine(child, "raw");
            }
        }
    }

    /// <summary>The complete sets that lie in a folder itself.</summary>
    private static IEnumerable<Files> Sets(string folder)
    {
        var files = new Dictionary<(string Prefix, string Role), string>();
        var prefixes = new SortedSet<string>(StringComparer.Ordinal);

        // Plain files sort before their .gz and are taken first; t10k comes after test in the alphabet, and either will do.
        foreach (var path in Directory.EnumerateFiles(folder).Order(StringComparer.Ordinal))
        {
            var match = FileName().Match(Path.GetFileName(path));
            if (match.Success)
            {
                var half = match.Groups["half"].ValueSpan.Equals("train", StringComparison.OrdinalIgnoreCase) ? "train" : "test";
                files.TryAdd((match.Groups["set"].Value, $"{half}-{match.Groups["kind"].Value.ToUpperInvariant()}"), path);
                prefixes.Add(match.Groups["set"].Value);
            }
        }
        foreach (var prefix in prefixes)
        {
            if (files.TryGetValue((prefix, "train-IMAGES"), out var trainImages) && files.TryGetValue((prefix, "train-LABELS"), out var trainLabels)
                && files.TryGetValue((prefix, "test-IMAGES"), out var testImages) && files.TryGetValue((prefix, "test-LABELS"), out var testLabels))
            {
                yield return new(prefix, trainImages, trainLabels, testImages, testLabels);
            }
        }
    }

    [GeneratedRegex(@"^(?:(?<set>.+)[-_.])?(?<half>train|t10k|test)[-_.](?<kind>images|labels)(?:[-_.]idx[0-9]?(?:[-_.]ubyte)?)?(?:\.gz)?$",
        RegexOptions.IgnoreCase | RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture)]
    private static partial Regex FileName();
}
