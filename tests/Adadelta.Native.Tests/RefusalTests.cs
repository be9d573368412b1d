using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Adadelta.Native.Interop;
using NUnit.Framework;

namespace Adadelta.Native.Tests;

// Whatever the native side can refuse, refused through the public API: ParamName, C#'s names, the value and the bound.
internal sealed partial class RefusalTests
{
    private static readonly ImageShape s_shape = new(1, 2, 2);

    // Native refusals that no call of the C# API can cause, each with the reason.
    private static readonly (string Format, string Reason)[] s_unreachable =
    [
        ("%s: NULL", "C# passes objects and pinned memory; what it can leave out is among the cases"),
        ("%s[%llu]: NULL", "C# checks the list of parameters"),
        ("count: 0, expected >= 1 parameter in a group", "C# checks the list of parameters"),
        (".struct_size: %u, expected", "C# sets it"),
        ("is not zero, expected zeros from byte", "C# passes structs of this library's size"),
        ("reserved", "C# has no such member"),
        ("%s.%s: %d, expected 0 or 1", "C# has bool"),
        (": bias: %d, expected 0 or 1", "C# has bool"),
        ("mode: %d", "C# has bool"),
        ("inference: %d", "C# has bool"),
        ("kind: %d", "C# has a method for each kind"),
        ("preset: %d", "C# has a property for each preset"),
        ("name: \"%s\", expected one of the network's parameters", "C# looks for the name itself"),
        ("group: %llu, expected 0 <= group < %zu", "C# checks the number, which may be negative"),
        ("index: %llu, expected 0 <= index < %", "C# checks the number, which may be negative"),
        ("layer_index: %llu", "C# checks the number, which may be negative"),
        ("count: %llu, expected count <= 4294967295", "a span is shorter"),
        ("tensor: of type %s, expected float32", "C# compares the type of the span"),
        ("count: %llu, expected %llu, the elements of a tensor", "C# compares the length of the span"),
        ("options.input_shape[%d]: %llu", "C#'s extents are of type int and at least 1"),
        ("options.input_shape: %s and a batch", "C# refuses images of 2^31 elements before"),
    ];

    private static readonly Case[] s_cases =
    [
        // Contexts.
        new("device.Type: 7, expected Auto, Cpu or Cuda", _ => ComputeContext.Create(new Device((DeviceType)7))),
        new("device.Index: -1, expected >= 0", _ => ComputeContext.Create(new Device(DeviceType.Cpu, -1))),
        new("device.Index: 1, expected 0 for the CPU", _ => ComputeContext.Create(new Device(DeviceType.Cpu, 1))),
        new("threads: -1, expected 0 <= threads", _ => ComputeContext.Create(threads: -1)),
        new("threads: 257, expected 0 <= threads <= 256", _ => ComputeContext.Create(threads: 257)),
        new("instructionSet: 9, expected Auto, Baseline, Avx2 or Avx512", _ => ComputeContext.Create(instructionSet: (InstructionSet)9)),
        new("cuda.WorkspaceLimit: -1, expected 0 <= cuda.WorkspaceLimit",
            _ => ComputeContext.Create(cuda: new CudaOptions { WorkspaceLimit = -1 })),
        new("backend: \"tpu\", expected \"cpu\" or \"cuda\"", _ => NativeLibraryInfo.BackendReason("tpu")),
        new("backend: a name with a null character, expected \"cpu\" or \"cuda\"", _ => NativeLibraryInfo.BackendReason("cpu\0")),
        new("backend: null", _ => NativeLibraryInfo.BackendReason(null!)),

        // Tensors.
        new("context: null", _ => new DeviceTensor(null!, 1)),
        new("shape[1]: 0, expected 1 <= shape[1]", t => new DeviceTensor(t.Context, 2, 0)),
        new("shape[1]: 9223372036854775807, expected >= 1 and at most 2^59 elements in all",
            t => new DeviceTensor(t.Context, 2, long.MaxValue)),
        new("shape.Length: 9, expected 0 <= shape.Length <= 8", t => new DeviceTensor(t.Context, 1, 1, 1, 1, 1, 1, 1, 1, 1)),
        new("type: 9, expected Float32, Float64, Float16, BFloat16 or Complex64",
            t => DeviceTensor.Zeros(t.Context, (ElementType)9, 1)),
        new("data: null", t => DeviceTensor.FromPointer(t.Context, 0, ElementType.Float32, 1)),
        new("data: 0x1, expected a multiple of 8, the alignment of float64",
            t => DeviceTensor.FromPointer(t.Context, 1, ElementType.Float64, 1)),
        new("type: -1, expected Float32, Float64, Float16, BFloat16 or Complex64",
            t => DeviceTensor.FromPointer(t.Context, 64, (ElementType)(-1), 1)),
        new("memory: of Int32, expected float, double, Half or BFloat16", t => DeviceTensor.FromMemory<int>(t.Context, new int[1])),
        new("memory: 0 elements, expected at least 1", t => DeviceTensor.FromMemory<float>(t.Context, Array.Empty<float>())),
        new("memory: 3 elements, expected 4, those of shape [2, 2]", t => DeviceTensor.FromMemory<float>(t.Context, new float[3], 2, 2)),
        new("memory: 4 elements, expected 18446744073709551615, those of shape [9223372036854775807, 9223372036854775807]",
            t => DeviceTensor.FromMemory<float>(t.Context, new float[4], long.MaxValue, long.MaxValue)),
        new("shape[0]: -2, expected 1 <= shape[0]", t => DeviceTensor.FromMemory<float>(t.Context, new float[4], -2, -2)),
        new("destination.Length: 3, expected 2, the elements of a Float32 tensor of shape [2]",
            t => t.Tensor.Read(new float[3]), "destination"),
        new("source.Length: 0, expected 2, the elements of a Float32 tensor of shape [2]", t => t.Tensor.Write([]), "source"),
        new("destination: of Double, expected the type of Float32 elements", t => t.Tensor.ReadAs(new double[2].AsSpan())),
        new("source: of Half, expected the type of Float32 elements", t => t.Tensor.WriteAs<Half>([])),
        new("destination.Length: 7, expected 8, the bytes of a Float32 tensor of shape [2]",
            t => t.Tensor.ReadBytes(new byte[7]), "destination"),
        new("source.Length: 9, expected 8, the bytes of a Float32 tensor of shape [2]", t => t.Tensor.WriteBytes(new byte[9]), "source"),

        new("byteOffset: -1, expected 0 <= byteOffset", t => t.Tensor.ReadBytes([], -1)),
        new("byteOffset: 9, expected at most 8, the bytes of a float32 tensor of shape [2]", t => t.Tensor.ReadBytes([], 9)),
        new("destination.Length: 5, expected at most 4, the bytes from 4 on of a float32 tensor of shape [2]",
            t => t.Tensor.ReadBytes(new byte[5], 4)),
        new("source.Length: 9, expected at most 8, the bytes from 0 on of a float32 tensor of shape [2]",
            t => t.Tensor.WriteBytes(new byte[9], 0)),

        // Random numbers.
        new("offset: 18446744073709551615, expected offset <= 18446744073709551614, for 2 words before 2^64",
            _ => Philox.Bits(new uint[2], 0, 0, ulong.MaxValue)),
        new("count: -1, expected 0 <= count", _ => Philox.Permutation(-1, 0, 0)),

        // Data sets.
        new("labels.Length: 0, expected 1 <= labels.Length <= 4294967295", t => new DeviceDataset(t.Context, [], [], s_shape)),
        new("pixels.Length: 3, expected 4, 1 images of shape [1, 2, 2]", t => new DeviceDataset(t.Context, [1, 2, 3], [0], s_shape)),
        new("shape.Channels: 0, expected 1 <= shape.Channels", t => new DeviceDataset(t.Context, [1], [0], default)),
        new("shape.Height: 2147483647, expected >= 1 and at most 2^60 bytes in all",
            t => new DeviceDataset(t.Context, [1], [0], new(int.MaxValue, int.MaxValue, int.MaxValue))),
        new("pixels.Length: 8, expected 4, 1 images of shape [1, 2, 2]",
            t => DeviceDataset.FromMemory(t.Context, new byte[8], [0], s_shape)),

        // Layers and networks.
        new("channels: 0, expected 1 <= channels", _ => new NetworkBuilder(0, 1, 1)),
        new("outChannels: 0, expected 1 <= outChannels", _ => new NetworkBuilder(1, 1, 1).Conv2d(0, 1)),
        new("kernel.Height: 0, expected 1 <= kernel.Height", _ => new NetworkBuilder(1, 1, 1).MaxPool2d(default(Size2))),
        new("name: \"a\\0b\", expected 1 to 63 characters of [A-Za-z0-9_-.]", _ => new NetworkBuilder(1, 1, 1).ReLU("a\0b")),
        new("context: null", _ => new NetworkBuilder(1, 1, 1).ReLU().Build(null!)),
        new("layers: 0, expected 1 <= layers <= 10000", t => new NetworkBuilder(1, 1, 1).Build(t.Context)),
        new("layers: none of the 1 computes anything, expected at least one layer beside Flatten",
            t => new NetworkBuilder(1, 1, 1).Flatten().Build(t.Context)),
        new("layers[1].name: \"max_batch_size\", expected a name that no other layer has, but layers[0] has it",
            t => new NetworkBuilder(1, 1, 1).ReLU("max_batch_size").ReLU("max_batch_size").Build(t.Context)),
        new("layers[0].name: \"a b\", expected 1 to 63 characters of [A-Za-z0-9_-.]",
            t => new NetworkBuilder(1, 1, 1).ReLU("a b").Build(t.Context)),
        new("maxBatchSize: 0, expected 1 <= maxBatchSize", t => new NetworkBuilder(1, 1, 1).ReLU().Build(t.Context, maxBatchSize: 0)),
        new("maxBatchSize: 2147483648, expected 1 <= maxBatchSize < 2^31", null, Native: "options.max_batch_size: 2147483648, expected 1 <= max_batch_size < 2^31",
            Names: "options.max_batch_size=maxBatchSize"),
        new("reduction: 5, expected Mean or Sum", t => new NetworkBuilder(1, 1, 1).ReLU().Build(t.Context, reduction: (Reduction)5)),
        new("channels, height, width: 2147483648 elements an image, expected at most 2147483647",
            t => new NetworkBuilder(1, 65536, 32768).ReLU().Build(t.Context)),
        new("layer conv1 (Conv2d): outChannels: 2147483648, expected 1 <= outChannels < 2^31", null, "outChannels",
            Native: "layer conv1 (Conv2d): out_features: 2147483648, expected 1 <= out_features < 2^31"),
        new("layer fc1 (Linear): outFeatures: 2147483648, expected 1 <= outFeatures < 2^31", null, "outFeatures",
            Native: "layer fc1 (Linear): out_features: 2147483648, expected 1 <= out_features < 2^31"),
        new("layer conv1 (Conv2d): dilation.Width: 0, expected 1 <= dilation.Width < 2^31", null, "dilation.Width",
            Native: "layer conv1 (Conv2d): dilation[1]: 0, expected 1 <= dilation < 2^31"),
        new("layer pool1 (MaxPool2d): padding.Width: 2, expected at most half the kernel for pooling",
            t => new NetworkBuilder(1, 4, 4).MaxPool2d(2, padding: (1, 2)).Build(t.Context), "padding.Width"),
        new("layer drop_out (Dropout): probability: 1, expected 0 <= probability < 1",
            t => new NetworkBuilder(1, 1, 1).Dropout(1, "drop_out").Build(t.Context), "probability"),
        new("layer dropout1 (Dropout): probability: NaN, expected 0 <= probability < 1",
            t => new NetworkBuilder(1, 1, 1).Dropout(float.NaN).Build(t.Context), "probability"),
        new("layer fc1 (Linear): input shape [1, 2, 2] is an image, expected a flat [4]: put Flatten before it",
            t => new NetworkBuilder(1, 2, 2).Linear(1).Build(t.Context), "fc1"),
        new("layer conv1 (Conv2d): input shape [4] is flat, expected an image [channels, height, width]",
            t => new NetworkBuilder(1, 2, 2).Flatten().Conv2d(1, 1).Build(t.Context), "conv1"),
        new("layer conv1 (Conv2d): input shape [1, 2, 2] with padding [0, 0] is smaller than the window, expected at least [1, 3, 3]",
            t => new NetworkBuilder(1, 2, 2).Conv2d(1, 3).Build(t.Context), "conv1"),
        new("layer conv1 (Conv2d): output shape [1000000, 2000, 2000] and a batch of 64, expected at most 2^40 elements in all",
            t => new NetworkBuilder(1, 2000, 2000).Conv2d(1000000, 1).Build(t.Context), "conv1"),
        new("layer conv1 (Conv2d): a weight of [1000, 30000, 1000, 1000], expected at most 2^40 elements",
            t => new NetworkBuilder(30000, 1, 1).Conv2d(1000, 1000, padding: 500).Build(t.Context, maxBatchSize: 1), "conv1"),
        new("layer conv1 (Conv2d): padding [2000000, 3]: a padded input of [1, 4000002, 8] and a batch of 1000000, expected at most 2^40 elements in all",
            t => new NetworkBuilder(1, 2, 2).Conv2d(1, 1, padding: (2000000, 3)).Build(t.Context, maxBatchSize: 1000000), "conv1"),
        new("inputGradient: true with inference true, expected false",
            t => new NetworkBuilder(1, 1, 1).ReLU().Build(t.Context, inputGradient: true, inference: true)),
        new("source: 0 parameters that are not those of the network to copy to (2), expected the same names and shapes",
            t => t.Network.CopyParametersFrom(t.Plain)),
        new("maxBatchSize: -1, expected 1 <= maxBatchSize", t => t.Network.Clone(-1)),
        new("name: \"fc9.weight\", expected one of fc1.weight, fc1.bias", t => t.Network.GetParameter("fc9.weight")),

        // Passes.
        new("input.Length: 5, expected a multiple of 4, the elements of an image 1x2x2", t => t.Network.Forward(new float[5], []), "input"),
        new("input (batch size): 3, expected 1 <= batch size <= 2, the network's MaxBatchSize",
            t => t.Network.Forward(new float[12], [])),
        new("input (batch size): 0, expected 1 <= batch size <= 2, the network's MaxBatchSize", t => t.Network.Forward([], [])),
        new("output.Length: 5, expected 6, or 0 when no output is wanted", t => t.Network.Forward(new float[8], new float[5])),
        new("dataset: null", t => t.Network.Forward(null!, [0], [])),
        new("dataset: made from another context than the network, expected the same", t => t.Network.Forward(t.OtherSet, [0], [])),
        new("dataset: images of shape [4, 1, 1], expected [1, 2, 2], the network's input", t => t.Network.Forward(t.FlatSet, [0], [])),
        new("indices.Length: 0, expected 1 <= indices.Length <= 2, the network's MaxBatchSize", t => t.Network.Forward(t.Set, [], [])),
        new("indices[1]: 9, expected 0 <= index < 2, the images of the data set", t => t.Network.Forward(t.Set, [0, 9], [])),
        new("batchSize: -1, expected 0 <= batchSize", t => t.Network.ForwardExternal(64, -1, [])),
        new("batchSize: 3, expected 1 <= batchSize <= 2, the network's MaxBatchSize", t => t.Network.ForwardExternal(64, 3, [])),
        new("input: null", t => t.Network.ForwardExternal(0, 1, [])),
        new("input: 0x41, expected a multiple of 4, the alignment of its elements", t => t.Network.ForwardExternal(65, 1, [])),
        new("input: null", t => t.Network.TrainStepExternal(t.Optimizer, 0, [0])),
        new("labels.Length: 3, expected 2, the batch size of the last forward pass", t => t.AfterForward().Loss([0, 1, 2])),
        new("labels[1]: 3, expected 0 <= label < 3, the network's OutputCount", t => t.AfterForward().Loss([0, 3])),
        new("labels[0]: -1, expected 0 <= label < 3, the network's OutputCount",
            t => t.Network.TrainStep(t.Optimizer, new float[4], [-1])),
        new("outputGradient.Length: 5, expected 6, 3 logits for each of 2 images",
            t => t.AfterForward().Backward(new float[5])),
        new("outputGradient.Length: 0, expected the batch size times 3", t => t.AfterForward().Backward([]), "outputGradient"),
        new("input.Length: 5, expected 4, 1 images of shape [1, 2, 2]", t => t.Network.TrainStep(t.Optimizer, new float[5], [0])),
        new("labels.Length: 0, expected 1 <= labels.Length <= 2, the network's MaxBatchSize",
            t => t.Network.TrainStep(t.Optimizer, [], [])),
        new("labels.Length: 3, expected 1 <= labels.Length <= 2, the network's MaxBatchSize",
            t => t.Network.TrainStepExternal(t.Optimizer, 64, [0, 1, 2])),
        new("optimizer: null", t => t.Network.TrainStep(null!, new float[4], [0])),
        new("optimizer: made from another context than the network, expected the same",
            t => t.Network.TrainStep(t.OtherOptimizer, new float[4], [0])),
        new("optimizer: holds none of the network's 2 parameters, expected at least one, since a step would change nothing",
            t => t.Network.TrainStep(t.New(AdadeltaOptions.PyTorch), new float[4], [0])),
        new("indices[1] (label): 7, expected 0 <= label < 3, the network's OutputCount",
            t => t.Network.TrainStep(t.Optimizer, t.Set, [0, 1])),
        new("losses.Length: 1, expected losses.Length <= 0, 0 training steps so far and 1024 kept",
            t => t.Network.ReadLosses(new float[1])),
        new("destination.Length: 3, expected 8, 2 images of shape [1, 2, 2]", t => t.AfterBackward().ReadInputGradient(new float[3])),
        new("destination.Length: 3, expected 6, 2 images of shape [3, 1, 1]", t => t.AfterForward().ReadActivation(1, new float[3])),
        new("layer: 2, expected 0 <= layer < 2", t => t.Network.ReadActivation(2, [])),
        new("Step: 1099511627776, expected Step < 2^40", t => t.Network.Step = 1L << 40),
        new("Step: -1, expected 0 <= Step", t => t.Network.Step = -1),

        // Options of the optimizer, through each call that takes them.
        new("options.LearningRate: -1, expected a finite LearningRate >= 0", t => t.New(new() { LearningRate = -1 })),
        new("options.LearningRate: Infinity, expected a finite LearningRate >= 0",
            t => t.New(new() { LearningRate = double.PositiveInfinity })),
        new("options.LearningRate: 1e+300, expected at most 3.40282e+38, since a step on float32 is computed in float32",
            t => t.New(new() { LearningRate = 1e300 })),
        new("options.Eps: 1e-60, expected at least 1.4013e-45 with ZeroEps Refuse, since a step on float32 is computed in float32",
            t => t.New(new() { Eps = 1e-60, ZeroEps = ZeroEps.Refuse })),
        new("options.Rho: 1.1, expected 0 <= Rho <= 1", t => t.New(new() { Rho = 1.1 })),
        new("options.Rho: NaN, expected 0 <= Rho <= 1", t => t.Optimizer.SetOptions(new() { Rho = double.NaN })),
        new("group.Options.Rho: -1, expected 0 <= Rho <= 1",
            t => t.Optimizer.AddGroup(new([t.Spare], new AdadeltaOptions { Rho = -1 }))),
        new("defaults.Rho: 2, expected 0 <= Rho <= 1",
            t => new AdadeltaOptimizer([new ParameterGroup([t.Spare])], new AdadeltaOptions { Rho = 2 })),
        new("groups[0].Options.Eps: -1, expected a finite Eps >= 0",
            t => new AdadeltaOptimizer([new ParameterGroup([t.Spare], new() { Eps = -1 })])),
        new("options.WeightDecay: -1, expected a finite WeightDecay >= 0", t => t.New(new() { WeightDecay = -1 })),
        new("options.ZeroEps: 9, expected NaN, Refuse or Keep", t => t.New(new() { ZeroEps = (ZeroEps)9 })),
        new("options.DecoupledWeightDecay: -1, expected a finite DecoupledWeightDecay >= 0",
            t => t.New(new() { DecoupledWeightDecay = -1 })),
        new("options.ClipValue: -1, expected a finite ClipValue >= 0", t => t.New(new() { ClipValue = -1 })),
        new("options.AverageDecay: 1, expected 0 <= AverageDecay < 1", t => t.New(new() { AverageDecay = 1 })),
        new("options.Foreach: true with Differentiable true, expected null or false",
            t => t.New(new() { Foreach = true, Differentiable = true })),
        new("options.ClipValue: 5 with Differentiable true, expected 0", t => t.New(new() { ClipValue = 5, Differentiable = true })),
        new("options.Eps: 0, expected Eps > 0 with ZeroEps Refuse", t => t.New(new() { Eps = 0, ZeroEps = ZeroEps.Refuse })),
        new("options.Differentiable: true with a parameter of type float16, expected false",
            t => new AdadeltaOptimizer([t.Half], new AdadeltaOptions { Differentiable = true })),
        new("PassOptions.GradientScale: 0, expected 1.17549e-38 <= GradientScale <= 8.50706e+37, so that gradients keep their range",
            t => t.Optimizer.PassOptions = new() { GradientScale = 0 }),
        new("PassOptions.ClipNorm: -1, expected a finite ClipNorm >= 0", t => t.Optimizer.PassOptions = new() { ClipNorm = -1 }),
        new("PassOptions.ZeroGradients: true with one gradient for parameters 0 and 1, expected false",
            t => t.Sharing.PassOptions = new() { ZeroGradients = true }),
        new("learningRate: -1, expected 0 <= learningRate <= 3.40282e+38", t => t.Optimizer.SetLearningRate(-1)),
        new("LearningRate: 1e+300, expected 0 <= LearningRate <= 3.40282e+38", t => t.Optimizer.LearningRate = 1e300),
        new("StepCount: -1, expected 0 <= StepCount <= 2^62", t => t.Optimizer.StepCount = -1),
        new("StepCount: 9223372036854775807, expected 0 <= StepCount <= 2^62", t => t.Optimizer.StepCount = long.MaxValue),
        new("step: -1, expected 0 <= step <= 2^62", t => t.Optimizer.SetStep(0, -1)),

        // Parameters, gradients and groups.
        new("parameters: null", _ => new AdadeltaOptimizer((IReadOnlyList<Parameter>)null!)),
        new("parameters: 0, expected at least 1", _ => new AdadeltaOptimizer(Array.Empty<Parameter>())),
        new("parameters[1]: null", t => new AdadeltaOptimizer([t.Spare, null!])),
        new("groups: 0, expected at least 1", _ => new AdadeltaOptimizer(Array.Empty<ParameterGroup>())),
        new("groups[1]: null", t => new AdadeltaOptimizer([new ParameterGroup([t.Spare]), null!])),
        new("groups[0].Parameters: null", _ => new AdadeltaOptimizer([new ParameterGroup(null!)])),
        new("group: null", t => t.Optimizer.AddGroup(null!)),
        new("group.Parameters: 0, expected at least 1", t => t.Optimizer.AddGroup(new([]))),
        new("parameters[1]: already parameter 0 of the optimizer, expected each once",
            t => new AdadeltaOptimizer([t.Spare, t.Spare])),
        new("parameters[1]: made from another context than the optimizer, expected the same",
            t => new AdadeltaOptimizer([t.Spare, t.Other])),
        new("groups[1].Parameters[0]: already parameter 0 of the optimizer, expected each once",
            t => new AdadeltaOptimizer([new ParameterGroup([t.Spare]), new ParameterGroup([t.Spare])])),
        new("group.Parameters[0].Gradient: shape [3], expected [2], that of its parameter",
            t => t.Optimizer.AddGroup(new([new("p", t.Spare.Value, t.Three)]))),
        new("parameters[0].Gradient: of type float64, expected float32, that of its parameter",
            t => new AdadeltaOptimizer([new Parameter("p", t.Spare.Value, t.Double)])),
        new("parameters[0].Gradient: made from another context than the optimizer, expected the same",
            t => new AdadeltaOptimizer([new Parameter("p", t.Spare.Value, t.Other.Value)])),
        new("parameters[0].Gradient: the memory of its parameter, expected memory of its own",
            t => new AdadeltaOptimizer([new Parameter("p", t.Spare.Value, t.Spare.Value)])),
        new("parameters[1].Gradient: the memory of parameter 0, expected memory of its own",
            t => new AdadeltaOptimizer([t.Spare, new Parameter("p", t.Tensor, t.Spare.Value)])),
        new("group.Parameters[0]: the memory of parameter 0's gradient, expected memory of its own",
            t => t.Zeroing.AddGroup(new([new("p", t.Spare.Gradient, t.Tensor)]))),
        new("gradient: the memory of parameter 0's gradient, expected memory of its own with ZeroGradients true",
            t => t.Zeroing.SetGradient(1, t.Spare.Gradient)),
        new("gradient: shape [3], expected [2], that of its parameter", t => t.Zeroing.SetGradient(0, t.Three)),
        new("index: 9, expected 0 <= index < 2", t => t.Optimizer.SetGradient(9, null)),
        new("index: -1, expected 0 <= index < 2", t => t.Optimizer.GetState(-1)),
        new("group: 1, expected 0 <= group < 1", t => t.Optimizer.GetOptions(1)),
        new("options: null", t => t.Optimizer.SetOptions(null!)),
        new("value: null", t => t.Optimizer.PassOptions = null!),
        new("learningRate: shape [3], expected one element", t => t.Optimizer.SetLearningRateTensor(t.Three)),
        new("learningRate: of type float16, expected float32 or float64", t => t.Optimizer.SetLearningRateTensor(t.HalfOne)),
        new("learningRate: made from another context than the optimizer, expected the same",
            t => t.Optimizer.SetLearningRateTensor(t.OtherOne)),
        new("learningRateGradients.Length: 2, expected 1, the optimizer's groups", t => t.Recorded.Backward([null], new double[2])),
        new("cotangents.Count: 2, expected 1, the optimizer's parameters", t => t.Recorded.Backward([null, null])),
        new("cotangents: null", t => t.Recorded.Backward(null!)),
        new("cotangents[0].Parameter: null", t => t.Recorded.Backward([null])),
        new("cotangents[0].SquareAverage: null", t => t.Recorded.Backward([new(t.Tensor, t.Tensor2, null!, t.Tensor3)])),
        new("cotangents[0].AccumulatedDelta: float32 of shape [3], expected float32 of shape [2] on the optimizer's context",
            t => t.Recorded.Backward([new(t.Tensor, t.Tensor2, t.Tensor3, t.Three)])),
        new("cotangents[0].Gradient: memory of another of them, expected memory of its own",
            t => t.Recorded.Backward([new(t.Tensor, t.Tensor, t.Tensor2, t.Tensor3)])),
        new("name: null", t => new Parameter(null!, t.Tensor, t.Tensor)),
        new("value: null", t => new Parameter("p", null!, t.Tensor)),
        new("gradient: null", t => new Parameter("p", t.Tensor, null!)),
    ];

    [TestCaseSource(nameof(s_cases))]
    public void A_refused_argument_is_named_in_the_words_of_CSharp_with_value_and_bound(Case one)
    {
        using var things = new Things();
        var exception = Catch(one, things);
        Assert.That(exception, Is.InstanceOf<ArgumentException>());
        var refused = (ArgumentException)exception!;
        Assert.That(refused.ParamName, Is.EqualTo(one.ParamName));
        var suffix = $" (Parameter '{refused.ParamName}')";
        Assert.That(refused.Message, Does.EndWith(suffix));
        var text = refused.Message[..^suffix.Length];
        if (refused.GetType() == typeof(ArgumentNullException))
        {
            Assert.That(one.Message, Does.EndWith(": null"));
        }
        else
        {
            Assert.That(text, Is.EqualTo(one.Message));
            Assert.That(text, Does.Contain("expected").Or.Contain("already"));
            AssertNoNativeNames(text);
            // A number beside its bound is out of range, everything else does not fit for another reason.
            Assert.That(refused is ArgumentOutOfRangeException, Is.EqualTo(BoundedNumber().IsMatch(text)), text);
        }
    }

    // A new refusal of the native side needs a case above, or the reason why C# cannot cause it.
    [Test]
    public void Every_refusal_of_the_native_side_has_a_case()
    {
        var said = new List<string>();
        using (var things = new Things())
        {
            foreach (var one in s_cases)
            {
                Assert.That(Catch(one, things), Is.InstanceOf<ArgumentException>(), one.Message);
                said.Add(one.Native ?? LastError());
            }
        }
        var formats = NativeFormats("ADN_STATUS_INVALID_ARGUMENT").ToArray();
        Assert.That(formats, Has.Length.GreaterThan(40));
        Assert.That(
            s_unreachable.Where(one => !formats.Any(format => format.Contains(one.Format, StringComparison.Ordinal))), Is.Empty,
            "reasons without a refusal");
        Assert.That(
            formats.Where(format => !s_unreachable.Any(one => format.Contains(one.Format, StringComparison.Ordinal)) && !said.Any(
                text => Regex.IsMatch(text, "^" + string.Join(".*", Conversion().Split(format).Select(Regex.Escape)) + "$"))),
            Is.Empty, "refusals without a case");
    }

    // Also what C# cannot cause speaks C#, whatever the call.
    [TestCase("ADN_STATUS_INVALID_ARGUMENT")]
    [TestCase("ADN_STATUS_INVALID_STATE")]
    [TestCase("ADN_STATUS_UNSUPPORTED")]
    public void Every_message_of_the_native_side_comes_without_native_names(string status)
    {
        foreach (var format in NativeFormats(status).Where(format => !format.Contains("struct_size", StringComparison.Ordinal)))
        {
            var message = Conversion().Replace(format, "1");
            AssertNoNativeNames(NativeMessage.Translate(message, reason: status == "ADN_STATUS_UNSUPPORTED").Text);
        }
    }

    [Test]
    public void A_layer_s_name_and_a_reason_stay_as_they_are()
    {
        Assert.That(
            NativeMessage.Translate("layer out_features (Linear): out_features: 0, expected 1 <= out_features < 2^31"),
            Is.EqualTo(new NativeMessage(
                "layer out_features (Linear): outFeatures: 0, expected 1 <= outFeatures < 2^31", "outFeatures", false, true)));
        Assert.That(
            Status.ToException(
                NativeMethods.ADN_STATUS_UNSUPPORTED,
                "options.device_type: 2 (CUDA): the CUDA backend cannot be loaded: /opt/batch_size/1 (2)/lib_x.so: no such file",
                "options.device_type=device.Type"),
            Is.TypeOf<NotSupportedException>().With.Message.EqualTo(
                "device.Type: Cuda: the CUDA backend cannot be loaded: /opt/batch_size/1 (2)/lib_x.so: no such file"));
        Assert.That(
            Status.ToException(
                NativeMethods.ADN_STATUS_UNSUPPORTED, "options.instruction_set: 3 (AVX-512): not offered by this CPU and build",
                "options.instruction_set=instructionSet"),
            Is.TypeOf<NotSupportedException>().With.Message.EqualTo("instructionSet: Avx512: not offered by this CPU and build"));
    }

    [Test]
    public void A_call_out_of_turn_is_explained_in_the_words_of_CSharp()
    {
        using var things = new Things();
        Assert.That(things.Network.Backward, Refused("backward: no forward pass in training before it"));
        using var plain = new NetworkBuilder(1, 2, 2).ReLU().Build(things.Context);
        Assert.That(
            () => plain.ReadInputGradient([]), Refused("input gradient: the network was made without inputGradient"));
        Assert.That(() => things.AfterForward().Backward(), Refused("backward: no loss before it, and no outputGradient given"));
        things.Recorded.PassOptions = new() { ClipNorm = 1 };
        Assert.That(
            things.Recorded.Step,
            Refused("step: group 0 is differentiable, expected pass options without GradientScale, ClipNorm and SkipNonfinite"));

        static NUnit.Framework.Constraints.IResolveConstraint Refused(string message) =>
            Throws.TypeOf<InvalidOperationException>().With.Message.EqualTo(message);
    }

    private static Exception? Catch(Case one, Things things)
    {
        if (one.Native is not null)
        {
            return Status.ToException(NativeMethods.ADN_STATUS_INVALID_ARGUMENT, one.Native, one.Names);
        }
        try
        {
            one.Call!(things);
            return null;
        }
        catch (Exception exception) when (exception is not AssertionException)
        {
            return exception;
        }
    }

    private static unsafe string LastError() => Marshal.PtrToStringUTF8((nint)NativeMethods.adn_last_error()) ?? "";

    // A word with an underscore outside of quotation marks, except in the name of a layer, which is the caller's.
    private static void AssertNoNativeNames(string text) => Assert.That(
        NativeName().Matches(Regex.Replace(text, "\"[^\"]*\"|^layer \\S+|A-Za-z0-9_|NaN|ADADELTA_[A-Z_]+", "")).Select(match => match.Value),
        Is.Empty, text);

    private static IEnumerable<string> NativeFormats(string status)
    {
        foreach (var folder in (string[])["abi", "core", "cpu"])
        {
            foreach (var file in Directory.EnumerateFiles(Path.Combine(Repository.Root, "native", "src", folder)))
            {
                foreach (Match match in Refusal().Matches(File.ReadAllText(file)))
                {
                    if (match.Groups["status"].Value == status)
                    {
                        yield return string.Concat(match.Groups["part"].Captures.Select(part => part.Value)).Replace("\\\"", "\"", StringComparison.Ordinal);
                    }
                }
            }
        }
    }

    [GeneratedRegex("fail\\(\\s*(?<status>ADN_STATUS_\\w+),\\s*(\"(?<part>([^\"\\\\]|\\\\.)*)\"\\s*)+", RegexOptions.CultureInvariant)]
    private static partial Regex Refusal();

    [GeneratedRegex(@"%[\d.]*(?:llu|zu|[dusgp])", RegexOptions.CultureInvariant)]
    private static partial Regex Conversion();

    [GeneratedRegex(@"\b[a-z][a-z0-9]*_\w+|\badn_\w+|\bADN_\w+|\bNULL\b", RegexOptions.CultureInvariant)]
    private static partial Regex NativeName();

    [GeneratedRegex(@": (-?[\d.]+(e[+-]\d+)?|NaN|Infinity)( elements an image)?, expected (.*[<>].*|.*at (most|least) .*)$|^[\w.]+: -?\d+, expected [A-Z]\w+(, \w+)* or [A-Z]\w+$", RegexOptions.CultureInvariant)]
    private static partial Regex BoundedNumber();

    // What a test case refuses: through a call, or where only another host could cause it, from the native message.
    internal sealed record Case(string Message, Action<Things>? Call, string? Name = null, string? Native = null, string Names = "")
    {
        public string ParamName { get; } = Name ?? Message[..Message.IndexOf(": ", StringComparison.Ordinal)] switch
        {
            var head when head.IndexOf(" (", StringComparison.Ordinal) is > 0 and var unit => head[..unit],
            var head => head,
        };

        public override string ToString() => Message;
    }

    // Objects to refuse things with.
    internal sealed class Things : IDisposable
    {
        private readonly ComputeContext _other = ComputeContext.Create(Device.Cpu, 1);
        private readonly List<IDisposable> _made = [];

        internal ComputeContext Context { get; } = ComputeContext.Create(Device.Cpu, 1);

        internal Network Network => field ??= Keep(new NetworkBuilder(1, 2, 2).Flatten().Linear(3).Build(Context, maxBatchSize: 2, inputGradient: true));

        internal Network Plain => field ??= Keep(new NetworkBuilder(1, 2, 2).ReLU().Build(Context));

        internal AdadeltaOptimizer Optimizer => field ??= Keep(new AdadeltaOptimizer(Network.Parameters));

        internal DeviceTensor Tensor => field ??= Floats(2);

        internal DeviceTensor Tensor2 => field ??= Floats(2);

        internal DeviceTensor Tensor3 => field ??= Floats(2);

        internal DeviceTensor Three => field ??= Floats(3);

        internal DeviceTensor Double => field ??= Keep(DeviceTensor.Zeros(Context, ElementType.Float64, 2));

        internal DeviceTensor HalfOne => field ??= Keep(DeviceTensor.Zeros(Context, ElementType.Float16, 1));

        internal DeviceTensor OtherOne => field ??= Keep(new DeviceTensor(_other, 1));

        internal Parameter Spare => field ??= new("spare", Floats(2), Floats(2));

        internal Parameter Half => field ??= new(
            "half", Keep(DeviceTensor.Zeros(Context, ElementType.Float16, 2)), Keep(DeviceTensor.Zeros(Context, ElementType.Float16, 2)));

        internal Parameter Other => field ??= new("other", Keep(new DeviceTensor(_other, 2)), Keep(new DeviceTensor(_other, 2)));

        internal DeviceDataset Set => field ??= Keep(new DeviceDataset(Context, [1, 2, 3, 4, 5, 6, 7, 8], [0, 7], s_shape));

        internal DeviceDataset FlatSet => field ??= Keep(new DeviceDataset(Context, [1, 2, 3, 4], [0], new(4, 1, 1)));

        internal DeviceDataset OtherSet => field ??= Keep(new DeviceDataset(_other, [1, 2, 3, 4], [0], s_shape));

        internal AdadeltaOptimizer OtherOptimizer => field ??= Keep(new AdadeltaOptimizer([Other]));

        // Two parameters with one gradient.
        internal AdadeltaOptimizer Sharing
        {
            get
            {
                var gradient = Floats(2);
                return field ??= Keep(new AdadeltaOptimizer([new Parameter("a", Floats(2), gradient), new Parameter("b", Floats(2), gradient)]));
            }
        }

        internal AdadeltaOptimizer Zeroing =>
            field ??= Keep(new AdadeltaOptimizer([Spare, new Parameter("b", Floats(2), Floats(2))]) { PassOptions = new() { ZeroGradients = true } });

        // With one parameter and one recorded step.
        internal AdadeltaOptimizer Recorded
        {
            get
            {
                if (field is null)
                {
                    field = Keep(new AdadeltaOptimizer([new Parameter("r", Floats(2), Floats(2))], new AdadeltaOptions { Differentiable = true }));
                    field.Step();
                }
                return field;
            }
        }

        public void Dispose()
        {
            _made.ForEach(one => one.Dispose());
            Context.Dispose();
            _other.Dispose();
        }

        internal AdadeltaOptimizer New(AdadeltaOptions options) => Keep(new AdadeltaOptimizer([Spare], options));

        internal Network AfterForward()
        {
            Network.Forward(new float[8], [], training: true);
            return Network;
        }

        internal Network AfterBackward()
        {
            AfterForward().Backward(new float[6]);
            return Network;
        }

        private DeviceTensor Floats(long count) => Keep(new DeviceTensor(Context, count));

        private T Keep<T>(T one)
            where T : IDisposable
        {
            _made.Add(one);
            return one;
        }
    }
}
