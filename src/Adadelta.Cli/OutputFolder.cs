using static System.FormattableString;

namespace Adadelta.Cli;

/// <summary>The files that a training writes and that evaluate, predict and a resumed training read: those of one run.</summary>
internal sealed class OutputFolder(string path)
{
    public const string Default = "adadelta-output";

    public string Path { get; } = path;

    public string Steps => In("steps.csv");

    public string Epochs => In("epochs.csv");

    public string PlotPng => In("loss.png");

    public string PlotSvg => In("loss.svg");

    public string Run => In("run.json");

    public string Model => In("model.safetensors");

    public string Checkpoint => In("checkpoint.safetensors");

    public string Lock => In(".lock");

    /// <summary>All but the lock.</summary>
    public string[] Files => [Steps, Epochs, PlotPng, PlotSvg, Run, Checkpoint, Model];

    /// <summary>Whether a run has left something here.</summary>
    public bool HoldsRun => Files.Any(File.Exists);

    /// <summary>The default folder, and those that further runs without --output were given: adadelta-output-2 and so on.</summary>
    public static IEnumerable<OutputFolder> Defaults()
    {
        yield return new(Default);
        for (int number = 2; ; number++)
        {
            yield return new(Invariant($"{Default}-{number}"));
        }
    }

    /// <summary>The folder of the latest run without --output that has a file; the default folder where none has.</summary>
    /// <param name="file">The file.</param>
    public static OutputFolder Latest(Func<OutputFolder, string> file) =>
        Directory.EnumerateDirectories(".", $"{Default}*")
            .Select(folder => new OutputFolder(System.IO.Path.GetFileName(folder)))
            .Where(folder => IsDefault(folder.Path) && File.Exists(file(folder)))
            .MaxBy(folder => File.GetLastWriteTimeUtc(file(folder))) ?? new(Default);

    /// <summary>The folder of the latest run without --output, finished or not; null where there is none.</summary>
    public static OutputFolder? LatestRun() =>
        Directory.EnumerateDirectories(".", $"{Default}*")
            .Select(folder => new OutputFolder(System.IO.Path.GetFileName(folder)))
            .Where(folder => IsDefault(folder.Path) && folder.HoldsRun)
            .MaxBy(folder => folder.Files.Max(File.GetLastWriteTimeUtc));

    private static bool IsDefault(string name) =>
        name == Default || (name.StartsWith($"{Default}-", StringComparison.Ordinal)
            && name[(Default.Length + 1)..] is { Length: > 0 } number && number.All(char.IsAsciiDigit));

    private string In(string file) => System.IO.Path.Combine(Path, file);
}
