using System.Text.RegularExpressions;

namespace Adadelta.Training;

/// <summary>
/// Opens a folder of IDX files: MNIST, Fashion-MNIST, EMNIST or one's own. It holds four files, each plain or <c>.gz</c>:
/// <c>train-images…</c>, <c>train-labels…</c>, and <c>t10k-images…</c>, <c>t10k-labels…</c> (or <c>test-…</c>), with the usual
/// ending <c>-idx3-ubyte</c> or none, and possibly the set's name in front (<c>emnist-letters-train-images-idx3-ubyte.gz</c>).
/// The files may lie in the folder itself, in its <c>raw</c> or, as torchvision keeps them, in <c>NAME/raw</c>; each may be in a folder
/// of its own name, as Kaggle's archives unpack. QMNIST's labels (<c>-idx2-int</c>) are taken too.
/// </summary>
/// <remarks>
/// Images have 3 dimensions, read as N, H, W with one channel, or 4, always read as N, C, H, W. The number of classes is the
/// highest label of both halves plus one; <see cref="ImageDataset.EmptyClasses"/> tells of gaps. MNIST and Fashion-MNIST as they were
/// published are known by their checksums, whatever the folder is called, and other images are not given their names.
/// </remarks>
public static partial class DataFolder
{
    private const string Raw = "raw";

    // Names of files in a message.
    private const int MostShown = 5;

    private const string Expected = "expected train-images, train-labels, t10k-images (or test-images) and "
        + "t10k-labels (or test-labels), each an IDX file or its .gz";

    /// <summary>Reads a data set.</summary>
    /// <param name="folder">
    /// The folder. Where it holds several sets, as EMNIST's does, add the set's prefix as if it were a file:
    /// <c>gzip/emnist-letters</c>.
    /// </param>
    /// <param name="name">Name of the set; without it, that of a known set, its prefix or else the folder's name.</param>
    /// <param name="transpose">
    /// Whether rows and columns are exchanged, which puts EMNIST's images upright (<see cref="DataSplit.IsTransposeAdvised"/>).
    /// </param>
    /// <returns>Both halves; <see cref="DataSplit.Source"/> is the folder that holds the files.</returns>
    /// <exception cref="DirectoryNotFoundException">There is no such folder.</exception>
    /// <exception cref="FileNotFoundException">The folder does not hold exactly one data set; the message says what it holds.</exception>
    /// <exception cref="InvalidDataException">
    /// A file is damaged, or files do not fit each other; the message names file, value and bound.
    /// </exception>
    public static DataSplit Open(string folder, string? name = null, bool transpose = false)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        var files = Find(folder, out var error) ?? throw error!;
        var (trainImages, trainLabels) = ReadHalf(files.TrainImages, files.TrainLabels);
        var (testImages, testLabels) = ReadHalf(files.TestImages, files.TestLabels);
        if (!trainImages.Dims.AsSpan(1).SequenceEqual(testImages.Dims.AsSpan(1)))
        {
            throw new InvalidDataException(
                $"{files.TestImages}: images of {Shape(testImages)}, expected {Shape(trainImages)} as in "
                + Path.GetFileName(files.TrainImages));
        }
        var classes = Math.Max(trainLabels.Max(), testLabels.Max()) + 1;
        var (train, test) = (Half(trainImages, trainLabels), Half(testImages, testLabels));
        name ??= KnownDataset.NameOf(train, test)
            ?? KnownDataset.NameOfOthers(files.Prefix.Length > 0 ? files.Prefix : FolderName(files.Folder));
        if (transpose)
        {
            (train, test) = (train.Transpose(), test.Transpose());
        }
        return new(name, train.Rename($"{name} train"), test.Rename($"{name} test"), files.Folder)
        {
            IsTransposeAdvised = !transpose && files.Prefix.Contains("emnist", StringComparison.OrdinalIgnoreCase),
        };

        ImageDataset Half(IdxArray images, byte[] labels)
        {
            var channels = images.Dims.Length == 4 ? images.Dims[1] : 1;
            return new(folder, channels, images.Dims[^2], images.Dims[^1], classes, images.Data, labels);
        }
    }

    /// <summary>Whether <see cref="Open"/> would find the files of one data set. Their content is not looked at.</summary>
    /// <param name="folder">The folder, as in <see cref="Open"/>.</param>
    public static bool Contains(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        return Find(folder, out _) is not null;
    }

    /// <summary>Why <see cref="Open"/> finds no data set; null where it finds one.</summary>
    internal static Exception? WhyNot(string folder)
    {
        _ = Find(folder, out var error);
        return error;
    }

    private static (IdxArray Images, byte[] Labels) ReadHalf(string imagesPath, string labelsPath)
    {
        var images = IdxReader.Read(imagesPath);
        if (images.Dims.Length < 3)
        {
            throw new InvalidDataException(
                $"{imagesPath}: {images.Dims.Length} dimensions, expected 3 (N, H, W) or 4 (N, C, H, W)");
        }
        var labels = IdxReader.ReadLabels(labelsPath);
        if (labels.Length != images.Dims[0])
        {
            throw new InvalidDataException(
                $"{labelsPath}: {labels.Length} labels, expected {images.Dims[0]} as {Path.GetFileName(imagesPath)} has images");
        }
        return (images, labels);
    }

    private static string Shape(IdxArray images) => string.Join('x', images.Dims[1..]);

    private static string FolderName(string folder)
    {
        var name = Path.GetFileName(folder);
        return name == Raw ? Path.GetFileName(Path.GetDirectoryName(folder)) ?? name : name;
    }

    private sealed record Files(
        string Folder, string Prefix, string TrainImages, string TrainLabels, string TestImages, string TestLabels);

    /// <summary>
    /// The files of a set that a folder has: training images, training labels, test images and test labels, null where one is missing.
    /// </summary>
    private sealed record Found(string Folder, string Prefix, string?[] Paths)
    {
        private static readonly string[] s_kinds = ["train-images", "train-labels", "t10k-images", "t10k-labels"];

        public Files? Complete => Paths is [{ } trainImages, { } trainLabels, { } testImages, { } testLabels]
            ? new(Folder, Prefix, trainImages, trainLabels, testImages, testLabels)
            : null;

        public IEnumerable<string> Missing => s_kinds.Where((_, i) => Paths[i] is null);

        public IEnumerable<string> Names => Paths.Where(path => path is not null).Select(path => Path.GetFileName(path)!);
    }

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
                error = File.Exists(full)
                    ? new DirectoryNotFoundException($"{folder}: a file, expected a folder")
                    : new DirectoryNotFoundException($"{folder}: no such folder");
                return null;
            }
            (full, prefix) = (parent, Path.GetFileName(full));
        }
        List<Found> all = [.. Places(full).SelectMany(Sets).Where(set => prefix.Length == 0 || set.Prefix == prefix)];
        List<Files> found = [.. all.Select(set => set.Complete).OfType<Files>()];
        if (found.Count == 1)
        {
            return found[0];
        }
        error = new FileNotFoundException(
            found.Count > 1
                ? $"{folder}: {found.Count} data sets found, expected 1; name one of them: "
                    + string.Join(", ", found.Select(set => Path.Combine(set.Folder, set.Prefix)))
            : all.MaxBy(set => set.Names.Count()) is { } part
                ? $"{part.Folder}: no {string.Join(", no ", part.Missing)} beside {string.Join(", ", part.Names)}; {Expected}"
            : $"{folder}: no data set found{Present(full)}, {Expected}");
        return null;
    }

    // What is there instead, as far as a line holds it.
    private static string Present(string folder)
    {
        List<string> names = [.. Directory.EnumerateFileSystemEntries(folder).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal).Take(MostShown + 1)];
        return names.Count == 0
            ? " (it is empty)"
            : $" (it has {string.Join(", ", names.Take(MostShown))}{(names.Count > MostShown ? ", ..." : "")})";
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

    /// <summary>The sets of which files lie in a folder itself.</summary>
    private static IEnumerable<Found> Sets(string folder)
    {
        var sets = new SortedDictionary<string, string?[]>(StringComparer.Ordinal);

        // A plain file sorts before its .gz and is taken; so is t10k before test.
        foreach (var path in Directory.EnumerateFiles(folder).Order(StringComparer.Ordinal).Concat(Nested(folder)))
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
        return sets.Select(set => new Found(folder, set.Key, set.Value));
    }

    // A file in a folder of its own name.
    private static IEnumerable<string> Nested(string folder) => Directory.EnumerateDirectories(folder)
        .Order(StringComparer.Ordinal)
        .Where(path => FileName().IsMatch(Path.GetFileName(path)))
        .Select(path => Path.Combine(path, Path.GetFileName(path)))
        .Where(File.Exists);

    [GeneratedRegex(
        @"^(?:(?<set>.+)[-_.])?(?:(?<train>train)|t10k|test)[-_.](?:(?<images>images)|labels)(?:[-_.]idx[0-9]?(?:[-_.](?:ubyte|int))?)?"
        + @"(?:\.gz)?$",
        RegexOptions.IgnoreCase | RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture)]
    private static partial Regex FileName();
}
