using System.Globalization;
using System.Runtime.CompilerServices;

namespace Adadelta.Reliability.Tests;

/// <summary>How much is done: a little with every change, and all of it where <c>ADADELTA_LONG=1</c> says so.</summary>
[SetUpFixture]
internal sealed class Settings
{
    public static bool Long { get; } = Environment.GetEnvironmentVariable("ADADELTA_LONG") == "1";

    /// <summary>What the random choices of this run follow: <c>ADADELTA_SEED</c>, else drawn. Every test prints it.</summary>
    public static int Seed { get; } = Environment.GetEnvironmentVariable("ADADELTA_SEED") is { Length: > 0 } text
        ? int.Parse(text, CultureInfo.InvariantCulture)
        : Random.Shared.Next();

    public static int Count(int few, int many) => Long ? many : few;

    /// <summary>Files that a reader is tried on: <c>ADADELTA_FUZZ_RUNS</c>, else few or many.</summary>
    /// <param name="cost">How much longer one takes than with the other readers.</param>
    public static int Runs(int cost) => Environment.GetEnvironmentVariable("ADADELTA_FUZZ_RUNS") is { Length: > 0 } text
        ? int.Parse(text, CultureInfo.InvariantCulture)
        : Count(20_000, 1_600_000) / cost;

    /// <summary>Says which seed a test follows; a failure shows it.</summary>
    public static Random Draw()
    {
        TestContext.Out.WriteLine($"ADADELTA_SEED={Seed}");
        return new Random(Seed);
    }

    /// <summary>A folder of the repository.</summary>
    public static string InRepository(string folder, [CallerFilePath] string thisFile = "") =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(thisFile)!, "..", "..", folder));

    [OneTimeTearDown]
    public void Remove() => Directory.Delete(TestFolder.Root, recursive: true);
}
