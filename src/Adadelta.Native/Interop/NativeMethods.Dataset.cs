using System.Runtime.InteropServices;

namespace Adadelta.Native.Interop;

internal sealed class DatasetHandle : NativeHandle
{
    private nint _pin;

    // The pixels that the data set reads in place: let go of after it. Nothing native holds a data set, so it ends here.
    internal void Keeps(nint pin) => _pin = pin;

    protected override void Destroy(nint pointer)
    {
        NativeMethods.adn_dataset_destroy(pointer);
        if (_pin != 0)
        {
            Pin.Release(_pin);
        }
    }
}

internal static unsafe partial class NativeMethods
{
    [LibraryImport(Library)]
    internal static partial int adn_dataset_create(
        out DatasetHandle dataset, ContextHandle context, byte* pixels, ulong pixel_count, byte* labels, ulong count,
        ulong* shape);

    [LibraryImport(Library)]
    internal static partial int adn_dataset_create_external(
        out DatasetHandle dataset, ContextHandle context, byte* pixels, ulong pixel_count, byte* labels, ulong count,
        ulong* shape);

    [LibraryImport(Library)]
    internal static partial void adn_dataset_destroy(nint dataset);
}
