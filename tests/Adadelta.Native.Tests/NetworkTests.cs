using NUnit.Framework;

namespace Adadelta.Native.Tests;

[TestFixture("cpu")]
[TestFixture("cuda", Category = "Cuda")]
internal sealed class NetworkTests(string device)
{
    private ComputeContext _context = null!;

    [OneTimeSetUp]
    public void CreateContext() => _context = Contexts.On(device, threads: 2);

    [OneTimeTearDown]
    public void DisposeContext() => _context?.Dispose();

    [Test]
    public void The_reference_network_describes_itself()
    {
        using var network = GoldenCnn.ReferenceNetwork().Build(_context, seed: 1, maxBatchSize: 8, Reduction.Sum);
        Assert.That(network.Context, Is.SameAs(_context));
        Assert.That(network.InputShape, Is.EqualTo(new ImageShape(1, 28, 28)));
        Assert.That(network.InputShape.Count, Is.EqualTo(784));
        Assert.That(network.InputShape.ToString(), Is.EqualTo("1x28x28"));
        Assert.That(network.OutputCount, Is.EqualTo(10));
        Assert.That(network.MaxBatchSize, Is.EqualTo(8));
        Assert.That(network.Reduction, Is.EqualTo(Reduction.Sum));
        Assert.That(network.Step, Is.Zero);
        Assert.That(
            network.Layers.Select(layer => layer.Name),
            Is.EqualTo(new[] { "conv1", "pool1", "relu1", "conv2", "pool2", "relu2", "flatten1", "fc1", "relu3", "fc2" }));
        Assert.That(
            network.Layers.Select(layer => layer.Kind),
            Is.EqualTo(new[]
            {
                LayerKind.Conv2d, LayerKind.MaxPool2d, LayerKind.ReLU, LayerKind.Conv2d, LayerKind.MaxPool2d, LayerKind.ReLU,
                LayerKind.Flatten, LayerKind.Linear, LayerKind.ReLU, LayerKind.Linear,
            }));
        Assert.That(network.Layers[0].OutputShape, Is.EqualTo(new ImageShape(32, 24, 24)));
        Assert.That(network.Layers[0].ParameterElements, Is.EqualTo(832));
        Assert.That(network.Layers[5].OutputShape, Is.EqualTo(new ImageShape(64, 4, 4)));
        Assert.That(network.Layers[9].OutputShape, Is.EqualTo(new ImageShape(10, 1, 1)));
        var elements = network.Parameters.Sum(parameter => parameter.Value.Count);
        Assert.That(elements, Is.EqualTo(582_026));
        Assert.That(network.MemoryBytes, Is.GreaterThan(2 * 4 * elements));
    }

    [Test]
    public void Initial_weights_are_uniform_as_PyTorch_s()
    {
        using var network = GoldenCnn.ReferenceNetwork().Build(_context, seed: 1);
        foreach (var (name, fanIn) in new[] { ("conv1", 25), ("conv2", 800), ("fc1", 1024), ("fc2", 512) })
        {
            var bound = 1 / Math.Sqrt(fanIn);
            var weight = network.GetParameter($"{name}.weight").Value.ToArray();
            var bias = network.GetParameter($"{name}.bias").Value.ToArray();
            Assert.That(weight.Concat(bias).Max(Math.Abs), Is.LessThanOrEqualTo((float)bound));
            Assert.That(weight.Max(), Is.GreaterThan(0.95 * bound));
            Assert.That(weight.Min(), Is.LessThan(-0.95 * bound));
            // The mean of n draws has standard deviation bound / sqrt(3 n); five of them never happen.
            Assert.That(weight.Average(), Is.Zero.Within(5 * bound / Math.Sqrt(3.0 * weight.Length)));
        }
    }

    [Test]
    public void Parameters_are_views_of_the_network_s_own_storage()
    {
        using var network = new NetworkBuilder(1, 1, 2).Flatten().Linear(2, name: "out").Build(_context);
        network.GetParameter("out.weight").Value.Write([1, 2, 3, 4]);
        network.GetParameter("out.bias").Value.Write([10, 20]);
        var output = new float[2];
        network.Forward([1, -1], output);
        Assert.That(output, Is.EqualTo(new[] { 9f, 19f }));

        network.GetParameter("out.bias").Value.Fill(0);
        network.Forward([1, -1], output);
        Assert.That(output, Is.EqualTo(new[] { -1f, -1f }));
    }

    [Test]
    public void Every_kind_of_layer_can_be_built_and_trained()
    {
        using var network = new NetworkBuilder(2, 9, 11)
            .Conv2d(3, (3, 2), stride: (2, 1), padding: (1, 0), dilation: (1, 2), bias: false, name: "first")
            .AvgPool2d(2, stride: 1, padding: 1).ReLU("act")
            .MaxPool2d((2, 3), stride: (1, 2), padding: (1, 1))
            .Dropout(0.25f).Flatten("flat").Linear(7, bias: false).Linear(3)
            .Build(_context, seed: 5, maxBatchSize: 4, inputGradient: true);
        Assert.That(network.Layers[0].OutputShape, Is.EqualTo(new ImageShape(3, 5, 9)));
        Assert.That(network.Layers[1].OutputShape, Is.EqualTo(new ImageShape(3, 6, 10)));
        Assert.That(network.Layers[3].OutputShape, Is.EqualTo(new ImageShape(3, 7, 5)));
        Assert.That(
            network.Parameters.Select(parameter => parameter.Name),
            Is.EqualTo(new[] { "first.weight", "fc1.weight", "fc2.weight", "fc2.bias" }));
        using var optimizer = new AdadeltaOptimizer(network.Parameters);
        var input = Enumerable.Range(0, 4 * 198).Select(i => MathF.Sin(i)).ToArray();
        var losses = Enumerable.Range(0, 60).Select(_ => network.TrainStep(optimizer, input, [0, 1, 2, 0])).ToArray();
        Assert.That(losses[^1], Is.LessThan(losses[0]));
        Assert.That(network.Step, Is.EqualTo(60));
        var gradient = new float[input.Length];
        network.ReadInputGradient(gradient);
        Assert.That(gradient.Any(element => element != 0));
        Assert.That(gradient, Is.All.Matches<float>(float.IsFinite));
    }

    [Test]
    public void A_gradient_by_the_output_can_take_the_place_of_the_loss()
    {
        using var network = new NetworkBuilder(1, 1, 2).Flatten().Linear(2).Build(_context, inputGradient: true);
        network.GetParameter("fc1.weight").Value.Write([1, 2, 3, 4]);
        network.Forward([5, 6], [], training: true);
        network.Backward([1, 10]);
        Assert.That(network.GetParameter("fc1.weight").Gradient.ToArray(), Is.EqualTo(new[] { 5f, 6, 50, 60 }));
        Assert.That(network.GetParameter("fc1.bias").Gradient.ToArray(), Is.EqualTo(new[] { 1f, 10 }));
        var gradient = new float[2];
        network.ReadInputGradient(gradient);
        Assert.That(gradient, Is.EqualTo(new[] { 31f, 42 }));
    }

    [Test]
    public void The_sum_is_the_mean_times_the_batch()
    {
        float Loss(Reduction reduction)
        {
            using var network = new NetworkBuilder(1, 1, 2).Flatten().Linear(3).Build(_context, seed: 1, reduction: reduction);
            network.Forward([1, 2, 3, 4, 5, 6, 7, 8], []);
            return network.Loss([0, 1, 2, 0]);
        }

        Assert.That(Loss(Reduction.Sum), Is.EqualTo(4 * Loss(Reduction.Mean)).Within(1e-5));
    }

    [Test]
    public void Activations_can_be_read_where_they_are_written()
    {
        using var network = GoldenCnn.Instance.Build(_context);
        network.Forward(GoldenCnn.Instance.Input, []);
        foreach (var (name, file) in new[] { ("relu1", "act1.f32"), ("relu2", "act2.f32"), ("relu3", "act3.f32") })
        {
            var index = network.Layers.ToList().FindIndex(layer => layer.Name == name);
            var layer = network.Layers[index];
            Assert.That(layer.HasActivation);
            var all = new float[64 * layer.OutputShape.Count];
            network.ReadActivation(index, all);
            var expected = GoldenCnn.Floats(file);
            Assert.That(Compare.RelativeError(all.AsSpan(0, expected.Length), expected), Is.LessThan(1e-5), name);
        }
        var fused = network.Layers.ToList().FindIndex(layer => !layer.HasActivation);
        Assert.That(
            () => network.ReadActivation(fused, new float[64 * network.Layers[fused].OutputShape.Count]),
            Throws.TypeOf<NotSupportedException>().With.Message.Contains(network.Layers[fused].Name));
    }

    [Test]
    public void Shapes_that_do_not_fit_are_refused_with_the_layer_and_both_shapes()
    {
        Assert.That(
            () => new NetworkBuilder(1, 28, 28).Linear(10, name: "head").Build(_context),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("head").And.Message.Contains("[1, 28, 28]"));
        Assert.That(
            () => new NetworkBuilder(1, 4, 4).Conv2d(2, 5).Build(_context),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("conv1").And.Message.Contains("[1, 4, 4]"));
        Assert.That(() => new NetworkBuilder(1, 4, 4).Build(_context), Throws.InstanceOf<ArgumentException>());
        Assert.That(
            () => new NetworkBuilder(1, 4, 4).ReLU("same").ReLU("same").Build(_context),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("same"));
        Assert.That(
            () => new NetworkBuilder(1, 4, 4).ReLU("a b").Build(_context), Throws.InstanceOf<ArgumentException>().With.Message.Contains("a b"));
        Assert.That(
            () => new NetworkBuilder(1, 4, 4).ReLU("a\0b").Build(_context), Throws.InstanceOf<ArgumentException>().With.Message.Contains("a\\0b"));
        Assert.That(() => new NetworkBuilder(1, 4, 4).ReLU("").Build(_context), Throws.InstanceOf<ArgumentException>());
        Assert.That(
            () => new NetworkBuilder(1, 4, 4).MaxPool2d(2, padding: 2).Build(_context),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("padding"));
    }

    [TestCase(1f)]
    [TestCase(-0.1f)]
    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    public void A_probability_out_of_bounds_is_refused(float probability) => Assert.That(
        () => new NetworkBuilder(1, 4, 4).Dropout(probability).Build(_context),
        Throws.InstanceOf<ArgumentException>().With.Message.Contains("probability: ").And.Message.Contains("0 <= probability < 1"));

    [Test]
    public void Numbers_below_their_bounds_are_refused_where_they_are_given()
    {
        var builder = new NetworkBuilder(1, 8, 8);
        Assert.That(() => new NetworkBuilder(0, 8, 8), Refused("channels: 0, expected 1 <= channels"));
        Assert.That(() => new NetworkBuilder(1, -8, 8), Refused("height: -8, expected 1 <= height"));
        Assert.That(() => new NetworkBuilder(1, 8, 0), Refused("width: 0, expected 1 <= width"));
        Assert.That(() => builder.Conv2d(0, 3), Refused("outChannels: 0, expected 1 <= outChannels"));
        Assert.That(() => builder.Conv2d(1, 0), Refused("kernel.Height: 0, expected 1 <= kernel.Height"));
        Assert.That(() => builder.Conv2d(1, 3, stride: (1, -1)), Refused("stride.Width: -1, expected 1 <= stride.Width"));
        Assert.That(() => builder.Conv2d(1, 3, padding: -1), Refused("padding.Height: -1, expected 0 <= padding.Height"));
        Assert.That(() => builder.Conv2d(1, 3, dilation: 0), Refused("dilation.Height: 0, expected 1 <= dilation.Height"));
        Assert.That(() => builder.MaxPool2d(2, stride: 0), Refused("stride.Height: 0, expected 1 <= stride.Height"));
        Assert.That(() => builder.AvgPool2d((2, 0)), Refused("kernel.Width: 0, expected 1 <= kernel.Width"));
        Assert.That(() => builder.Linear(-5), Refused("outFeatures: -5, expected 1 <= outFeatures"));
        Assert.That(() => builder.ReLU().Build(_context, maxBatchSize: 0), Refused("maxBatchSize: 0, expected 1 <= maxBatchSize"));
        Assert.That(() => builder.Build(null!), Throws.ArgumentNullException);

        static NUnit.Framework.Constraints.IResolveConstraint Refused(string message) =>
            Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains(message);
    }

    [Test]
    public void Wrong_sizes_are_refused()
    {
        using var network = new NetworkBuilder(1, 2, 2).Flatten().Linear(3).Build(_context, maxBatchSize: 2, inputGradient: true);
        using var optimizer = new AdadeltaOptimizer(network.Parameters);
        Assert.That(() => network.Forward(new float[7], []), Refused("input.Length: 7, expected a multiple of 4, the elements of an image 1x2x2"));
        Assert.That(() => network.Forward([], []), Refused("input (batch size): 0, expected 1 <= batch size <= 2"));
        Assert.That(() => network.Forward(new float[12], []), Refused("input (batch size): 3, expected 1 <= batch size <= 2"));
        Assert.That(() => network.Forward(new float[8], new float[5]), Refused("output.Length: 5, expected 6"));

        network.Forward(new float[8], [], training: true);
        Assert.That(() => network.Loss([]), Refused("labels.Length: 0, expected 2"));
        Assert.That(() => network.Loss([0]), Refused("labels.Length: 1, expected 2"));
        Assert.That(() => network.Loss([0, 3]), Refused("labels[1]: 3, expected 0 <= label < 3"));
        Assert.That(() => network.Loss([-1, 0]), Refused("labels[0]: -1, expected 0 <= label < 3"));
        Assert.That(() => network.Backward([]), Refused("outputGradient.Length: 0, expected the batch size times 3"));
        Assert.That(() => network.Backward(new float[5]), Refused("outputGradient.Length: 5, expected 6"));
        network.Backward(new float[6]);
        Assert.That(() => network.ReadInputGradient(new float[4]), Refused("destination.Length: 4, expected 8"));
        Assert.That(() => network.ReadActivation(1, new float[3]), Refused("destination.Length: 3, expected 6"));
        Assert.That(() => network.ReadActivation(2, new float[6]), Refused("layer: 2, expected 0 <= layer < 2"));
        Assert.That(() => network.ReadActivation(-1, new float[6]), Refused("layer: -1, expected 0 <= layer < 2"));

        Assert.That(() => network.TrainStep(optimizer, new float[7], [0, 1]), Refused("input.Length: 7, expected 8"));
        Assert.That(() => network.TrainStep(optimizer, [], []), Refused("labels.Length: 0, expected 1 <= labels.Length <= 2"));
        Assert.That(() => network.TrainStep(optimizer, new float[12], [0, 1, 2]), Refused("labels.Length: 3, expected"));
        Assert.That(() => network.TrainStep(null!, new float[8], [0, 1]), Throws.ArgumentNullException);
        Assert.That(() => network.Step = -1, Refused("Step: -1, expected 0 <= Step"));
        Assert.That(() => network.Step = long.MaxValue, Refused("Step: 9223372036854775807, expected Step < 2^40"));

        static NUnit.Framework.Constraints.IResolveConstraint Refused(string message) =>
            Throws.InstanceOf<ArgumentException>().With.Message.Contains(message);
    }

    [Test]
    public void A_refused_training_step_changes_nothing()
    {
        using var network = new NetworkBuilder(1, 2, 2).Flatten().Linear(3).Build(_context);
        using var optimizer = new AdadeltaOptimizer(network.Parameters);
        network.TrainStep(optimizer, [1, 2, 3, 4], [1]);
        var before = network.Parameters.SelectMany(parameter => parameter.Value.ToArray()).ToArray();
        Assert.That(
            () => network.TrainStep(optimizer, [1, 2, 3, 4], [3]),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("labels[0]: 3, expected 0 <= label < 3"));
        Assert.That(network.Parameters.SelectMany(parameter => parameter.Value.ToArray()), Is.EqualTo(before));
        Assert.That(network.Step, Is.EqualTo(1));
        Assert.That(optimizer.StepCount, Is.EqualTo(1));
    }

    [Test]
    public void Calls_out_of_turn_are_refused()
    {
        using var network = new NetworkBuilder(1, 2, 2).Flatten().Linear(3).Build(_context);
        Assert.That(() => network.Loss([0]), Throws.InvalidOperationException);
        Assert.That(network.Backward, Throws.InvalidOperationException);
        Assert.That(() => network.Backward([1, 2, 3]), Throws.InvalidOperationException);
        Assert.That(() => network.ReadActivation(1, new float[3]), Throws.InvalidOperationException);
        Assert.That(
            () => network.ReadInputGradient(new float[4]), Throws.InvalidOperationException.With.Message.Contains("without inputGradient"));
        network.Forward([1, 2, 3, 4], []);
        network.Loss([0]);
        Assert.That(network.Backward, Throws.InvalidOperationException, "the pass was not in training");
        network.Forward([1, 2, 3, 4], [], training: true);
        Assert.That(network.Backward, Throws.InvalidOperationException, "there was no loss");
        network.Loss([0]);
        Assert.That(network.Backward, Throws.Nothing);
    }

    [Test]
    public void An_unknown_parameter_is_refused_with_the_names_there_are()
    {
        using var network = new NetworkBuilder(1, 2, 2).Flatten().Linear(3).Build(_context);
        Assert.That(
            () => network.GetParameter("fc2.weight"),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("name: \"fc2.weight\", expected one of fc1.weight, fc1.bias"));
        Assert.That(() => network.GetParameter(null!), Throws.ArgumentNullException);
    }

    [Test]
    public void An_optimizer_of_another_context_is_refused()
    {
        using var other = ComputeContext.Create(Device.Cpu, 1);
        using var network = new NetworkBuilder(1, 2, 2).Flatten().Linear(3).Build(_context);
        using var stranger = new NetworkBuilder(1, 2, 2).Flatten().Linear(3).Build(other);
        using var optimizer = new AdadeltaOptimizer(stranger.Parameters);
        Assert.That(
            () => network.TrainStep(optimizer, [1, 2, 3, 4], [0]),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("optimizer: made from another context"));
    }

    [Test]
    public void One_builder_builds_several_networks()
    {
        var builder = new NetworkBuilder(1, 2, 2).Flatten().Linear(3);
        using var first = builder.Build(_context, seed: 1);
        using var second = builder.Build(_context, seed: 1);
        Assert.That(second.Parameters[0].Value.ToArray(), Is.EqualTo(first.Parameters[0].Value.ToArray()));
        second.Parameters[0].Value.Fill(0);
        Assert.That(first.Parameters[0].Value.ToArray(), Has.Some.Not.Zero);
    }

    [Test]
    public void A_training_step_allocates_no_managed_memory()
    {
        var golden = GoldenCnn.Instance;
        using var network = golden.Build(_context);
        using var optimizer = new AdadeltaOptimizer(network.Parameters, GoldenCnn.ReferenceOptions());
        ReadOnlySpan<float> input = golden.Input;
        ReadOnlySpan<int> labels = golden.Labels;
        var output = new float[640];
        for (var warmUp = 0; warmUp < 2; warmUp++)
        {
            Run(network, optimizer, input, labels, output);
        }
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var step = 0; step < 5; step++)
        {
            Run(network, optimizer, input, labels, output);
        }
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);

        static void Run(Network network, AdadeltaOptimizer optimizer, ReadOnlySpan<float> input, ReadOnlySpan<int> labels, Span<float> output)
        {
            network.TrainStep(optimizer, input, labels);
            network.Forward(input, output, training: true);
            network.Loss(labels);
            network.Backward();
            optimizer.LearningRate *= 0.5;
            optimizer.Step();
        }
    }
}
