using System.Runtime.InteropServices;

namespace Adadelta.Native.Interop;

internal sealed class ContextHandle : NativeHandle
{
    protected override void Destroy(nint pointer) => NativeMethods.adn_context_destroy(pointer);
}

[StructLayout(LayoutKind.Sequential)]
internal struct adn_context_options
{
    internal uint struct_size;
    internal int device_type;
    internal int device_index;
    internal uint thread_count;
    internal int instruction_set;
    internal uint reserved;
    internal int cuda_tf32;
    internal int cuda_deterministic;
    internal int cuda_search;
    internal int cuda_own_kernels;
    internal int cuda_no_graph;
    internal uint reserved2;
    internal ulong cuda_workspace_limit;
    internal nint cuda_stream_external;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct adn_context_info
{
    internal uint struct_size;
    internal int device_type;
    internal int device_index;
    internal uint thread_count;
    internal int instruction_set;
    internal uint reserved;
    internal fixed byte device_name[128];
    internal fixed byte instruction_set_name[32];
    internal ulong memory_bytes;
    internal ulong memory_peak_bytes;
    internal int cudnn_version;
    internal int cublas_version;
    internal fixed byte libraries[768];
}

internal static unsafe partial class NativeMethods
{
    [LibraryImport(Library)]
    internal static partial int adn_context_options_init(adn_context_options* options, uint struct_size);

    [LibraryImport(Library)]
    internal static partial int adn_context_create(out ContextHandle context, adn_context_options* options);

    [LibraryImport(Library)]
    internal static partial void adn_context_destroy(nint context);

    [LibraryImport(Library)]
    internal static partial int adn_context_get_info(adn_context_info* info, ContextHandle context);

    [LibraryImport(Library)]
    internal static partial int adn_context_synchronize(ContextHandle context);

    [LibraryImport(Library)]
    internal static partial int adn_backend_reason(byte** reason, byte* backend);
}
