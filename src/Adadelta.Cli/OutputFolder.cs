namespace Adadelta.Cli;

/// <summary>The files that a training writes and that evaluate, predict and a resumed training read.</summary>
internal sealed class OutputFolder(string path)
{
    public string Path { get; } = path;

    public string Steps => In("steps.csv");

    public string Epochs => In("epochs.csv");

    public string PlotPng => In("loss.png");

    public string PlotSvg => In("loss.svg");

    public string Run => In("run.json");

    public string Model => In("model.safetensors");

    public string Checkpoint => In("checkpoint.safetensors");

    /// <summary>Creates the folder and tries it out: hours of training must not end at a folder that refuses its files.</summary>
    /// <exception cref="IOException">The folder cannot be created or written to.</exception>
    public void Prepare()
    {
        try
        {
            Directory.CreateDirectory(Path);
            using (File.Create(In($".{Guid.NewGuid():N}.tmp"), 1, FileOptions.DeleteOnClose))
            {
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new IOException($"--output: cannot write to '{Path}': {e.Message}", e);
        }

        foreach (string file in (string[])[Steps, Epochs, PlotPng, PlotSvg, Run, Model, Checkpoint])
        {
            if (Directory.Exists(file))
            {
                throw new IOException($"--output: '{file}' is a folder, expected a file or nothing");
            }
        }
    }

    private string In(string file) => System.IO.Path.Combine(Path, file);
}
