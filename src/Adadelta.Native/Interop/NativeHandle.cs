using System.Runtime.InteropServices;

namespace Adadelta.Native.Interop;

// The native objects keep what they stand on alive themselves, so finalizers may run in any order.
internal abstract class NativeHandle() : SafeHandle(0, ownsHandle: true)
{
    private long _bytes;

    public override bool IsInvalid => handle == 0;

    // The collector sees a small object; told what hangs on it, it does not wait until native memory has run out.
    internal void Holds(long bytes)
    {
        GC.AddMemoryPressure(bytes);
        _bytes += bytes;
    }

    protected abstract void Destroy(nint pointer);

    protected override bool ReleaseHandle()
    {
        Destroy(handle);
        if (_bytes > 0)
        {
            GC.RemoveMemoryPressure(_bytes);
        }
        return true;
    }
}
