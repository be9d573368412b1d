namespace Adadelta.Native.Tests;

internal static class Repository
{
    internal static string Root { get; } = Find();

    internal static string Golden(params string[] parts) => Path.Combine([Root, "tests", "golden", .. parts]);

    private static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Adadelta.Native.sln")))
            {
                return folder.FullName;
            }
        }
        throw new DirectoryNotFoundException($"No Adadelta.Native.sln in or above {AppContext.BaseDirectory}");
    }
}
