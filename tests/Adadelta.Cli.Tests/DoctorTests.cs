namespace Adadelta.Cli.Tests;

internal sealed class DoctorTests
{
    private static readonly Dictionary<string, string?> s_missing = new() { ["ADADELTA_NATIVE_PATH"] = "/nowhere/libadadelta_native.so" };

    [Test]
    public void Doctor_shows_library_devices_and_where_mnist_was_looked_for()
    {
        ToolResult result = Tool.Run("doctor");
        Assert.That(result.Error, Is.Empty);
        Assert.That(result.ExitCode, Is.Zero);
        Assert.That(result.Output, Does.Match(@"(?m)^Native library +/.*adadelta_native.*$"));
        Assert.That(result.Output, Does.Match(@"(?m)^Version +\d+\.\d+\.\d+, ABI \d+$"));
        Assert.That(result.Output, Does.Match(@"(?m)^Device +\S+ \(.+\)$"));
        Assert.That(result.Output, Does.Match(@"(?m)^Threads +[1-9]\d* of \d+ processors$"));
        Assert.That(result.Output, Does.Match(@"(?m)^Instruction set +\S+"));
        Assert.That(result.Output, Does.Match(@"(?m)^Backend cpu +works$"));
        Assert.That(result.Output, Does.Match(@"(?m)^Backend cuda +(works|not available: .+)$"));
        Assert.That(result.Output, Does.Match(@"(?m)^MNIST +not in .*ADADELTA_DATA_DIR.* downloads it$"));
    }

    [Test]
    public void Doctor_tells_why_the_native_library_cannot_be_loaded()
    {
        ToolResult result = Tool.Run(s_missing, "doctor");
        Assert.That(result.ExitCode, Is.EqualTo(1));
        Assert.That(result.Output, Does.Match(@"(?m)^Native library +cannot be loaded$"));
        Assert.That(result.Output, Does.Match(@"(?m)^Tried +/nowhere/libadadelta_native\.so: no such file$"));
        Assert.That(result.ErrorLine, Does.Contain("/nowhere/libadadelta_native.so"));
    }

    [Test]
    public void Training_without_the_native_library_names_the_path_and_the_reason()
    {
        ToolResult result = Tool.Run(s_missing, "train", "--data", "digits", "--output", TestFolder.New());
        Assert.That(result.ExitCode, Is.EqualTo(1));
        Assert.That(result.ErrorLine, Does.StartWith(
            "the native library cannot be loaded, tried /nowhere/libadadelta_native.so (no such file); ADADELTA_NATIVE_PATH says so"));
    }
}
