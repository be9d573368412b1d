using System.Text.RegularExpressions;

namespace Adadelta.Training;

/// <summary>
/// Opens a folder of IDX files: MNIST, Fashion-MNIST, EMNIST or one's own. It holds four files, each plain or <c>.gz</c>:
/// <c>train-images…</c>, <c>train-labels…</c>, and <c>t10k-images…</c>, <c>t10k-labels…</c> (or <c>test-…</c>), with the usual
/// ending <c>-idx3-ubyte</c> or none, and possibly the set's name in front (<c>emnist-letters-train-images-idx3-ubyte.gz</c>).
/// The files may lie in the folder itself, in its <c>raw</c> or, as torchvision keeps them, in <c>NAME/raw</c>.
/// </summary>
/// <remarks>
/// Images have 3 dimensions, read as N, H, W with one channel, or 4, always read as N, C, H, W. The number of classes is the
/// highest label of both halves plus one.
/// </remarks>
public static partial class DataFolder
{
    private const string Raw = "raw";

    private const string Expected = "expected train-images, train-labels, t10k-images (or test-images) and "
        + "t10k-labels (or test-labels), each an IDX file or its .gz";

    /// <summary>Reads a data set.</summary>
    /// <param name="folder">
    /// The folder. Where it holds several sets, as EMNIST's does, add the set's prefix as if it were a file:
    /// <c>gzip/emnist-letters</c>.
    /// </param>
    /// <param name="name">Name of the set; without it, its prefix or else the folder's name.</param>
    /// <returns>Both halves; <see cref="DataSplit.Source"/> is the folder that holds the files.</returns>
    /// <exception cref="DirectoryNotFoundException">There is no such folder.</exception>
    /// <exception cref="FileNotFoundException">The folder does not hold exactly one data set; the message says what it holds.</exception>
    /// <exception cref="InvalidDataException">
    /// A file is damaged, or files do not fit each other; the message names file, value and bound.
    /// </exception>
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
                $"{files.TestImages}: images of {Shape(testImages)}, expected {Shape(trainImages)} as in "
                + Path.GetFileName(files.TrainImages));
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
            throw new InvalidDataException(
                $"{imagesPath}: {images.Dims.Length} dimensions, expected 3 (N, H, W) or 4 (N, C, H, W)");
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
        return name == Raw ? Path.GetFileName(Path.GetDirectoryName(folder)) ?? name : name;
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
        if (Directory.Exists(Path.Combine(folder, Raw)))
        {
            yield return Path.Combine(folder, Raw);
        }
        foreach (var child in Directory.EnumerateDirectories(folder).Order(StringComparer.Ordinal))
        {
            if (Directory.Exists(Path.Combine(child, Raw)))
            {
                yield return Path.Combine(child, Raw);
            }
        }
    }

    /// <summary>The complete sets that lie in a folder itself.</summary>
    private static IEnumerable<Files> Sets(string folder)
    {
        // For each prefix the files of training images, training labels, test images and test labels, where there are any.
        var sets = new SortedDictionary<string, string?[]>(StringComparer.Ordinal);

        // A plain file sorts before its .gz and is taken; so is t10k before test.
        foreach (var path in Directory.EnumerateFiles(folder).Order(StringComparer.Ordinal))
        {
            var match = FileName().Match(Path.GetFileName(path));
            if (match.Success)
            {
                var prefix = match.Groups["set"].Value;
                if (!sets.TryGetValue(prefix, out var files))
                {
                    sets[prefix] = files = new string?[4];
                }
                files[(match.Groups["train"].Success ? 0 : 2) + (match.Groups["images"].Success ? 0 : 1)] ??= path;
            }
        }
        foreach (var (prefix, files) in sets)
        {
            if (files is [{ } trainImages, { } trainLabels, { } testImages, { } testLabels])
            {
                yield return new(prefix, trainImages, trainLabels, testImages, testLabels);
            }
        }
    }

    [GeneratedRegex(
        @"^(?:(?<set>.+)[-_.])?(?:(?<train>train)|t10k|test)[-_.](?:(?<images>images)|labels)(?:[-_.]idx[0-9]?(?:[-_.]ubyte)?)?"
        + @"(?:\.gz)?$",
        RegexOptions.IgnoreCase | RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture)]
    private static partial Regex FileName();
}
