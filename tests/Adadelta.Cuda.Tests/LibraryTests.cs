using Adadelta.Native;
using NUnit.Framework;

namespace Adadelta.Cuda.Tests;

// What cuDNN and cuBLAS compute, against the project's own kernels on the same device and against the CPU.
[Category("Cuda")]
internal sealed class LibraryTests
{
    // All compute in strict float32, each adding in an order of its own; FFT and Winograd algorithms round in their transforms too.
    private const double Float32 = 2e-5;

    // TF32 keeps 10 bits of a number's 23: each product is off by up to 1e-3 of itself, to one side or the other.
    private const double Tf32 = 2e-3;

    // Adadelta divides by the gradient's own size, so a gradient near 0 takes its relative error to the parameter in full; and a
    // rounding may give a window another winner, or an activation another sign.
    private const double Training = 1e-3;

    private static readonly (string Name, CudaOptions Options)[] s_options =
    [
        ("heuristics", new()),
        ("searched", new() { SearchAlgorithms = true }),
        ("deterministic", new() { Deterministic = true }),
        ("without workspace", new() { WorkspaceLimit = 1 }),
    ];

    // Few windows and ReLUs: where one of them stands at a tie, a rounding moves its whole gradient to another place.
    private static readonly (string Name, int Batch, Func<NetworkBuilder> Layers)[] s_networks =
    [
        ("5x5", 5, () => new NetworkBuilder(3, 12, 12).Conv2d(8, 5).Flatten().Linear(10)),
        ("3x3 with padding", 4, () =>
            new NetworkBuilder(2, 9, 11).Conv2d(8, 3, padding: 1).Conv2d(8, 3, padding: 1).Flatten().Linear(10)),
        ("strides and dilation", 3, () =>
            new NetworkBuilder(2, 13, 11).Conv2d(5, (3, 2), (2, 1), (1, 0), (1, 2)).Conv2d(4, 3, (1, 2), 2).Flatten().Linear(10)),
        ("1x1", 4, () => new NetworkBuilder(16, 6, 6).Conv2d(24, 1).Conv2d(8, 1, bias: false).Flatten().Linear(10)),
        ("11x11 with stride 4", 2, () => new NetworkBuilder(3, 39, 39).Conv2d(16, 11, stride: 4).Flatten().Linear(10)),
        ("max-pool and ReLU", 2, () =>
            new NetworkBuilder(1, 14, 14).Conv2d(6, 3).MaxPool2d(2).ReLU().Conv2d(8, 3).ReLU().MaxPool2d(3, 2, 1)
                .Flatten().Linear(10)),
        ("avg-pool", 3, () => new NetworkBuilder(3, 12, 12).Conv2d(8, 3).AvgPool2d(3, 2, 1).Flatten().Linear(10)),
        ("linear layers", 7, () => new NetworkBuilder(1, 1, 300).Flatten().Linear(65).ReLU().Linear(33).ReLU().Linear(10)),
        ("a batch of 1", 1, () => new NetworkBuilder(3, 12, 12).Conv2d(8, 5).Conv2d(16, 3).Flatten().Linear(10)),
    ];

    public static IEnumerable<TestCaseData> Cases =>
        from network in s_networks
        from options in s_options
        select new TestCaseData(network.Layers, network.Batch, options.Options)
            .SetArgDisplayNames(network.Name, options.Name);

    public static IEnumerable<TestCaseData> Networks =>
        from network in s_networks
        select new TestCaseData(network.Layers, network.Batch).SetArgDisplayNames(network.Name);

    [TestCaseSource(nameof(Cases))]
    public void The_libraries_agree_with_the_own_kernels_and_the_CPU(
        Func<NetworkBuilder> layers, int batch, CudaOptions options)
    {
        using var libraries = Contexts.Cuda(options);
        Contexts.RequireLibrary(libraries, "cuDNN");
        Contexts.RequireLibrary(libraries, "cuBLAS");
        using ComputeContext own = Contexts.Cuda(new() { OwnKernelsOnly = true }), cpu = Contexts.Cpu();
        var (input, labels) = Batch(layers(), batch);
        var actual = Pass.Run(libraries, layers(), input, labels);
        TestContext.Out.WriteLine(libraries.Libraries);
        actual.AssertClose(Pass.Run(own, layers(), input, labels), Float32, "the own kernels");
        actual.AssertClose(Pass.Run(cpu, layers(), input, labels), Float32, "the CPU");
    }

    [TestCaseSource(nameof(Networks))]
    public void The_own_kernels_agree_with_the_CPU(Func<NetworkBuilder> layers, int batch)
    {
        using ComputeContext own = Contexts.Cuda(new() { OwnKernelsOnly = true }), cpu = Contexts.Cpu();
        var (input, labels) = Batch(layers(), batch);
        Pass.Run(own, layers(), input, labels)
            .AssertClose(Pass.Run(cpu, layers(), input, labels), Float32, "the CPU");
    }

    [TestCaseSource(nameof(Networks))]
    public void Deterministic_algorithms_and_the_own_kernels_give_the_same_bits_each_time(
        Func<NetworkBuilder> layers, int batch)
    {
        var (input, labels) = Batch(layers(), batch);
        foreach (var options in new CudaOptions[] { new() { Deterministic = true }, new() { OwnKernelsOnly = true } })
        {
            using var context = Contexts.Cuda(options);
            var first = Pass.Run(context, layers(), input, labels);
            for (var i = 0; i < 3; i++)
            {
                Assert.That(Pass.Run(context, layers(), input, labels).HasBitsOf(first), Is.True, $"{options}");
            }
        }
    }

    [Test]
    public void Tf32_is_within_its_own_precision()
    {
        using var tf32 = Contexts.Cuda(new() { AllowTf32 = true });
        using var cpu = Contexts.Cpu();
        static NetworkBuilder Layers() =>
            new NetworkBuilder(8, 12, 12).Conv2d(16, 3, padding: 1).Conv2d(16, 3).Flatten().Linear(32).Linear(10);
        var (input, labels) = Batch(Layers(), 8);
        Pass.Run(tf32, Layers(), input, labels).AssertClose(Pass.Run(cpu, Layers(), input, labels), Tf32, "the CPU");
    }

    [Test]
    public void cuDNN_does_every_convolution_of_the_reference_network()
    {
        using var context = Contexts.Cuda();
        Contexts.RequireLibrary(context, "cuDNN");
        var (input, labels) = Batch(Reference(), 2);
        Pass.Run(context, Reference(), input, labels);
        Assert.That(context.Libraries, Does.Not.Contain("not for all layers"));
    }

    // Ten steps of 32 images: the first is launched piece by piece, the second captured, the others replayed.
    [TestCase(false, TestName = "Training_by_the_libraries_follows_the_CPU")]
    [TestCase(true, TestName = "Training_by_the_own_kernels_follows_the_CPU")]
    public void Training_follows_the_CPU(bool ownKernels)
    {
        using ComputeContext cuda = Contexts.Cuda(new() { OwnKernelsOnly = ownKernels }), cpu = Contexts.Cpu();
        var (losses, parameters) = Train(cuda);
        var (expectedLosses, expectedParameters) = Train(cpu);
        Numbers.AssertClose(losses, expectedLosses, Training, "losses");
        foreach (var ((name, values), (_, expected)) in parameters.Zip(expectedParameters))
        {
            Numbers.AssertClose(values, expected, Training, name);
        }
    }

    [Test]
    public void A_graph_gives_the_bits_of_single_launches()
    {
        using ComputeContext graph = Contexts.Cuda(new() { Deterministic = true }),
            plain = Contexts.Cuda(new() { Deterministic = true, NoGraph = true });
        var (losses, parameters) = Train(graph);
        var (expectedLosses, expectedParameters) = Train(plain);
        Assert.That(losses, Is.EqualTo(expectedLosses));
        Assert.That(parameters.Select(one => one.Values), Is.EqualTo(expectedParameters.Select(one => one.Values)));
    }

    private static NetworkBuilder Reference() =>
        new NetworkBuilder(1, 28, 28)
            .Conv2d(32, 5).MaxPool2d(2).ReLU()
            .Conv2d(64, 5).MaxPool2d(2).ReLU()
            .Flatten().Linear(512).ReLU().Linear(10);

    private static (float[] Input, int[] Labels) Batch(NetworkBuilder layers, int count)
    {
        using var cpu = Contexts.Cpu();
        using var network = layers.Build(cpu, maxBatchSize: 1);
        var random = new Random(17);
        return (Numbers.Uniform(random, (long)count * network.InputShape.Count), Numbers.Labels(random, count, 10));
    }

    private static (float[] Losses, (string Name, float[] Values)[] Parameters) Train(ComputeContext context)
    {
        const int steps = 10, batch = 32;
        using var network = Reference().Build(context, seed: 5, maxBatchSize: batch);
        using var optimizer = new AdadeltaOptimizer(network.Parameters, new() { LearningRate = 0.1 });
        var random = new Random(23);
        var losses = new float[steps];
        for (var step = 0; step < steps; step++)
        {
            var input = Numbers.Uniform(random, batch * network.InputShape.Count);
            losses[step] = network.TrainStep(optimizer, input, Numbers.Labels(random, batch, 10));
        }
        return (losses, [.. network.Parameters.Select(parameter => (parameter.Name, parameter.Value.ToArray()))]);
    }
}
