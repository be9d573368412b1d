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
    internal int foreach_;
    internal int capturable;
    internal int differentiable;
    internal int zero_eps;
    internal int master_weights;
    internal uint reserved;
    internal double decoupled_weight_decay;
    internal double clip_value;
    internal double average_decay;
}

[StructLayout(LayoutKind.Sequential)]
internal struct adn_adadelta_pass_options
{
    internal uint struct_size;
    internal int zero_gradients;
    internal double gradient_scale;
    internal double clip_norm;
    internal int skip_nonfinite;
    internal uint reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal struct adn_adadelta_report
{
    internal uint struct_size;
    internal int skipped;
    internal double norm;
}

[StructLayout(LayoutKind.Sequential)]
internal struct adn_adadelta_cotangent
{
    internal nint parameter;
    internal nint gradient;
    internal nint square_avg;
    internal nint acc_delta;
}

internal static unsafe partial class NativeMethods
{
    internal const int ADN_FOREACH_AUTO = 0;
    internal const int ADN_FOREACH_FALSE = 1;
    internal const int ADN_FOREACH_TRUE = 2;

    internal const int ADN_PRESET_PYTORCH = 0;
    internal const int ADN_PRESET_PAPER2012 = 1;
    internal const int ADN_PRESET_KERAS = 2;

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_options_init(adn_adadelta_options* options, uint struct_size);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_options_preset(adn_adadelta_options* options, uint struct_size, int preset);

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
    internal static partial int adn_adadelta_get_parameter_count(ulong* count, AdadeltaHandle optimizer);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_set_gradient(AdadeltaHandle optimizer, ulong index, nint gradient);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_set_lr_tensor(AdadeltaHandle optimizer, ulong group, nint lr);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_get_lr(double* lr, AdadeltaHandle optimizer, ulong group);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_set_lr(AdadeltaHandle optimizer, ulong group, double lr);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_pass_options_init(adn_adadelta_pass_options* options, uint struct_size);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_get_pass_options(adn_adadelta_pass_options* options, AdadeltaHandle optimizer);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_set_pass_options(AdadeltaHandle optimizer, adn_adadelta_pass_options* options);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_step(AdadeltaHandle optimizer);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_get_state(
        out TensorHandle square_avg, out TensorHandle acc_delta, AdadeltaHandle optimizer, ulong index);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_get_weights(
        out TensorHandle master, out TensorHandle average, AdadeltaHandle optimizer, ulong index);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_get_report(adn_adadelta_report* report, AdadeltaHandle optimizer);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_get_parameter_step(ulong* step, AdadeltaHandle optimizer, ulong index);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_set_parameter_step(AdadeltaHandle optimizer, ulong index, ulong step);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_get_tape_length(ulong* length, AdadeltaHandle optimizer);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_backward(
        double* lr_gradients, ulong lr_count, AdadeltaHandle optimizer, adn_adadelta_cotangent* cotangents,
        ulong cotangent_count);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_clear_tape(AdadeltaHandle optimizer);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_get_step(ulong* step, AdadeltaHandle optimizer);

    [LibraryImport(Library)]
    internal static partial int adn_adadelta_set_step(AdadeltaHandle optimizer, ulong step);

    [LibraryImport(Library)]
    internal static partial int adn_network_train_step(
        float* loss, NetworkHandle network, AdadeltaHandle optimizer, float* input, ulong input_count, int* labels,
        ulong batch_size);

    [LibraryImport(Library)]
    internal static partial int adn_network_train_step_dataset(
        float* loss, NetworkHandle network, AdadeltaHandle optimizer, DatasetHandle dataset, uint* indices, ulong batch_size);

    [LibraryImport(Library)]
    internal static partial int adn_network_train_step_external(
        float* loss, NetworkHandle network, AdadeltaHandle optimizer, float* input_external, ulong input_count, int* labels,
        ulong batch_size);

    internal const int ADN_LOSS_HISTORY = 1024;

    [LibraryImport(Library)]
    internal static partial int adn_network_read_losses(float* losses, ulong count, NetworkHandle network);
}
