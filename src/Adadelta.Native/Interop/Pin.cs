using System.Buffers;
using System.Runtime.InteropServices;

namespace Adadelta.Native.Interop;

// Managed memory that the native side looks at, held by a number that it can carry. Until that is released nothing collects or
// finalizes the memory or its owner, whatever becomes of the managed objects around it.
internal sealed unsafe class Pin
{
    private MemoryHandle _memory;

    private Pin(MemoryHandle memory) => _memory = memory;

    internal static nint Hold(MemoryHandle memory) => GCHandle.ToIntPtr(GCHandle.Alloc(new Pin(memory)));

    internal static void* Address(nint pin) => Of(pin)._memory.Pointer;

    internal static void Release(nint pin)
    {
        Of(pin)._memory.Dispose();
        GCHandle.FromIntPtr(pin).Free();
    }

    [UnmanagedCallersOnly]
    internal static void Release(void* pin) => Release((nint)pin);

    private static Pin Of(nint pin) => (Pin)GCHandle.FromIntPtr(pin).Target!;
}
