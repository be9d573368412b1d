using System.Runtime.InteropServices;

namespace Adadelta.Native.Interop;

// The native objects keep what they stand on alive themselves, so finalizers may run in any order.
internal abstract class NativeHandle() : SafeHandle(0, ownsHandle: true)
{
    public override bool IsInvalid => handle == 0;

    protected abstract void Destroy(nint pointer);

    protected override bool ReleaseHandle()
    {
        Destroy(handle);
        return true;
    }
}
