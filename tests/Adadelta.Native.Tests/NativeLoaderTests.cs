using System.Reflection;
using System.Runtime.InteropServices;
using System.Runtime.Loader;
using Adadelta.Native.Interop;
using NUnit.Framework;

namespace Adadelta.Native.Tests;

internal sealed class NativeLoaderTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("adadelta-loader-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void The_library_of_the_repository_is_loaded_from_beside_the_assembly()
    {
        Assert.That(NativeLibraryInfo.Version, Does.Match(@"^\d+\.\d+\.\d+"));
        Assert.That(NativeLibraryInfo.AbiVersion, Is.EqualTo(1u));
        Assert.That(NativeLibraryInfo.Attempts[^1], Is.EqualTo(new LoadAttempt(NativeLibraryInfo.Path!, null)));
        if (string.IsNullOrEmpty(Environment.GetEnvironmentVariable(NativeLoader.PathVariable)))
        {
            Assert.That(
                NativeLibraryInfo.Path,
                Is.EqualTo(Path.Combine(Path.GetDirectoryName(typeof(DeviceTensor).Assembly.Location)!, NativeLoader.FileName)));
        }
    }

    [Test]
    public void Reasons_of_the_backends()
    {
        Assert.That(NativeLibraryInfo.BackendReason("cpu"), Is.Empty);
        Assert.That(() => NativeLibraryInfo.BackendReason("cuda"), Throws.Nothing);
        Assert.That(
            () => NativeLibraryInfo.BackendReason("tpu"),
            Throws.ArgumentException.With.Message.Contains("backend: \"tpu\", expected \"cpu\" or \"cuda\""));
        Assert.That(() => NativeLibraryInfo.BackendReason(null!), Throws.ArgumentNullException);
    }

    [Test]
    public void Folders_are_searched_for_the_file_and_for_the_layout_of_a_package()
    {
        var candidates = NativeLoader.Candidates(null, ["/first", "/second"]).ToArray();
        Assert.That(candidates[0], Is.EqualTo(Path.Combine("/first", NativeLoader.FileName)));
        Assert.That(
            candidates[1],
            Is.EqualTo(Path.Combine("/first", "runtimes", RuntimeInformation.RuntimeIdentifier, "native", NativeLoader.FileName)));
        Assert.That(candidates, Does.Contain(Path.Combine("/second", NativeLoader.FileName)));
        Assert.That(candidates[^1], Is.EqualTo("adadelta_native"), "the host's and the system's own search comes last");
    }

    [Test]
    public void An_explicit_path_is_the_only_one_tried()
    {
        var file = Path.Combine(_folder, "library");
        Assert.That(NativeLoader.Candidates(file, ["/first"]), Is.EqualTo(new[] { file }));
        var inFolder = NativeLoader.Candidates(_folder, ["/first"]).ToArray();
        Assert.That(inFolder[0], Is.EqualTo(Path.Combine(_folder, NativeLoader.FileName)));
        Assert.That(inFolder, Is.All.StartsWith(_folder));
    }

    [Test]
    public void The_first_that_works_is_taken_and_the_others_keep_their_reasons()
    {
        var missing = Path.Combine(_folder, "missing");
        var result = NativeLoader.Load([missing, NativeLibraryInfo.Path!, "never tried"], NativeMethods.ADN_ABI_VERSION);
        Assert.That(result.Path, Is.EqualTo(NativeLibraryInfo.Path));
        Assert.That(
            result.Attempts,
            Is.EqualTo(new[] { new LoadAttempt(missing, "no such file"), new LoadAttempt(NativeLibraryInfo.Path!, null) }));
    }

    [Test]
    public void Every_failure_is_told_with_its_reason()
    {
        var missing = Path.Combine(_folder, "missing");
        var text = Path.Combine(_folder, "text");
        File.WriteAllText(text, "not a library");
        // Any other native library will do: this one comes with every runtime.
        var foreign = Directory.GetFiles(RuntimeEnvironment.GetRuntimeDirectory(), "*System.Native*").First();

        var result = NativeLoader.Load([missing, text, foreign, NativeLibraryInfo.Path!], abiVersion: 999);

        Assert.That(result.Handle, Is.EqualTo(nint.Zero));
        Assert.That(result.Path, Is.Null);
        Assert.That(result.Attempts, Has.Count.EqualTo(4));
        Assert.That(result.Attempts[0].Error, Is.EqualTo("no such file"));
        Assert.That(result.Attempts[1].Error, Is.Not.Empty.And.Not.Contains("\n"));
        Assert.That(result.Attempts[2].Error, Is.EqualTo("not an Adadelta.Native library: it has no adn_abi_version"));
        Assert.That(result.Attempts[3].Error, Does.StartWith("ABI version 1, expected 999"));
        var message = result.Describe();
        foreach (var attempt in result.Attempts)
        {
            Assert.That(message, Does.Contain($"{attempt.Path}: {attempt.Error}"));
        }
        Assert.That(message, Does.Contain(NativeLoader.PathVariable));
    }

    // The system's own loader would die of the truncated ones.
    [TestCase("empty", "an empty file")]
    [TestCase("text", "a text file, expected a shared library")]
    [TestCase("pointer", "a Git LFS pointer in place of the file")]
    [TestCase("archive", "a static library, expected a shared one")]
    [TestCase("noise", "not a shared library")]
    [TestCase("folder", "a folder, expected a file")]
    [TestCase("half", "truncated: [0-9]+ bytes, expected at least [0-9]+")]
    [TestCase("one byte short of its segments", "truncated: [0-9]+ bytes, expected at least [0-9]+")]
    [TestCase("header", "truncated: it ends after 50 bytes, within its own headers")]
    [TestCase("other processor", "made for (Arm64|X64), this process is ")]
    [TestCase("other system", "a (macOS|Windows) library .*, expected ")]
    public void A_file_that_cannot_be_loaded_is_told_for_what_it_is(string what, string expected)
    {
        var library = File.ReadAllBytes(NativeLibraryInfo.Path!);
        var path = Path.Combine(_folder, NativeLoader.FileName);
        switch (what)
        {
            case "folder":
                Directory.CreateDirectory(path);
                break;
            case "one byte short of its segments":
                if (!OperatingSystem.IsLinux())
                {
                    Assert.Ignore("where segments end is read from the headers of ELF here");
                }
                File.WriteAllBytes(path, library[..(int)(EndOfSegments(library) - 1)]);
                break;
            case "other processor":
                // ELF has the processor in bytes 18 and 19, Mach-O in 4 to 7, PE where byte 60 points to.
                var at = OperatingSystem.IsWindows() ? BitConverter.ToInt32(library, 60) + 4 : OperatingSystem.IsMacOS() ? 4 : 18;
                var isArm = RuntimeInformation.ProcessArchitecture == Architecture.Arm64;
                var (x64, arm64) = OperatingSystem.IsWindows() ? (0x8664, 0xAA64) : OperatingSystem.IsMacOS() ? (7, 12) : (62, 183);
                BitConverter.TryWriteBytes(library.AsSpan(at), (ushort)(isArm ? x64 : arm64));
                File.WriteAllBytes(path, library);
                break;
            default:
                File.WriteAllBytes(path, what switch
                {
                    "empty" => [],
                    "text" => "This is no library.\n"u8.ToArray(),
                    "pointer" => "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 748024\n"u8.ToArray(),
                    "archive" => "!<arch>\n"u8.ToArray(),
                    "noise" => [1, 2, 3, 200, 255],
                    "header" => library[..50],
                    "half" => library[..(library.Length / 2)],
                    _ => OperatingSystem.IsWindows() ? [0xCF, 0xFA, 0xED, 0xFE] : "MZ\0\0"u8.ToArray(),
                });
                break;
        }

        var result = NativeLoader.Load([path], NativeMethods.ADN_ABI_VERSION);

        Assert.That(result.Handle, Is.EqualTo(nint.Zero));
        Assert.That(result.Attempts.Single().Error, Does.Match($"^{expected}"));
        Assert.That(result.Describe(), Does.Contain($"{path}: {result.Attempts[0].Error}"));

        static long EndOfSegments(byte[] elf)
        {
            var (table, size, count) = (BitConverter.ToInt64(elf, 32), BitConverter.ToUInt16(elf, 54), BitConverter.ToUInt16(elf, 56));
            return Enumerable.Range(0, count).Select(i => (int)table + i * size)
                .Where(segment => BitConverter.ToInt32(elf, segment) == 1)
                .Max(segment => BitConverter.ToInt64(elf, segment + 8) + BitConverter.ToInt64(elf, segment + 32));
        }
    }

    [Test]
    public void The_whole_library_shows_no_problem() => Assert.That(LibraryFile.Problem(NativeLibraryInfo.Path!), Is.Null);

    // The formats of the other systems: a managed assembly is a PE file, and a Mach-O header is quickly written.
    [Test]
    public void Libraries_of_Windows_and_macOS_are_held_against_their_headers_too()
    {
        var path = Path.Combine(_folder, "library");
        var own = RuntimeInformation.ProcessArchitecture;
        var assembly = File.ReadAllBytes(typeof(DeviceTensor).Assembly.Location);
        var isArm = own == Architecture.Arm64;
        BitConverter.TryWriteBytes(assembly.AsSpan(BitConverter.ToInt32(assembly, 60) + 4), (ushort)(isArm ? 0xAA64 : 0x8664));
        File.WriteAllBytes(path, assembly);
        Assert.That(LibraryFile.Problem(path, LibraryFile.Pe), Is.Null);
        File.WriteAllBytes(path, assembly[..^1]);
        Assert.That(LibraryFile.Problem(path, LibraryFile.Pe), Does.StartWith("truncated: "));
        File.WriteAllBytes(path, assembly[..100]);
        Assert.That(LibraryFile.Problem(path, LibraryFile.Pe), Does.Match("^(damaged|truncated)"));

        // One command of 72 bytes: a segment of 1000 bytes from the file's start.
        var image = new byte[1000];
        foreach (var (at, value) in new[] { (0, 0xFEED_FACF), (4, isArm ? 0x0100_000Cu : 0x0100_0007u), (16, 1u), (20, 72u), (32, 0x19u), (36, 72u), (80, 1000u) })
        {
            BitConverter.TryWriteBytes(image.AsSpan(at), value);
        }
        File.WriteAllBytes(path, image);
        Assert.That(LibraryFile.Problem(path, LibraryFile.MachO), Is.Null);
        File.WriteAllBytes(path, image[..999]);
        Assert.That(LibraryFile.Problem(path, LibraryFile.MachO), Is.EqualTo("truncated: 999 bytes, expected at least 1000"));
        File.WriteAllBytes(path, image[..60]);
        Assert.That(LibraryFile.Problem(path, LibraryFile.MachO), Does.StartWith("truncated: it ends after 60 bytes"));
        image[4] ^= 0x40;
        File.WriteAllBytes(path, image);
        Assert.That(LibraryFile.Problem(path, LibraryFile.MachO), Is.EqualTo($"made for processor {BitConverter.ToUInt32(image, 4)}, this process is {own}"));
    }

    [Test]
    public void A_file_system_without_execution_is_named_as_the_reason()
    {
        var mount = Path.Combine(_folder, "mount");
        Directory.CreateDirectory(mount);
        if (!OperatingSystem.IsLinux() || !Run("mount", "-t", "tmpfs", "-o", "noexec,size=16m", "tmpfs", mount))
        {
            Assert.Ignore("a file system can be mounted by root on Linux alone");
        }
        try
        {
            var path = Path.Combine(mount, NativeLoader.FileName);
            File.Copy(NativeLibraryInfo.Path!, path);
            var result = NativeLoader.Load([path], NativeMethods.ADN_ABI_VERSION);
            Assert.That(
                result.Attempts.Single().Error,
                Does.Match("^failed to map segment from shared object.*is its file system mounted noexec\\?\\)$"));
        }
        finally
        {
            Run("umount", "--lazy", mount);
        }

        static bool Run(string program, params string[] arguments)
        {
            try
            {
                using var process = System.Diagnostics.Process.Start(
                    new System.Diagnostics.ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
                process.WaitForExit();
                return process.ExitCode == 0;
            }
            catch (System.ComponentModel.Win32Exception)
            {
                return false;
            }
        }
    }

    // A second copy of the assembly, loaded apart from this one, goes through the whole search again.
    [Test]
    [NonParallelizable]
    public void A_caller_sees_the_failure_as_it_is_and_doctor_can_ask_for_it()
    {
        var missing = Path.Combine(_folder, "nowhere");
        WithSecondCopy(missing, assembly =>
        {
            var create = assembly.GetType("Adadelta.Native.ComputeContext")!.GetMethod("Create")!;
            var device = Activator.CreateInstance(assembly.GetType("Adadelta.Native.Device")!);
            var thrown = Assert.Throws<TargetInvocationException>(() => create.Invoke(null, [device, 1, 0, null]))!.InnerException;
            Assert.That(thrown, Is.TypeOf<DllNotFoundException>());
            Assert.That(thrown!.Message, Does.Contain($"{missing}: no such file"));
            Assert.That(thrown.Message, Does.Contain($"{NativeLoader.PathVariable} is set, so that nothing else was tried"));

            var info = assembly.GetType("Adadelta.Native.NativeLibraryInfo")!;
            Assert.That(info.GetProperty("Path")!.GetValue(null), Is.Null);
            Assert.That(info.GetProperty("Attempts")!.GetValue(null), Has.Exactly(1).Items);
        });
    }

    [Test]
    [NonParallelizable]
    public void The_variable_may_name_the_library_or_its_folder()
    {
        foreach (var path in new[] { NativeLibraryInfo.Path!, Path.GetDirectoryName(NativeLibraryInfo.Path)! })
        {
            WithSecondCopy(path, assembly =>
            {
                var info = assembly.GetType("Adadelta.Native.NativeLibraryInfo")!;
                Assert.That(info.GetProperty("Version")!.GetValue(null), Is.EqualTo(NativeLibraryInfo.Version));
                Assert.That(info.GetProperty("Path")!.GetValue(null), Is.EqualTo(NativeLibraryInfo.Path));
            });
        }
    }

    private static void WithSecondCopy(string nativePath, Action<Assembly> test)
    {
        // This copy's own search must be over before the variable changes.
        Assert.That(NativeLibraryInfo.Path, Is.Not.Null);
        var before = Environment.GetEnvironmentVariable(NativeLoader.PathVariable);
        var context = new AssemblyLoadContext("second copy", isCollectible: true);
        Environment.SetEnvironmentVariable(NativeLoader.PathVariable, nativePath);
        try
        {
            test(context.LoadFromAssemblyPath(typeof(DeviceTensor).Assembly.Location));
        }
        finally
        {
            Environment.SetEnvironmentVariable(NativeLoader.PathVariable, before);
            context.Unload();
        }
    }
}
