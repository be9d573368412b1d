using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Adadelta.Native.Interop;

internal static unsafe class Status
{
    // Inlined, so that the hot path pays one comparison and the throwing part stays out of it.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void ThrowIfFailed(int status)
    {
        if (status != NativeMethods.ADN_STATUS_OK)
        {
            Throw(status);
        }
    }

    // The one place where a status becomes an exception.
    [SuppressMessage("Usage", "CA2201", Justification = "The native side reports that memory ran out; .NET's name for that is this.")]
    internal static Exception ToException(int status, string message) => status switch
    {
        NativeMethods.ADN_STATUS_INVALID_ARGUMENT => new ArgumentException(message),
        NativeMethods.ADN_STATUS_INVALID_STATE => new InvalidOperationException(message),
        NativeMethods.ADN_STATUS_UNSUPPORTED => new NotSupportedException(message),
        NativeMethods.ADN_STATUS_OUT_OF_MEMORY => new OutOfMemoryException(message),
        _ => new AdadeltaNativeException(status, message),
    };

    [DoesNotReturn]
    private static void Throw(int status)
    {
        var message = Marshal.PtrToStringUTF8((nint)NativeMethods.adn_last_error());
        if (string.IsNullOrEmpty(message))
        {
            message = Marshal.PtrToStringUTF8((nint)NativeMethods.adn_status_name(status)) ?? "unknown status";
        }
        throw ToException(status, message);
    }
}
