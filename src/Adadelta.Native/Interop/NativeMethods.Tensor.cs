using System.Runtime.InteropServices;

namespace Adadelta.Native.Interop;

internal sealed class TensorHandle : NativeHandle
{
    protected override void Destroy(nint pointer) => NativeMethods.adn_tensor_destroy(pointer);
}

internal static unsafe partial class NativeMethods
{
    internal const int ADN_MAX_RANK = 8;

    [LibraryImport(Library)]
    internal static partial int adn_tensor_create_typed(
        out TensorHandle tensor, ContextHandle context, int dtype, ulong* shape, uint rank);

    [LibraryImport(Library)]
    internal static partial int adn_tensor_create_external(
        out TensorHandle tensor, ContextHandle context, void* data, int dtype, ulong* shape, uint rank,
        delegate* unmanaged<void*, void> release, void* user);

    [LibraryImport(Library)]
    internal static partial void adn_tensor_destroy(nint tensor);

    [LibraryImport(Library)]
    internal static partial int adn_tensor_get_shape(uint* rank, ulong* shape, TensorHandle tensor);

    [LibraryImport(Library)]
    internal static partial int adn_tensor_get_dtype(int* dtype, TensorHandle tensor);

    [LibraryImport(Library)]
    internal static partial int adn_tensor_read_bytes(void* data, ulong byte_offset, ulong byte_count, TensorHandle tensor);

    [LibraryImport(Library)]
    internal static partial int adn_tensor_write_bytes(TensorHandle tensor, void* data, ulong byte_offset, ulong byte_count);

    [LibraryImport(Library)]
    internal static partial int adn_tensor_fill(TensorHandle tensor, float value);
}
