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

    [Test]
    public void A_library_that_is_cut_off_ends_every_command_with_one_line_that_says_so()
    {
        string model = TestFolder.New(), folder = Directory.CreateDirectory(TestFolder.New()).FullName;
        string network = TestFolder.Write("net.json", Bars.Network), data = Bars.CreateFolder();
        ToolResult training = Tool.Run("train", "--data", data, "--network", network, "--epochs", "1", "--output", model);
        Assert.That(training.ExitCode, Is.Zero, training.Error);
        string name = OperatingSystem.IsWindows() ? "adadelta_native.dll" : OperatingSystem.IsMacOS() ? "libadadelta_native.dylib" : "libadadelta_native.so";
        string library = Path.Combine(folder, name);
        byte[] whole = File.ReadAllBytes(Path.Combine(TestContext.CurrentContext.TestDirectory, name));
        File.WriteAllBytes(library, whole[..(whole.Length / 2)]);
        Dictionary<string, string?> environment = new() { ["ADADELTA_NATIVE_PATH"] = library };
        foreach (string[] command in (string[][])
            [
                ["train", "--data", data, "--network", network, "--output", TestFolder.New()], ["evaluate", "--model", model],
                ["predict", "--model", model, "0"], ["doctor"],
            ])
        {
            ToolResult result = Tool.Run(environment, command);
            Assert.That(result.ErrorLine, Does.StartWith($"the native library cannot be loaded, tried {library} (truncated: "), command[0]);
            Assert.That(result.ExitCode, Is.EqualTo(1), command[0]);
        }
    }
}
