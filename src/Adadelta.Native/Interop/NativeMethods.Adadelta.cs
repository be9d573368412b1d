using System.Runtime.InteropServices;

namespace Adadelta.Native.Interop;

internal sealed class AdadeltaHandle : NativeHandle
{
    protected override void Destroy(nint pointer) => NativeMethods.adn_adadelta_destroy(pointer);
}

[StructLayout(LayoutKind.Sequential)]
internal struct adn_adadelta_options
{
    internal uint struct_size;
    internal int maximize;
    internal double lr;
    internal double rho;
    internal double eps;
    internal double weight_decay;
}

internal static unsafe partial class NativeMethods
{
    [LibraryImport(Library)]
    internal static partial int adn_adadelta_options_init(adn_adadelta_options* options, uint struct_size);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_create(
        out AdadeltaHandle optimizer, ContextHandle context, adn_adadelta_options* options);

    [LibraryImport(Library)]
    internal static partial void adn_adadelta_destroy(nint optimizer);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_add_group(
        ulong* group, AdadeltaHandle optimizer, nint* parameters, nint* gradients, ulong count, adn_adadelta_options* options);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_get_group_count(ulong* count, AdadeltaHandle optimizer);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_get_options(adn_adadelta_options* options, AdadeltaHandle optimizer, ulong group);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_set_options(AdadeltaHandle optimizer, ulong group, adn_adadelta_options* options);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_step(AdadeltaHandle optimizer);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_get_state(
        out TensorHandle square_avg, out TensorHandle acc_delta, AdadeltaHandle optimizer, ulong index);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_get_step(ulong* step, AdadeltaHandle optimizer);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_set_step(AdadeltaHandle optimizer, ulong step);

    [LibraryImport(Library)]
    internal static partial int adn_network_train_step(
        float* loss, NetworkHandle network, AdadeltaHandle optimizer, float* input, ulong input_count, int* labels,
        ulong batch_size);
}
