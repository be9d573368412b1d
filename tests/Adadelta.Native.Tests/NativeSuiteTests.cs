using System.ComponentModel;
using System.Diagnostics;
using System.Text.Json;
using System.Xml.Linq;
using NUnit.Framework;

namespace Adadelta.Native.Tests;

// The native tests, one case for each of ctest's, so that one command runs them all.
internal sealed class NativeSuiteTests
{
    private static readonly string s_folder = Path.Combine(Repository.Root, "artifacts", "native", "tests");
    private static readonly string s_buildFolder = Path.Combine(Repository.Root, "src", "Adadelta.Native", "build");

    // How NativeLibrary.cmake begins what it says of a tool that is missing or too old.
    private static readonly string[] s_toolErrors = ["No C++ compiler", "C++ compiler: ", "CMake: "];

    private Dictionary<string, XElement> _results = [];

    public static IEnumerable<TestCaseData> Cases
    {
        get
        {
            if (string.Equals(Environment.GetEnvironmentVariable("SkipNativeBuild"), "true", StringComparison.OrdinalIgnoreCase))
            {
                return [NotBuilt().Ignore("SkipNativeBuild is true")];
            }
            var error = Build(out var toolsAreMissing);
            return error is null ? Names().Select(name => new TestCaseData(name).SetName($"ctest {name}"))
                : toolsAreMissing ? [NotBuilt().Ignore(error)]
                : [NotBuilt()];

            static TestCaseData NotBuilt() => new TestCaseData("").SetName("The native tests build");
        }
    }

    [OneTimeSetUp]
    public void RunAll()
    {
        var report = Path.Combine(s_folder, "nunit.junit.xml");
        File.Delete(report);
        var (_, output) = Run("ctest", "--test-dir", s_folder, "-C", "Release", "--parallel", $"{Environment.ProcessorCount}", "--output-junit", report);
        // A suite that did not build has no report; its one case says why.
        Assert.That(File.Exists(report) || Build(out _) is not null, output);
        if (File.Exists(report))
        {
            _results = XDocument.Load(report).Descendants("testcase").ToDictionary(result => (string)result.Attribute("name")!);
        }
    }

    [TestCaseSource(nameof(Cases))]
    public void Passes(string name)
    {
        if (name.Length == 0)
        {
            Assert.Fail(Build(out _) ?? "it does by now; run the tests again");
        }
        var result = _results[name];
        var output = (string?)result.Element("system-out") ?? "";
        var status = (string?)result.Attribute("status");
        // A test that skipped itself; one that could not be started is "notrun" as well.
        if (status == "notrun" && ((string?)result.Element("skipped")?.Attribute("message") ?? "").StartsWith("SKIP_", StringComparison.Ordinal))
        {
            Assert.Ignore(output);
        }
        if (status != "run")
        {
            Assert.Fail(output);
        }
    }

    // Null when it was built; else what went wrong.
    private static string? Build(out bool toolsAreMissing)
    {
        var errorFile = Path.Combine(s_folder, "dotnet.error.txt");
        try
        {
            var (exitCode, output) = Run(
                "cmake", $"-DSOURCE={Repository.Root}", $"-DBUILD={s_folder}", "-DTESTS=ON", $"-DERROR_FILE={errorFile}",
                "-P", Path.Combine(s_buildFolder, "NativeLibrary.cmake"));
            var error = exitCode == 0 ? null : File.Exists(errorFile) ? File.ReadAllText(errorFile) : output;
            toolsAreMissing = error is not null && s_toolErrors.Any(start => error.StartsWith(start, StringComparison.Ordinal));
            return error;
        }
        catch (Win32Exception)
        {
            toolsAreMissing = true;
            return $"CMake was not found. {File.ReadAllText(Path.Combine(s_buildFolder, "install-tools.txt"))}";
        }
    }

    private static IEnumerable<string> Names()
    {
        var (_, output) = Run("ctest", "--test-dir", s_folder, "-C", "Release", "--show-only=json-v1");
        using var suite = JsonDocument.Parse(output[output.IndexOf('{', StringComparison.Ordinal)..]);
        return [.. suite.RootElement.GetProperty("tests").EnumerateArray().Select(test => test.GetProperty("name").GetString()!)];
    }

    private static (int ExitCode, string Output) Run(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        })!;
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + error.Result);
    }
}
