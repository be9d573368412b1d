using NUnit.Framework;

namespace Adadelta.Native.Tests;

// The reference network against numbers of libtorch, on every instruction set that the machine has.
[TestFixture(InstructionSet.Baseline)]
[TestFixture(InstructionSet.Avx2)]
[TestFixture(InstructionSet.Avx512)]
internal sealed class GoldenCnnTests(InstructionSet instructionSet)
{
    // The golden run is float32 itself. Its manifest says how far it is from the same run in float64: at most 2.7e-6 of the
    // scale of a tensor (conv1's gradient), because the weights were chosen so that float32 and float64 pick the same maxima
    // in pooling. So another order of summation may move a tensor by a few 1e-6, while one maximum picked elsewhere moves
    // conv1's gradient by about 1e-3: 1e-5 lets the first pass and not the second.
    private const double Tolerance = 1e-5;

    private static readonly GoldenCnn s_golden = GoldenCnn.Instance;

    private readonly float[] _logits = new float[640];
    private readonly Dictionary<string, float[]> _gradients = [];
    private readonly Dictionary<string, float[]> _parametersAfter1 = [];
    private readonly Dictionary<string, float[]> _parametersAfter5 = [];
    private readonly float[] _logitsAfter5 = new float[640];
    private readonly List<float> _losses = [];
    private float _lossOfParts;

    public static IEnumerable<string> TensorNames => s_golden.Tensors.Select(tensor => tensor.Name);

    [OneTimeSetUp]
    public void TrainFiveSteps()
    {
        using var context = Contexts.Create(instructionSet: instructionSet);
        using var network = s_golden.Build(context);
        using var optimizer = new AdadeltaOptimizer(network.Parameters, GoldenCnn.ReferenceOptions());
        network.Forward(s_golden.Input, _logits, training: true);
        _lossOfParts = network.Loss(s_golden.Labels);
        network.Backward();
        foreach (var parameter in network.Parameters)
        {
            _gradients[parameter.Name] = parameter.Gradient.ToArray();
        }
        for (var step = 1; step <= 5; step++)
        {
            _losses.Add(network.TrainStep(optimizer, s_golden.Input, s_golden.Labels));
            foreach (var parameter in network.Parameters)
            {
                (step == 1 ? _parametersAfter1 : _parametersAfter5)[parameter.Name] = parameter.Value.ToArray();
            }
        }
        network.Forward(s_golden.Input, _logitsAfter5);
        _losses.Add(network.Loss(s_golden.Labels));
    }

    [Test]
    public void The_tolerance_leaves_room_for_float32_and_not_for_another_maximum() =>
        Assert.That(s_golden.Tensors.Max(tensor => tensor.Float32VersusFloat64), Is.LessThan(Tolerance / 2));

    [Test]
    public void Names_and_shapes_are_those_of_PyTorch()
    {
        using var context = Contexts.Create(instructionSet: instructionSet);
        using var network = s_golden.Build(context);
        Assert.That(network.Parameters.Select(parameter => parameter.Name), Is.EqualTo(TensorNames));
        Assert.That(
            network.Parameters.Select(parameter => parameter.Value.Shape),
            Is.EqualTo(s_golden.Tensors.Select(tensor => tensor.Shape)));
        Assert.That(
            network.Parameters.Select(parameter => parameter.Gradient.Shape),
            Is.EqualTo(s_golden.Tensors.Select(tensor => tensor.Shape)));
    }

    [Test]
    public void Logits_agree()
    {
        Assert.That(Compare.RelativeError(_logits, GoldenCnn.Floats("logits.f32")), Is.LessThan(Tolerance));
        Assert.That(Compare.RelativeError(_logitsAfter5, GoldenCnn.Floats("logits5.f32")), Is.LessThan(Tolerance));
    }

    [Test]
    public void Losses_agree()
    {
        Assert.That(_losses, Has.Count.EqualTo(s_golden.Losses.Length));
        for (var i = 0; i < _losses.Count; i++)
        {
            Assert.That(_losses[i], Is.EqualTo(s_golden.Losses[i]).Within(Tolerance * s_golden.Losses[i]), $"before step {i + 1}");
        }
    }

    [Test]
    public void The_parts_and_the_whole_step_give_the_same_loss() => Assert.That(_losses[0], Is.EqualTo(_lossOfParts));

    [TestCaseSource(nameof(TensorNames))]
    public void Gradients_agree(string name) => AssertAgrees(name, _gradients, "grad.f32");

    [TestCaseSource(nameof(TensorNames))]
    public void Parameters_agree_after_1_step(string name) => AssertAgrees(name, _parametersAfter1, "params1.f32");

    [TestCaseSource(nameof(TensorNames))]
    public void Parameters_agree_after_5_steps(string name) => AssertAgrees(name, _parametersAfter5, "params5.f32");

    private static void AssertAgrees(string name, Dictionary<string, float[]> actual, string file)
    {
        var tensor = s_golden.Tensors.Single(tensor => tensor.Name == name);
        Assert.That(
            Compare.RelativeError(tensor.Sample(actual[name]), tensor.Expected(GoldenCnn.Floats(file))), Is.LessThan(Tolerance));
    }
}
