namespace Adadelta.Training.Tests;

/// <summary>A folder of a test's own, removed with all that is in it.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string FullName { get; } = Directory.CreateTempSubdirectory("adadelta-test-").FullName;

    public string this[params ReadOnlySpan<string> parts] => Path.Combine([FullName, .. parts]);

    public string[] Files => [.. Directory.EnumerateFiles(FullName, "*", SearchOption.AllDirectories).Select(f => Path.GetRelativePath(FullName, f)).Order()];

    public void Dispose() => Directory.Delete(FullName, recursive: true);
}
