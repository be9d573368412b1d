using System.Reflection;
using System.Runtime.Versioning;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Adadelta.Training;

namespace Adadelta.Cli.Tests;

/// <summary>What the system around a run can be like: its paths, its culture, its libraries, its processors, its disk.</summary>
internal sealed class SystemTests
{
    private static readonly string s_bars = Bars.CreateFolder();
    private static readonly string s_network = TestFolder.Write("net.json", Bars.Network);

    private static string TestBinaries => TestContext.CurrentContext.TestDirectory;

    [Test]
    public void Paths_may_hold_spaces_and_any_letters()
    {
        string folder = Directory.CreateDirectory(TestFolder.New("Größe und Maß – 数字 'ı' \"%s\" é")).FullName;
        string data = Path.Combine(folder, "bars @ {0}"), network = Path.Combine(folder, "net ½.json"), output = Path.Combine(folder, "çıktı");
        Directory.Move(Bars.CreateFolder(), data);
        File.WriteAllText(network, Bars.Network);
        Succeeds(Tool.Run("train", "--data", data, "--network", network, "--epochs", "1", "--output", output));
        ToolResult resumed = Succeeds(Tool.Run("train", "--resume", output, "--epochs", "2"));
        Assert.That(resumed.Lines[^1], Does.StartWith($"Written to {output}: steps.csv"));
        Succeeds(Tool.Run("evaluate", "--model", output));
        string picture = Path.Combine(folder, "şekil 1.png");
        File.WriteAllBytes(picture, PngFile.Create(8, 8, 8, PngFile.Gray, _ => new byte[8]));
        Assert.That(Succeeds(Tool.Run("predict", "--model", output, picture)).Output, Does.StartWith($"{picture}: "));
    }

    [Platform("Linux")]
    [Test]
    public void A_path_may_be_as_long_as_the_system_lets_it_be_and_a_longer_one_is_refused()
    {
        string part = new('p', 200), output = TestFolder.New("long");
        while (output.Length < 3700)
        {
            output = Path.Combine(output, part);
        }

        Succeeds(Tool.Run("train", "--data", s_bars, "--network", s_network, "--epochs", "1", "--output", output));
        Succeeds(Tool.Run("evaluate", "--model", output));
        foreach (string tooLong in (string[])[Path.Combine(output, part, part, part), TestFolder.New(new('x', 300))])
        {
            ToolResult refused = Tool.Run("train", "--data", s_bars, "--network", s_network, "--epochs", "1", "--output", tooLong);
            Assert.That(refused.ErrorLine, Does.StartWith($"--output: cannot write to '{tooLong}': "));
            Assert.That(refused.ExitCode, Is.EqualTo(2));
        }
    }

    // The tool is set to the invariant culture; here it is not, so that a number written by the user's own would be seen.
    [TestCase("de_DE.UTF-8")]
    [TestCase("tr_TR.UTF-8")]
    [TestCase("ar_SA.UTF-8")]
    public void No_culture_changes_what_is_read_and_written(string culture)
    {
        string settings = TestFolder.New() + ".json";
        JsonNode runtime = JsonNode.Parse(File.ReadAllText(Path.Combine(TestBinaries, "adadelta.runtimeconfig.json")))!;
        runtime["runtimeOptions"]!["configProperties"]!["System.Globalization.Invariant"] = false;
        runtime["runtimeOptions"]!["configProperties"]!["System.Globalization.PredefinedCulturesOnly"] = false;
        File.WriteAllText(settings, runtime.ToJsonString());
        ToolResult Run(string language, params string[] arguments) => Tool.RunInShell(
            "LC_ALL=$LANGUAGE_OF_TEST; export LC_ALL; shift 2; exec dotnet exec --runtimeconfig \"$CONFIG\" \"$DLL\" \"$@\"", arguments,
            ("LANGUAGE_OF_TEST", language), ("CONFIG", settings), ("DLL", Path.Combine(TestBinaries, "adadelta.dll")));

        string expected = TestFolder.New(), output = TestFolder.New();
        string[] train = ["train", "--data", s_bars, "--network", s_network, "--epochs", "2", "--lr", "0.25", "--schedule", "step:1,0.5", "--output"];
        ToolResult first = Run("C.UTF-8", [.. train, expected]);
        if (first.Error.Contains("ICU", StringComparison.Ordinal))
        {
            Assert.Ignore("the system has no ICU, and so no cultures");
        }

        Succeeds(first);
        Succeeds(Run(culture, [.. train, output]));
        foreach (string file in (string[])["steps.csv", "model.safetensors", "loss.svg"])
        {
            Assert.That(File.ReadAllBytes(Path.Combine(output, file)), Is.EqualTo(File.ReadAllBytes(Path.Combine(expected, file))), file);
        }

        LossHistory.ReadCsv(Path.Combine(output, "steps.csv"), Path.Combine(output, "epochs.csv"));
        Assert.That(Results(output), Is.EqualTo(Results(expected)));
        Succeeds(Run(culture, "train", "--resume", output, "--epochs", "3", "--lr", "0.25"));
        Assert.That(Run(culture, "evaluate", "--model", expected).Lines[2..], Is.EqualTo(Run("C.UTF-8", "evaluate", "--model", expected).Lines[2..]));
        Assert.That(Run(culture, "predict", "--model", expected, "0").Output, Is.EqualTo(Run("C.UTF-8", "predict", "--model", expected, "0").Output));
        Assert.That(Run(culture, "train", "--lr", "0,1").ErrorLine, Is.EqualTo("--lr: 0,1, expected a finite number >= 0"));

        static string Results(string folder)
        {
            JsonNode results = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "run.json")))!["results"]!;
            results["training_seconds"] = null;
            return results.ToJsonString();
        }
    }

    [Test]
    public void Without_skias_library_the_curve_is_missing_with_a_warning_and_nothing_else_is()
    {
        string tool = CopyTool(file => !file.StartsWith("libSkiaSharp", StringComparison.Ordinal));
        string output = TestFolder.New();
        ToolResult result = Tool.RunDll(
            Path.Combine(tool, "adadelta.dll"), "train", "--data", s_bars, "--network", s_network, "--epochs", "1", "--output", output);
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        Assert.That(result.Error, Is.EqualTo(
            "warning: loss.png and loss.svg are not drawn: the library libSkiaSharp cannot be loaded: no such file; install the tool again\n"));
        Assert.That(result.Lines[^1], Is.EqualTo($"Written to {output}: steps.csv, epochs.csv, run.json, checkpoint.safetensors, model.safetensors"));
        Assert.That(
            Directory.GetFiles(output).Select(Path.GetFileName),
            Is.EquivalentTo([".lock", "steps.csv", "epochs.csv", "run.json", "checkpoint.safetensors", "model.safetensors"]));

        string picture = PngFile.Write(PngFile.Create(8, 8, 8, PngFile.Gray, _ => new byte[8]));
        result = Tool.RunDll(Path.Combine(tool, "adadelta.dll"), "predict", "--model", output, picture);
        Assert.That(result.ErrorLine, Is.EqualTo("the library libSkiaSharp cannot be loaded: no such file; install the tool again"));
        Assert.That(result.ExitCode, Is.EqualTo(1));
    }

    [Test]
    public void More_threads_than_processors_are_warned_of()
    {
        string[] train = ["train", "--data", s_bars, "--network", s_network, "--epochs", "1"];
        Dictionary<string, string?> processors = new() { ["DOTNET_PROCESSOR_COUNT"] = "2" };
        ToolResult more = Tool.Run(processors, [.. train, "--threads", "3", "--output", TestFolder.New()]);
        Assert.That(more.ExitCode, Is.Zero);
        Assert.That(more.Error, Is.EqualTo("warning: --threads: 3, more than the 2 processors that this process may use: they wait for each other\n"));
        foreach (string threads in (string[])["0", "1", "2"])
        {
            Assert.That(Tool.Run(processors, [.. train, "--threads", threads, "--output", TestFolder.New()]).Error, Is.Empty, threads);
        }
    }

    [Test]
    public void A_device_that_is_not_here_is_refused_in_the_words_of_the_option()
    {
        string model = TestFolder.New();
        Succeeds(Tool.Run("train", "--data", s_bars, "--network", s_network, "--epochs", "1", "--output", model));
        Dictionary<string, string?> none = new() { ["ADADELTA_BACKEND_PATH"] = "/nowhere" };
        foreach (string[] command in (string[][])[["train", "--data", s_bars, "--output", TestFolder.New()], ["evaluate", "--model", model], ["predict", "--model", model, "0"]])
        {
            ToolResult result = Tool.Run(none, [.. command, "--device", "cuda"]);
            Assert.That(result.ErrorLine, Does.StartWith("--device: cuda:0: ").And.Contain("/nowhere").And.Not.Contain("options."));
            Assert.That(result.ExitCode, Is.EqualTo(2));
            Assert.That(result.Output, Is.Empty);
        }
    }

    // A file may not grow past 32 KiB: the checkpoint, which holds the losses, does in time.
    [Platform("Linux")]
    [Test]
    public void A_checkpoint_that_cannot_be_written_ends_the_run_and_leaves_the_one_before()
    {
        string output = TestFolder.New();
        ToolResult result = Tool.RunInShell(
            "trap '' XFSZ; ulimit -f 64; export DOTNET_EnableWriteXorExecute=0; exec \"$@\"",
            ["train", "--data", s_bars, "--network", s_network, "--epochs", "2000", "--checkpoint-steps", "100", "--output", output]);
        string checkpoint = Path.Combine(output, "checkpoint.safetensors");
        Assert.That(result.ErrorLine, Does.StartWith("training ended after step ").And.Contain($"checkpoint {checkpoint}: not written: "));
        Assert.That(result.ExitCode, Is.EqualTo(1));
        Assert.That(Directory.GetFiles(output, "*.tmp"), Is.Empty);
        int steps = (int)SafeTensors.Read(checkpoint).Tensors.Single(tensor => tensor.Name == "training.losses").Shape[0];
        Assert.That(steps, Is.GreaterThan(100));
        ToolResult resumed = Succeeds(Tool.Run("train", "--resume", output, "--epochs", "2000"));
        Assert.That(resumed.Lines, Does.Contain($"Resumed: {checkpoint}, epoch {steps / 4} after step 4"));
        Assert.That(LossHistory.ReadCsv(Path.Combine(output, "steps.csv")).Steps, Has.Count.EqualTo(8000));
    }

    [Platform("Unix")]
    [Test]
    public void A_folder_that_vanishes_in_the_course_of_a_run_is_made_again_and_one_that_cannot_be_ends_it_with_one_line()
    {
        string output = TestFolder.New();
        string[] train = ["train", "--data", s_bars, "--network", s_network, "--epochs", "1000000", "--checkpoint-steps", "1000000", "--output", output];
        using (Tool.RunningTool training = Tool.Start(train))
        {
            training.WaitForLine("Epoch [2], ");
            Directory.Delete(output, recursive: true);
            training.Signal("TERM");
            ToolResult result = training.WaitForExit();
            Assert.That(result.ExitCode, Is.EqualTo(130), result.Error);
            Assert.That(Directory.GetFiles(output).Select(Path.GetFileName), Does.Contain("model.safetensors").And.Contain("checkpoint.safetensors"));
        }

        Directory.Delete(output, recursive: true);
        using (Tool.RunningTool training = Tool.Start(train))
        {
            training.WaitForLine("Epoch [2], ");
            Directory.Delete(output, recursive: true);
            File.WriteAllText(output, "a file in its place");
            training.Signal("TERM");
            ToolResult result = training.WaitForExit();
            Assert.That(result.ErrorLine, Does.Contain($"checkpoint {Path.Combine(output, "checkpoint.safetensors")}: not written: "));
            Assert.That(result.ExitCode, Is.EqualTo(1));
            Assert.That(File.ReadAllText(output), Is.EqualTo("a file in its place"));
        }
    }

    [Platform("Linux")]
    [UnsupportedOSPlatform("windows")]
    [Test]
    public void A_folder_that_becomes_read_only_ends_the_run_with_one_line_and_keeps_what_is_in_it()
    {
        const string User = "65534";
        if (Environment.IsPrivilegedProcess && !File.Exists("/usr/bin/setpriv"))
        {
            Assert.Ignore("root may write everywhere, and /usr/bin/setpriv, which makes it another user, is not here");
        }

        if (Assembly.LoadFrom(Path.Combine(TestContext.CurrentContext.TestDirectory, "adadelta.dll")).GetTypes()
            .Any(type => type.Namespace?.StartsWith("Coverlet.", StringComparison.Ordinal) == true))
        {
            Assert.Ignore("the tool counts its coverage, in a file that another user cannot write");
        }

        string folder = Directory.CreateDirectory(Path.Combine(Path.GetTempPath(), Path.GetRandomFileName())).FullName;
        try
        {
            UnixFileMode all = (UnixFileMode)0b111_111_111, read = (UnixFileMode)0b101_101_101;
            string output = Path.Combine(folder, "output"), data = Path.Combine(folder, "data"), tool = CopyTool(_ => true, Path.Combine(folder, "tool"));
            Directory.Move(Bars.CreateFolder(), data);
            string network = Path.Combine(folder, "net.json");
            File.WriteAllText(network, Bars.Network);
            Directory.CreateDirectory(output);
            foreach (string path in (string[])[folder, data, output])
            {
                File.SetUnixFileMode(path, all);
            }

            string become = Environment.IsPrivilegedProcess ? $"exec setpriv --reuid={User} --clear-groups" : "exec";
            string[] train = ["train", "--data", data, "--network", network, "--epochs", "1000000", "--checkpoint-steps", "20", "--output", output];
            byte[] before;
            using (Tool.RunningTool training = Tool.StartInShell(
                $"cd /; shift 2; {become} env HOME={folder} DOTNET_EnableDiagnostics=0 dotnet {Path.Combine(tool, "adadelta.dll")} \"$@\"", train))
            {
                training.WaitForLine("Epoch [20], ");
                File.SetUnixFileMode(output, read);
                ToolResult result = training.WaitForExit();
                string checkpoint = Path.Combine(output, "checkpoint.safetensors");
                Assert.That(result.ErrorLine, Does.Contain($"checkpoint {checkpoint}: not written: "));
                Assert.That(result.ExitCode, Is.EqualTo(1));
                before = File.ReadAllBytes(checkpoint);
                Assert.That(SafeTensors.Read(checkpoint).Tensors, Is.Not.Empty);
            }

            using (Tool.RunningTool refused = Tool.StartInShell(
                $"cd /; shift 2; {become} env HOME={folder} DOTNET_EnableDiagnostics=0 dotnet {Path.Combine(tool, "adadelta.dll")} \"$@\"", [.. train, "--overwrite"]))
            {
                ToolResult result = refused.WaitForExit();
                Assert.That(result.ErrorLine, Does.Match($"^--output: cannot write to '{Regex.Escape(output)}': "));
                Assert.That(result.ExitCode, Is.EqualTo(2));
                Assert.That(File.ReadAllBytes(Path.Combine(output, "checkpoint.safetensors")), Is.EqualTo(before));
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>The tool as it is published: what it needs on this system, and of that what is kept.</summary>
    private static string CopyTool(Predicate<string> keep, string? folder = null)
    {
        folder = Directory.CreateDirectory(folder ?? TestFolder.New("tool")).FullName;
        string runtimes = Path.Combine("runtimes", OperatingSystem.IsLinux() ? "linux-x64" : "");
        foreach (string file in Directory.EnumerateFiles(TestBinaries, "*", SearchOption.AllDirectories))
        {
            string relative = Path.GetRelativePath(TestBinaries, file);
            bool needed = !relative.Contains(Path.DirectorySeparatorChar, StringComparison.Ordinal) || relative.StartsWith(runtimes, StringComparison.Ordinal);
            if (needed && keep(Path.GetFileName(file)))
            {
                string target = Path.Combine(folder, relative);
                Directory.CreateDirectory(Path.GetDirectoryName(target)!);
                File.Copy(file, target);
            }
        }

        return folder;
    }

    private static ToolResult Succeeds(ToolResult result)
    {
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        return result;
    }
}
