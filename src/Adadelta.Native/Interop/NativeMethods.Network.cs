using System.Runtime.InteropServices;

namespace Adadelta.Native.Interop;

internal sealed class NetworkHandle : NativeHandle
{
    protected override void Destroy(nint pointer) => NativeMethods.adn_network_destroy(pointer);
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct adn_layer
{
    internal uint struct_size;
    internal int kind;
    internal byte* name;
    internal ulong out_features;
    internal fixed ulong kernel[2];
    internal fixed ulong stride[2];
    internal fixed ulong padding[2];
    internal fixed ulong dilation[2];
    internal float probability;
    internal int bias;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct adn_network_options
{
    internal uint struct_size;
    internal int reduction;
    internal fixed ulong input_shape[3];
    internal ulong max_batch_size;
    internal ulong seed;
    internal int input_gradient;
    internal int inference;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct adn_network_info
{
    internal uint struct_size;
    internal uint layer_count;
    internal fixed ulong input_shape[3];
    internal ulong output_count;
    internal ulong max_batch_size;
    internal ulong parameter_count;
    internal ulong memory_bytes;
    internal int reduction;
    internal uint reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct adn_layer_info
{
    internal uint struct_size;
    internal int kind;
    internal fixed ulong output_shape[3];
    internal ulong parameter_elements;
    internal fixed byte name[64];
    internal int has_activation;
    internal uint reserved;
}

internal static unsafe partial class NativeMethods
{
    internal const int ADN_MODE_EVALUATE = 0;
    internal const int ADN_MODE_TRAIN = 1;

    [LibraryImport(Library)]
    internal static partial int adn_layer_init(adn_layer* layer, uint struct_size, int kind);

    [LibraryImport(Library)]
    internal static partial int adn_network_options_init(adn_network_options* options, uint struct_size);

    [LibraryImport(Library)]
    internal static partial int adn_network_create(
        out NetworkHandle network, ContextHandle context, adn_layer* layers, ulong layer_count, adn_network_options* options);

    [LibraryImport(Library)]
    internal static partial void adn_network_destroy(nint network);

    [LibraryImport(Library)]
    internal static partial int adn_network_clone(
        out NetworkHandle clone, NetworkHandle network, ulong max_batch_size, int inference);

    [LibraryImport(Library)]
    internal static partial int adn_network_copy_parameters(NetworkHandle to, NetworkHandle from);

    [LibraryImport(Library)]
    internal static partial int adn_network_get_info(adn_network_info* info, NetworkHandle network);

    [LibraryImport(Library)]
    internal static partial int adn_network_get_layer(adn_layer_info* info, NetworkHandle network, ulong index);

    [LibraryImport(Library)]
    internal static partial int adn_network_get_parameter(
        out TensorHandle value, out TensorHandle gradient, byte** name, NetworkHandle network, ulong index);

    [LibraryImport(Library)]
    internal static partial int adn_network_forward(
        float* output, ulong output_total, NetworkHandle network, float* input, ulong input_count, ulong batch_size, int mode);

    [LibraryImport(Library)]
    internal static partial int adn_network_forward_dataset(
        float* output, ulong output_total, NetworkHandle network, DatasetHandle dataset, uint* indices, ulong batch_size, int mode);

    [LibraryImport(Library)]
    internal static partial int adn_network_forward_external(
        float* output, ulong output_total, NetworkHandle network, float* input_external, ulong input_count, ulong batch_size,
        int mode);

    [LibraryImport(Library)]
    internal static partial int adn_network_loss(float* loss, NetworkHandle network, int* labels, ulong label_count);

    [LibraryImport(Library)]
    internal static partial int adn_network_backward(
        NetworkHandle network, float* output_gradient, ulong output_gradient_count);

    [LibraryImport(Library)]
    internal static partial int adn_network_read_input_gradient(float* data, ulong count, NetworkHandle network);

    [LibraryImport(Library)]
    internal static partial int adn_network_read_activation(float* data, ulong count, NetworkHandle network, ulong layer_index);

    [LibraryImport(Library)]
    internal static partial int adn_network_get_step(ulong* step, NetworkHandle network);

    [LibraryImport(Library)]
    internal static partial int adn_network_set_step(NetworkHandle network, ulong step);
}
