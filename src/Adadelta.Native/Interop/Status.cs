using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Adadelta.Native.Interop;

internal static unsafe class Status
{
    // Inlined, so that the hot path pays one comparison and the throwing part stays out of it. names: C#'s names of the call's
    // arguments, as NativeMessage.Translate takes them.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void ThrowIfFailed(int status, string names = "")
    {
        if (status != NativeMethods.ADN_STATUS_OK)
        {
            Throw(status, names);
        }
    }

    // The one place where a status becomes an exception.
    [SuppressMessage("Usage", "CA2201", Justification = "The native side reports that memory ran out; .NET's name for that is this.")]
    internal static Exception ToException(int status, string message, string names = "") => status switch
    {
        NativeMethods.ADN_STATUS_INVALID_ARGUMENT => NativeMessage.Translate(message, names) switch
        {
            { IsNull: true } refused => new ArgumentNullException(refused.Argument, refused.Text),
            { IsOutOfRange: true } refused => new ArgumentOutOfRangeException(refused.Argument, refused.Text),
            var refused => new ArgumentException(refused.Text, refused.Argument),
        },
        NativeMethods.ADN_STATUS_INVALID_STATE when message.Contains(": in use by a call on another thread", StringComparison.Ordinal) =>
            new ObjectInUseException(NativeMessage.Translate(message, names).Text),
        NativeMethods.ADN_STATUS_INVALID_STATE => new InvalidOperationException(NativeMessage.Translate(message, names).Text),
        NativeMethods.ADN_STATUS_UNSUPPORTED =>
            new NotSupportedException(NativeMessage.Translate(message, names, reason: true).Text),
        NativeMethods.ADN_STATUS_OUT_OF_MEMORY => new OutOfMemoryException(message),
        _ => new AdadeltaNativeException(status, message),
    };

    [DoesNotReturn]
    private static void Throw(int status, string names)
    {
        var message = Marshal.PtrToStringUTF8((nint)NativeMethods.adn_last_error());
        if (string.IsNullOrEmpty(message))
        {
            message = Marshal.PtrToStringUTF8((nint)NativeMethods.adn_status_name(status)) ?? "unknown status";
        }
        throw ToException(status, message, names);
    }
}
