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
