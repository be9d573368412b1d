using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace Adadelta.Native.Interop;

// Finds the native library, and remembers every path that was tried and why it failed.
internal static unsafe class NativeLoader
{
    internal const string PathVariable = "ADADELTA_NATIVE_PATH";

    private static readonly Lazy<LoadResult> s_result = new(() => Load(
        Candidates(Environment.GetEnvironmentVariable(PathVariable), AssemblyFolders()), NativeMethods.ADN_ABI_VERSION));

    internal static LoadResult Result => s_result.Value;

    internal static string FileName =>
        OperatingSystem.IsWindows() ? $"{NativeMethods.Library}.dll"
        : OperatingSystem.IsMacOS() ? $"lib{NativeMethods.Library}.dylib"
        : $"lib{NativeMethods.Library}.so";

    // A static constructor would wrap whatever goes wrong in a TypeInitializationException; the resolver runs at the first
    // call into the library, and its exception reaches the caller as it is.
    [ModuleInitializer]
    [SuppressMessage("Usage", "CA2255", Justification = "The resolver must be there before the first P/Invoke, wherever that is.")]
    internal static void Register() => NativeLibrary.SetDllImportResolver(typeof(NativeLoader).Assembly, Resolve);

    // An explicit path is the only one tried: falling back to another library would hide the mistake.
    internal static IEnumerable<string> Candidates(string? explicitPath, IEnumerable<string> folders)
    {
        if (!string.IsNullOrEmpty(explicitPath))
        {
            return Directory.Exists(explicitPath) ? InFolder(Path.GetFullPath(explicitPath)) : [Path.GetFullPath(explicitPath)];
        }
        return folders.SelectMany(InFolder).Concat(HostsOwn()).Append(NativeMethods.Library).Distinct();
    }

    internal static LoadResult Load(IEnumerable<string> candidates, uint abiVersion)
    {
        var attempts = new List<LoadAttempt>();
        foreach (var path in candidates)
        {
            var error = TryLoad(path, abiVersion, out var handle);
            attempts.Add(new LoadAttempt(path, error));
            if (error is null)
            {
                return new LoadResult(handle, path, attempts.AsReadOnly());
            }
        }
        return new LoadResult(0, null, attempts.AsReadOnly());
    }

    private static nint Resolve(string libraryName, Assembly assembly, DllImportSearchPath? searchPath)
    {
        if (libraryName != NativeMethods.Library)
        {
            return 0;
        }
        return Result.Handle != 0 ? Result.Handle : throw new DllNotFoundException(Result.Describe());
    }

    private static string? TryLoad(string path, uint abiVersion, out nint handle)
    {
        handle = 0;
        var named = Path.IsPathFullyQualified(path);
        if (named && (!Path.Exists(path) ? "no such file" : LibraryFile.Problem(path)) is { } problem)
        {
            return problem;
        }
        try
        {
            // A bare name goes to the system's search path. Windows' own search would take in the working directory.
            handle = named ? NativeLibrary.Load(path)
                : NativeLibrary.Load(path, typeof(NativeLoader).Assembly, DllImportSearchPath.SafeDirectories);
        }
        catch (Exception exception) when (exception is DllNotFoundException or BadImageFormatException)
        {
            return Reason(path, exception.Message);
        }
        string error;
        if (!NativeLibrary.TryGetExport(handle, nameof(NativeMethods.adn_abi_version), out var export))
        {
            error = $"not an Adadelta.Native library: it has no {nameof(NativeMethods.adn_abi_version)}";
        }
        else
        {
            var found = ((delegate* unmanaged<uint>)export)();
            if (found == abiVersion)
            {
                return null;
            }
            error = $"ABI version {found}, expected {abiVersion}: the library and the assembly are from different releases";
        }
        NativeLibrary.Free(handle);
        handle = 0;
        return error;
    }

    // The runtime's message has a line on how to look for the cause, and then the cause, as the system tells it, on a line of its
    // own for each name that was tried.
    private static string Reason(string path, string message)
    {
        var lines = message.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        var reason = string.Join("; ", (lines.Length > 1 ? lines.Skip(1) : lines).Select(
            line => line.StartsWith($"{path}: ", StringComparison.Ordinal) ? line[(path.Length + 2)..] : line));
        return reason.Contains("failed to map segment", StringComparison.Ordinal)
            ? $"{reason} (is its file system mounted noexec?)"
            : reason;
    }

    private static IEnumerable<string> InFolder(string folder)
    {
        yield return Path.Combine(folder, FileName);
        foreach (var rid in RuntimeIdentifiers())
        {
            yield return Path.Combine(folder, "runtimes", rid, "native", FileName);
        }
    }

    // Runtimes built by a distribution call themselves e.g. ubuntu.24.04-x64, packages hold the portable linux-x64.
    private static IEnumerable<string> RuntimeIdentifiers()
    {
        var system = OperatingSystem.IsWindows() ? "win" : OperatingSystem.IsMacOS() ? "osx" : "linux";
#pragma warning disable CA1308 // runtime identifiers are lower case
        var portable = $"{system}-{RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}";
#pragma warning restore CA1308
        return new[] { RuntimeInformation.RuntimeIdentifier, portable }.Distinct();
    }

    // Where the host looks for the native assets of packages. Only what is there: nobody put the library into the runtime's folder.
    private static IEnumerable<string> HostsOwn() =>
        ((string?)AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") ?? "")
        .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
        .Select(folder => Path.Combine(folder, FileName))
        .Where(File.Exists);

    [UnconditionalSuppressMessage("SingleFile", "IL3000", Justification = "An empty location falls back to the application's folder.")]
    private static IEnumerable<string> AssemblyFolders()
    {
        var beside = Path.GetDirectoryName(typeof(NativeLoader).Assembly.Location);
        var application = Path.TrimEndingDirectorySeparator(AppContext.BaseDirectory);
        return string.IsNullOrEmpty(beside) ? [application] : new[] { beside, application }.Distinct();
    }
}

internal sealed record LoadResult(nint Handle, string? Path, IReadOnlyList<LoadAttempt> Attempts)
{
    internal string Describe()
    {
        var text = new StringBuilder($"The native library {NativeLoader.FileName} cannot be loaded. Tried:");
        foreach (var attempt in Attempts)
        {
            text.Append(Environment.NewLine).Append("  ").Append(attempt.Path).Append(": ").Append(attempt.Error);
        }
        // Where the variable is set, setting it is no advice.
        return text.Append(Environment.NewLine)
            .Append(string.IsNullOrEmpty(Environment.GetEnvironmentVariable(NativeLoader.PathVariable))
                ? $"Set {NativeLoader.PathVariable} to the library or to its folder to load it from elsewhere."
                : $"{NativeLoader.PathVariable} is set, so that nothing else was tried: correct it, or unset it.").ToString();
    }
}
