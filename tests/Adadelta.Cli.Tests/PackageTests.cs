using System.Diagnostics;
using System.IO.Compression;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Adadelta.Cli.Tests;

/// <summary>
/// The packages that ship, packed and taken into use as a stranger would: from a folder feed, with an empty package cache, outside
/// the checkout.
/// </summary>
/// <remarks>
/// Nothing is fetched: the other packages come from the machine's own cache, where the build of these tests put them.
/// </remarks>
internal sealed partial class PackageTests
{
    private const string Native = "Adadelta.Native";
    private const string Training = "Adadelta.Training";
    private const string CommandLine = "adadelta";

    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(10);
    private static readonly string s_folder = TestFolder.New("packages");
    private static readonly string s_feed = Path.Combine(s_folder, "feed");
    private static readonly string s_cache = Path.Combine(s_folder, "cache");
    private static readonly string s_config = Path.Combine(s_folder, "nuget.config");

    [OneTimeSetUp]
    public void Pack()
    {
        // Others' packages are those of this machine, on which an earlier build of ours may stand as well.
        string machineCache = Dotnet(s_folder, "nuget", "locals", "global-packages", "--list").Split(": ", 2)[1].Trim();
        File.WriteAllText(s_config, new XElement(
            "configuration",
            new XElement(
                "packageSources", new XElement("clear"),
                new XElement("add", new XAttribute("key", "feed"), new XAttribute("value", s_feed)),
                new XElement("add", new XAttribute("key", "machine"), new XAttribute("value", machineCache))),
            new XElement(
                "packageSourceMapping", new XElement("clear"), TakenFrom("feed", "adadelta*"), TakenFrom("machine", "*"))).ToString());

        static XElement TakenFrom(string source, string packages) => new(
            "packageSource", new XAttribute("key", source), new XElement("package", new XAttribute("pattern", packages)));

        // The tool first: its build is that of the others too.
        Dotnet(s_folder, "pack", Project("Adadelta.Cli"), "-c", "Release", "-o", s_feed, "--no-restore");
        Dotnet(s_folder, "pack", Project(Native), "-c", "Release", "-o", s_feed, "--no-build");
        Dotnet(s_folder, "pack", Project(Training), "-c", "Release", "-o", s_feed, "--no-build");
    }

    // A newer SDK warns of more. CI makes errors of warnings by ADADELTA_WERROR, which does not reach this.
    [Test]
    public void Warnings_do_not_stop_who_builds_from_source() =>
        Assert.That(
            Dotnet(s_folder, "msbuild", Project(Native), "-getProperty:TreatWarningsAsErrors").Trim(), Is.Not.EqualTo("true").IgnoreCase);

    [TestCase(Native)]
    [TestCase(Training)]
    [TestCase(CommandLine)]
    public void A_package_says_what_it_is(string id)
    {
        using ZipArchive package = ZipFile.OpenRead(PackageFile(id));
        ZipArchiveEntry? nuspec = package.GetEntry($"{id}.nuspec");
        Assert.That(nuspec, Is.Not.Null);
        using Stream stream = nuspec!.Open();
        XElement metadata = XDocument.Load(stream).Root!.Elements().Single();
        string[] told = [.. metadata.Elements().Where(element => element.Value.Length > 0).Select(element => element.Name.LocalName)];
        Assert.That(
            told, Is.SupersetOf(["id", "version", "authors", "license", "readme", "description", "copyright", "tags"]));
        Assert.That(package.Entries.Select(entry => entry.FullName), Is.SupersetOf(["README.md", "LICENSE"]));
    }

    [Test]
    public void The_native_package_holds_the_library_of_this_platform()
    {
        using ZipArchive package = ZipFile.OpenRead(PackageFile(Native));
        string[] libraries = [.. package.Entries.Select(entry => entry.FullName).Where(name => name.StartsWith("runtimes/", StringComparison.Ordinal))];
        Assert.That(libraries, Has.Length.EqualTo(1));
        Assert.That(libraries[0], Does.Match("^runtimes/(linux|osx|win)-[a-z0-9-]+/native/(lib)?adadelta_native\\.(so|dylib|dll)$"));
    }

    // NuGet takes 250 MB. Skia's libraries for every system, with their symbols, once brought the tool near that.
    [TestCase(Native, 2)]
    [TestCase(Training, 2)]
    [TestCase(CommandLine, 30)]
    public void A_package_is_small(string id, int megabytes) =>
        Assert.That(new FileInfo(PackageFile(id)).Length, Is.LessThan(megabytes << 20));

    [TestCase(Native)]
    [TestCase(Training)]
    [TestCase(CommandLine)]
    public void A_package_holds_nothing_of_the_machine_that_built_it(string id)
    {
        string[] places = [RepositoryRoot, Environment.GetFolderPath(Environment.SpecialFolder.UserProfile) + "/.nuget"];
        using ZipArchive package = ZipFile.OpenRead(PackageFile(id));
        Assert.Multiple(() =>
        {
            foreach (ZipArchiveEntry entry in package.Entries.Where(entry => IsOurs(entry.Name)))
            {
                using MemoryStream content = new();
                using (Stream stream = entry.Open())
                {
                    stream.CopyTo(content);
                }

                // The symbols in an assembly are compressed; their documents are the sources that it was compiled from.
                string[] sources = entry.Name.EndsWith(".dll", StringComparison.Ordinal) ? SourcesOf(content) : [];
                Assert.That(sources, entry.Name.EndsWith(".dll", StringComparison.Ordinal) ? Is.Not.Empty : Is.Empty, entry.FullName);
                foreach (string place in places)
                {
                    Assert.That(sources.Where(source => source.StartsWith(place, StringComparison.Ordinal)), Is.Empty, entry.FullName);
                    foreach (Encoding encoding in (Encoding[])[Encoding.UTF8, Encoding.Unicode])
                    {
                        Assert.That(
                            content.GetBuffer().AsSpan(0, (int)content.Length).IndexOf(encoding.GetBytes(place)), Is.LessThan(0),
                            $"{place} in {entry.FullName}");
                    }
                }
            }
        });

        static string[] SourcesOf(MemoryStream assembly)
        {
            assembly.Position = 0;
            using PEReader portable = new(assembly, PEStreamOptions.LeaveOpen);
            DebugDirectoryEntry symbols = portable.ReadDebugDirectory().Single(entry => entry.Type == DebugDirectoryEntryType.EmbeddedPortablePdb);
            using MetadataReaderProvider provider = portable.ReadEmbeddedPortablePdbDebugDirectoryData(symbols);
            MetadataReader reader = provider.GetMetadataReader();
            return [.. reader.Documents.Select(document => reader.GetString(reader.GetDocument(document).Name))];
        }

        static bool IsOurs(string name) => name.Contains("adadelta", StringComparison.OrdinalIgnoreCase);
    }

    [Test]
    public void A_program_made_of_the_native_package_and_its_readme_trains()
    {
        string output = RunReadme(Native, "Console.WriteLine($\"loss {loss}; {NativeLibraryInfo.Path}\");");
        Assert.That(output, Does.Match("^loss [0-9]"));
        // Not the checkout's library: the one that the package brought.
        string runtimes = Path.Combine(s_folder, Native, "program", "runtimes");
        Assert.That(output, Does.Contain($"; {runtimes}"));
    }

    [Test]
    public void A_program_made_of_the_training_package_and_its_readme_trains_and_writes_its_files()
    {
        string output = RunReadme(
            Training, "Console.WriteLine($\"{history.Steps.Count} steps, accuracy {history.Epochs[0].TestAccuracy}\");");
        Assert.That(output, Does.StartWith("94 steps, accuracy 0."));
        string folder = Path.Combine(s_folder, Training);
        Assert.That(File.ReadAllLines(Path.Combine(folder, "loss.csv")), Has.Length.EqualTo(95));
        Assert.That(new FileInfo(Path.Combine(folder, "model.safetensors")).Length, Is.GreaterThan(4 * 582_026));
    }

    [Test]
    public void The_tool_installs_examines_the_machine_and_trains()
    {
        string tools = Path.Combine(s_folder, "tools");
        Dotnet(s_folder, "tool", "install", CommandLine, "--tool-path", tools, "--configfile", s_config);
        string tool = Path.Combine(tools, OperatingSystem.IsWindows() ? "adadelta.exe" : "adadelta");

        string doctor = Run(tool, s_folder, ["doctor"]);
        Assert.That(doctor, Does.Match($"Native library +{Regex.Escape(tools)}"));
        Assert.That(doctor, Does.Match("Backend cpu +works"));

        // The plot needs Skia's own native library.
        string output = Path.Combine(s_folder, "trained");
        Run(tool, s_folder, ["train", "--data", "digits", "--limit", "64", "--epochs", "1", "--output", output]);
        Assert.That(Directory.GetFiles(output).Select(Path.GetFileName), Is.SupersetOf(["loss.png", "loss.svg", "model.safetensors"]));
    }

    // As the readme's program, and with every warning of the trimmer and the compiler an error.
    [TestCase("trimmed", "PublishTrimmed")]
    [TestCase("aot", "PublishAot")]
    public void A_program_is_published_without_a_warning_and_trains_the_same(string name, string property)
    {
        if (name == "aot" && !OperatingSystem.IsWindows() && !IsOnThePath("clang") && !IsOnThePath("gcc"))
        {
            Assert.Ignore("publishing ahead of time needs a linker: neither clang nor gcc is here");
        }

        string folder = MakeProgram(
            Training, name, "Console.WriteLine($\"{history.Steps.Count} steps, accuracy {history.Epochs[0].TestAccuracy}\");",
            $"<{property}>true</{property}><TreatWarningsAsErrors>true</TreatWarningsAsErrors>",
            "<DisableTransitiveFrameworkReferenceDownloads>true</DisableTransitiveFrameworkReferenceDownloads>");
        string published = Path.Combine(folder, "published");
        Dotnet(folder, "publish", "-r", Runtime, "-o", published, $"-p:RestoreConfigFile={s_config}");
        // The trimmer could do without warnings by keeping everything.
        Assert.That(Directory.GetFiles(published, "CsvHelper.dll"), Is.Empty);
        Assert.That(Directory.GetFiles(published, "*adadelta_native.*"), Has.Length.EqualTo(1));

        string output = Run(Path.Combine(published, OperatingSystem.IsWindows() ? "Sample.exe" : "Sample"), folder, ["run"]);
        Assert.That(output, Does.StartWith("94 steps, accuracy 0."));
        string[] losses = File.ReadAllLines(Path.Combine(folder, "loss.csv"));
        Assert.That(losses, Has.Length.EqualTo(95));
        Assert.That(losses[0], Is.EqualTo("epoch,step,loss,learning_rate"));
        Assert.That(losses[94], Does.Match("^1,94,0?\\.?[0-9.E-]+,[0-9.]+$"));
    }

    [Test]
    public void A_runtime_without_a_native_library_is_told_when_a_program_is_built_for_it()
    {
        string folder = MakeProgram(Native, "runtimes", "Console.WriteLine(loss);", "<UseAppHost>false</UseAppHost>");
        string[] others = [.. new[] { "win-x64", "linux-x64", "linux-arm64", "linux-musl-x64", "osx-arm64" }.Except([Runtime])];
        foreach (string runtime in others)
        {
            Assert.That(
                Build(runtime),
                Does.Match($"warning ADN0005: RuntimeIdentifier: {runtime}, Adadelta.Native has its native library for: {Runtime}\\."));
        }

        Assert.That(Build(Runtime), Does.Not.Contain("ADN0005"));

        string Build(string runtime) =>
            Dotnet(folder, "build", "-r", runtime, "--no-self-contained", $"-p:RestoreConfigFile={s_config}");
    }

    private static string Runtime { get; } =
        $"{(OperatingSystem.IsWindows() ? "win" : OperatingSystem.IsMacOS() ? "osx" : "linux")}-"
        + RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant();

    private static bool IsOnThePath(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Any(folder => File.Exists(Path.Combine(folder, program)));

    /// <summary>A folder with the sample of a package's own readme in a project that knows the package alone.</summary>
    private static string MakeProgram(string id, string name, string lastLine, params string[] properties)
    {
        string folder = Directory.CreateDirectory(Path.Combine(s_folder, name)).FullName;
        string[] file = Path.GetFileNameWithoutExtension(PackageFile(id)).Split('.', 3);
        File.WriteAllText(Path.Combine(folder, "Sample.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net{Environment.Version.ToString(2)}</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <Nullable>enable</Nullable>
                {string.Concat(properties)}
              </PropertyGroup>
              <ItemGroup>
                <PackageReference Include="{id}" Version="{file[2]}" />
              </ItemGroup>
            </Project>
            """);
        using ZipArchive package = ZipFile.OpenRead(PackageFile(id));
        using StreamReader readme = new(package.GetEntry("README.md")!.Open());
        IEnumerable<string> sample = readme.ReadToEnd().Split('\n').Where(line => line.StartsWith("    ", StringComparison.Ordinal));
        File.WriteAllLines(Path.Combine(folder, "Program.cs"), [.. sample, lastLine]);
        return folder;
    }

    /// <summary>Builds the sample of a package's own readme and runs it.</summary>
    private static string RunReadme(string id, string lastLine)
    {
        string folder = MakeProgram(id, id, lastLine);
        Dotnet(folder, "build", "-o", "program", $"-p:RestoreConfigFile={s_config}");
        foreach (string package in Directory.GetDirectories(s_cache, "adadelta.*"))
        {
            string metadata = Directory.GetFiles(package, ".nupkg.metadata", SearchOption.AllDirectories).Single();
            using JsonDocument json = JsonDocument.Parse(File.ReadAllText(metadata));
            Assert.That(json.RootElement.GetProperty("source").GetString(), Is.EqualTo(s_feed), package);
        }

        return Dotnet(folder, "program/Sample.dll");
    }

    private static string PackageFile(string id) =>
        Directory.GetFiles(s_feed).Single(file => VersionBehind().Replace(Path.GetFileName(file), "") == id);

    [GeneratedRegex(@"\.\d.*$")]
    private static partial Regex VersionBehind();

    private static string RepositoryRoot { get; } = FindRepository();

    private static string Project(string name) => Path.Combine(RepositoryRoot, "src", name);

    private static string FindRepository()
    {
        DirectoryInfo? folder = new(TestContext.CurrentContext.TestDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "Adadelta.Native.sln")))
        {
            folder = folder.Parent;
        }

        return folder?.FullName ?? throw new DirectoryNotFoundException("no Adadelta.Native.sln in or above the tests");
    }

    private static string Dotnet(string folder, params string[] arguments) => Run("dotnet", folder, arguments);

    private static string Run(string program, string folder, string[] arguments)
    {
        Directory.CreateDirectory(folder);
        ProcessStartInfo start = new(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = folder,
        };
        // dotnet test hands its own settings down, and none of them belong to the packages; nor may a server outlive the test.
        foreach (string name in start.Environment.Keys.Where(IsBuildSetting).ToArray())
        {
            start.Environment.Remove(name);
        }

        start.Environment["DOTNET_CLI_TELEMETRY_OPTOUT"] = start.Environment["DOTNET_NOLOGO"] = "1";
        start.Environment["DOTNET_CLI_USE_MSBUILD_SERVER"] = "0";
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["UseSharedCompilation"] = "false";
        start.Environment["XDG_CACHE_HOME"] = Path.Combine(s_folder, "xdg");
        if (arguments[0] is not ("pack" or "nuget"))
        {
            start.Environment["NUGET_PACKAGES"] = s_cache;
        }

        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        if (!process.WaitForExit(s_patience))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"{program} {string.Join(' ', arguments)} did not end within {s_patience}");
        }

        Assert.That(process.ExitCode, Is.Zero, $"{program} {string.Join(' ', arguments)}\n{output.Result}{error.Result}");
        return output.Result;

        static bool IsBuildSetting(string name) =>
            name.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase) || name.StartsWith("ADADELTA_", StringComparison.Ordinal)
            || name is "SkipNativeBuild";
    }
}
