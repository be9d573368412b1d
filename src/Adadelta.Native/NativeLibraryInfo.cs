using System.Runtime.InteropServices;
using Adadelta.Native.Interop;

namespace Adadelta.Native;

/// <summary>One path that the native library was looked for at.</summary>
/// <param name="Path">The path, or a bare name for the host's and the system's own search.</param>
/// <param name="Error">Why it could not be loaded from there; null for the one that was.</param>
public sealed record LoadAttempt(string Path, string? Error);

/// <summary>What is known about the native library of this process.</summary>
public static unsafe class NativeLibraryInfo
{
    /// <summary>Version of the library, e.g. <c>0.1.0</c>.</summary>
    /// <exception cref="DllNotFoundException">It cannot be loaded; the message lists every path tried and why each failed.</exception>
    public static string Version => Text(NativeMethods.adn_version());

    /// <summary>Version of its ABI; the assembly refuses a library that has another one.</summary>
    /// <exception cref="DllNotFoundException">It cannot be loaded; the message lists every path tried and why each failed.</exception>
    public static uint AbiVersion => NativeMethods.adn_abi_version();

    /// <summary>Where it was loaded from; null when it cannot be loaded.</summary>
    public static string? Path => NativeLoader.Result.Path;

    /// <summary>Every path tried, in order, up to the one that worked.</summary>
    public static IReadOnlyList<LoadAttempt> Attempts => NativeLoader.Result.Attempts;

    /// <summary>Why a backend cannot be used here.</summary>
    /// <param name="backend">Its name: <c>cpu</c> or <c>cuda</c>.</param>
    /// <returns>The reason; empty when it can be used.</returns>
    /// <exception cref="ArgumentException">There is no backend of that name.</exception>
    /// <exception cref="DllNotFoundException">The library cannot be loaded; the message lists every path tried and why each failed.</exception>
    public static string BackendReason(string backend)
    {
        ArgumentNullException.ThrowIfNull(backend);
        if (backend.Contains('\0', StringComparison.Ordinal))
        {
            // The native side would see such a name cut short.
            throw new ArgumentException("backend: a name with a null character, expected \"cpu\" or \"cuda\"", nameof(backend));
        }
        var name = Marshal.StringToCoTaskMemUTF8(backend);
        try
        {
            byte* reason;
            Status.ThrowIfFailed(NativeMethods.adn_backend_reason(&reason, (byte*)name));
            return Text(reason);
        }
        finally
        {
            Marshal.FreeCoTaskMem(name);
        }
    }

    private static string Text(byte* utf8) => Marshal.PtrToStringUTF8((nint)utf8) ?? "";
}
