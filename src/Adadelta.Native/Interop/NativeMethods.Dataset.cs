using System.Runtime.InteropServices;

namespace Adadelta.Native.Interop;

internal sealed class DatasetHandle : NativeHandle
{
    protected override void Destroy(nint pointer) => NativeMethods.adn_dataset_destroy(pointer);
}

internal static unsafe partial class NativeMethods
{
    [LibraryImport(Library)]
    internal static partial int adn_dataset_create(
        out DatasetHandle dataset, ContextHandle context, byte* pixels, ulong pixel_count, byte* labels, ulong count,
        ulong* shape);

    [LibraryImport(Library)]
    internal static partial void adn_dataset_destroy(nint dataset);
}
