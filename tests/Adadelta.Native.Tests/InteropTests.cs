using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Adadelta.Native.Interop;
using NUnit.Framework;

namespace Adadelta.Native.Tests;

// The C# mirror of native/include/adadelta/adadelta.h.
internal sealed unsafe class InteropTests
{
    private const string Header = "native/include/adadelta/adadelta.h";

    // Sizes as the C rules give them for the header's fields on every 64-bit platform.
    [Test]
    public void Structs_have_the_header_s_sizes()
    {
        Assert.That(sizeof(adn_context_options), Is.EqualTo(12 * 4 + 2 * 8));
        Assert.That(sizeof(adn_context_info), Is.EqualTo(6 * 4 + 128 + 32 + 2 * 8 + 2 * 4 + 768));
        Assert.That(sizeof(adn_layer), Is.EqualTo(2 * 4 + 8 + 8 + 4 * 16 + 2 * 4));
        Assert.That(sizeof(adn_network_options), Is.EqualTo(2 * 4 + 3 * 8 + 8 + 8 + 2 * 4));
        Assert.That(sizeof(adn_network_info), Is.EqualTo(2 * 4 + 3 * 8 + 4 * 8 + 2 * 4));
        Assert.That(sizeof(adn_layer_info), Is.EqualTo(2 * 4 + 3 * 8 + 8 + 64 + 2 * 4));
        Assert.That(sizeof(adn_adadelta_options), Is.EqualTo(2 * 4 + 4 * 8 + 6 * 4 + 3 * 8));
        Assert.That(sizeof(adn_adadelta_pass_options), Is.EqualTo(2 * 4 + 2 * 8 + 2 * 4));
        Assert.That(sizeof(adn_adadelta_report), Is.EqualTo(2 * 4 + 8));
    }

    // The documented defaults are found under the right names, so every field stands where the library writes it.
    [Test]
    public void Init_functions_fill_in_the_documented_defaults()
    {
        adn_layer layer;
        Status.ThrowIfFailed(NativeMethods.adn_layer_init(&layer, (uint)sizeof(adn_layer), (int)LayerKind.Conv2d));
        Assert.That(layer.struct_size, Is.EqualTo(sizeof(adn_layer)));
        Assert.That(layer.kind, Is.EqualTo(1));
        Assert.That(layer.name is null);
        Assert.That(
            new[] { layer.kernel[0], layer.kernel[1], layer.stride[0], layer.stride[1], layer.dilation[0], layer.dilation[1] },
            Is.All.EqualTo(1ul));
        Assert.That(new[] { layer.padding[0], layer.padding[1] }, Is.All.EqualTo(0ul));
        Assert.That(layer.probability, Is.EqualTo(0.5f));
        Assert.That(layer.bias, Is.EqualTo(1));

        adn_network_options network;
        Status.ThrowIfFailed(NativeMethods.adn_network_options_init(&network, (uint)sizeof(adn_network_options)));
        Assert.That(network.struct_size, Is.EqualTo(sizeof(adn_network_options)));
        Assert.That(network.max_batch_size, Is.EqualTo(64ul));
        Assert.That(network.reduction, Is.EqualTo((int)Reduction.Mean));
        Assert.That(network.input_gradient, Is.Zero);

        adn_adadelta_options adadelta;
        Status.ThrowIfFailed(NativeMethods.adn_adadelta_options_init(&adadelta, (uint)sizeof(adn_adadelta_options)));
        Assert.That(adadelta.struct_size, Is.EqualTo(sizeof(adn_adadelta_options)));
        Assert.That(adadelta.lr, Is.EqualTo(1.0));
        Assert.That(adadelta.rho, Is.EqualTo(0.9));
        Assert.That(adadelta.eps, Is.EqualTo(1e-6));
        Assert.That(adadelta.weight_decay, Is.Zero);
        Assert.That(adadelta.maximize, Is.Zero);
        Assert.That(
            new[] { adadelta.foreach_, adadelta.capturable, adadelta.differentiable, adadelta.zero_eps, adadelta.master_weights },
            Is.All.Zero);
        Assert.That(
            new[] { adadelta.decoupled_weight_decay, adadelta.clip_value, adadelta.average_decay }, Is.All.Zero);

        adn_adadelta_pass_options pass;
        Status.ThrowIfFailed(NativeMethods.adn_adadelta_pass_options_init(&pass, (uint)sizeof(adn_adadelta_pass_options)));
        Assert.That(pass.struct_size, Is.EqualTo(sizeof(adn_adadelta_pass_options)));
        Assert.That(pass.gradient_scale, Is.EqualTo(1.0));
        Assert.That(pass.clip_norm, Is.Zero);
        Assert.That(new[] { pass.zero_gradients, pass.skip_nonfinite }, Is.All.Zero);
    }

    [Test]
    public void A_smaller_struct_of_an_older_caller_is_filled_as_far_as_it_goes()
    {
        adn_adadelta_options options;
        options.rho = -1;
        Status.ThrowIfFailed(NativeMethods.adn_adadelta_options_init(&options, 16));
        Assert.That(options.struct_size, Is.EqualTo(16u));
        Assert.That(options.lr, Is.EqualTo(1.0));
        Assert.That(options.rho, Is.EqualTo(-1.0), "beyond the 16 bytes");
    }

    [Test]
    public void A_larger_struct_of_a_newer_caller_is_accepted_while_its_tail_is_zero()
    {
        var memory = stackalloc byte[sizeof(adn_context_options) + 8];
        var options = (adn_context_options*)memory;
        Status.ThrowIfFailed(NativeMethods.adn_context_options_init(options, (uint)sizeof(adn_context_options) + 8));
        Status.ThrowIfFailed(NativeMethods.adn_context_create(out var context, options));
        context.Dispose();

        memory[sizeof(adn_context_options) + 3] = 1;
        Assert.That(
            () => Status.ThrowIfFailed(NativeMethods.adn_context_create(out _, options)),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("options: byte 67 of 72 is not zero"));
    }

    [TestCase(0u)]
    [TestCase(4u)]
    [TestCase(9u)]
    public void A_struct_size_that_no_version_had_is_refused(uint size) => Assert.That(
        () =>
        {
            adn_layer layer;
            Status.ThrowIfFailed(NativeMethods.adn_layer_init(&layer, size, 1));
        },
        Throws.InstanceOf<ArgumentException>().With.Message.Contains($"layer.StructSize: {size}, expected"));

    [Test]
    public void Constants_and_enumerations_have_the_header_s_numbers()
    {
        var header = File.ReadAllText(Path.Combine(Repository.Root, Header));
        var expected = new Dictionary<string, long>
        {
            ["ADN_ABI_VERSION"] = NativeMethods.ADN_ABI_VERSION,
            ["ADN_MAX_RANK"] = NativeMethods.ADN_MAX_RANK,
            ["ADN_DTYPE_FLOAT32"] = (long)ElementType.Float32,
            ["ADN_DTYPE_FLOAT64"] = (long)ElementType.Float64,
            ["ADN_DTYPE_FLOAT16"] = (long)ElementType.Float16,
            ["ADN_DTYPE_BFLOAT16"] = (long)ElementType.BFloat16,
            ["ADN_DTYPE_COMPLEX64"] = (long)ElementType.Complex64,
            ["ADN_FOREACH_AUTO"] = NativeMethods.ADN_FOREACH_AUTO,
            ["ADN_FOREACH_FALSE"] = NativeMethods.ADN_FOREACH_FALSE,
            ["ADN_FOREACH_TRUE"] = NativeMethods.ADN_FOREACH_TRUE,
            ["ADN_ZERO_EPS_NAN"] = (long)ZeroEps.NaN,
            ["ADN_ZERO_EPS_REFUSE"] = (long)ZeroEps.Refuse,
            ["ADN_ZERO_EPS_KEEP"] = (long)ZeroEps.Keep,
            ["ADN_PRESET_PYTORCH"] = NativeMethods.ADN_PRESET_PYTORCH,
            ["ADN_PRESET_PAPER2012"] = NativeMethods.ADN_PRESET_PAPER2012,
            ["ADN_PRESET_KERAS"] = NativeMethods.ADN_PRESET_KERAS,
            ["ADN_STATUS_OK"] = NativeMethods.ADN_STATUS_OK,
            ["ADN_STATUS_INVALID_ARGUMENT"] = NativeMethods.ADN_STATUS_INVALID_ARGUMENT,
            ["ADN_STATUS_INVALID_STATE"] = NativeMethods.ADN_STATUS_INVALID_STATE,
            ["ADN_STATUS_UNSUPPORTED"] = NativeMethods.ADN_STATUS_UNSUPPORTED,
            ["ADN_STATUS_OUT_OF_MEMORY"] = NativeMethods.ADN_STATUS_OUT_OF_MEMORY,
            ["ADN_STATUS_DEVICE_ERROR"] = NativeMethods.ADN_STATUS_DEVICE_ERROR,
            ["ADN_STATUS_INTERNAL_ERROR"] = NativeMethods.ADN_STATUS_INTERNAL_ERROR,
            ["ADN_DEVICE_AUTO"] = (long)DeviceType.Auto,
            ["ADN_DEVICE_CPU"] = (long)DeviceType.Cpu,
            ["ADN_DEVICE_CUDA"] = (long)DeviceType.Cuda,
            ["ADN_INSTRUCTION_SET_AUTO"] = (long)InstructionSet.Auto,
            ["ADN_INSTRUCTION_SET_BASELINE"] = (long)InstructionSet.Baseline,
            ["ADN_INSTRUCTION_SET_AVX2"] = (long)InstructionSet.Avx2,
            ["ADN_INSTRUCTION_SET_AVX512"] = (long)InstructionSet.Avx512,
            ["ADN_LAYER_CONV2D"] = (long)LayerKind.Conv2d,
            ["ADN_LAYER_MAXPOOL2D"] = (long)LayerKind.MaxPool2d,
            ["ADN_LAYER_AVGPOOL2D"] = (long)LayerKind.AvgPool2d,
            ["ADN_LAYER_RELU"] = (long)LayerKind.ReLU,
            ["ADN_LAYER_FLATTEN"] = (long)LayerKind.Flatten,
            ["ADN_LAYER_LINEAR"] = (long)LayerKind.Linear,
            ["ADN_LAYER_DROPOUT"] = (long)LayerKind.Dropout,
            ["ADN_REDUCTION_MEAN"] = (long)Reduction.Mean,
            ["ADN_REDUCTION_SUM"] = (long)Reduction.Sum,
            ["ADN_LOSS_HISTORY"] = NativeMethods.ADN_LOSS_HISTORY,
            ["ADN_MODE_EVALUATE"] = NativeMethods.ADN_MODE_EVALUATE,
            ["ADN_MODE_TRAIN"] = NativeMethods.ADN_MODE_TRAIN,
        };
        var found = System.Text.RegularExpressions.Regex.Matches(header, @"^#define (ADN_\w+) (\d+)u?\b", System.Text.RegularExpressions.RegexOptions.Multiline)
            .ToDictionary(match => match.Groups[1].Value, match => long.Parse(match.Groups[2].Value));
        Assert.That(found, Is.EquivalentTo(expected));
    }

    // The library holds whatever the header declares (the native tests see to it), so this also finds misspelt names.
    [Test]
    public void Every_import_is_declared_by_the_header_and_exported_by_the_library()
    {
        var header = File.ReadAllText(Path.Combine(Repository.Root, Header));
        var library = NativeLibrary.Load(NativeLibraryInfo.Path!);
        var imports = typeof(NativeMethods).GetMethods(BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.DeclaredOnly)
            .Select(method => method.Name).Where(name => name.StartsWith("adn_", StringComparison.Ordinal)).ToArray();
        Assert.That(imports, Has.Length.GreaterThan(30));
        foreach (var name in imports)
        {
            Assert.That(header, Does.Contain($"{name}("));
            Assert.That(NativeLibrary.TryGetExport(library, name, out _), name);
        }
    }

    [TestCase(NativeMethods.ADN_STATUS_INVALID_ARGUMENT, typeof(ArgumentException))]
    [TestCase(NativeMethods.ADN_STATUS_INVALID_STATE, typeof(InvalidOperationException))]
    [TestCase(NativeMethods.ADN_STATUS_UNSUPPORTED, typeof(NotSupportedException))]
    [TestCase(NativeMethods.ADN_STATUS_OUT_OF_MEMORY, typeof(OutOfMemoryException))]
    [TestCase(NativeMethods.ADN_STATUS_DEVICE_ERROR, typeof(AdadeltaNativeException))]
    [TestCase(NativeMethods.ADN_STATUS_INTERNAL_ERROR, typeof(AdadeltaNativeException))]
    [TestCase(99, typeof(AdadeltaNativeException))]
    public void Each_status_becomes_its_exception(int status, Type type)
    {
        var exception = Status.ToException(status, "tensor: of another kind, expected this one");
        Assert.That(exception, Is.TypeOf(type).With.Message.StartsWith("tensor: of another kind, expected this one"));
        if (exception is AdadeltaNativeException native)
        {
            Assert.That(native.Status, Is.EqualTo(status));
        }
    }

    [Test]
    public void The_assembly_marshals_nothing() =>
        Assert.That(typeof(DeviceTensor).Assembly.GetCustomAttribute<DisableRuntimeMarshallingAttribute>(), Is.Not.Null);
}
