using System.Runtime.InteropServices;
using System.Text.Json;
using NUnit.Framework;

namespace Adadelta.Native.Tests;

// 50 steps on fixed gradients against torch.optim.Adadelta's formula written out in float64; see tests/golden/adadelta.
internal sealed class GoldenAdadeltaTests
{
    private const int Count = 257;

    // How far torch.optim.Adadelta in float32 is from the formula in float64 is what rounding does to these numbers (up to
    // 5.7e-6, where weight_decay*p nearly cancels a gradient). Rounding in another order may do a few times as much.
    // Each element is compared by itself, since they span 45 orders of magnitude.
    private const double RoundingsOfTorch = 4;

    private static readonly int[] s_snapshots = [1, 10, 50];

    public static IEnumerable<TestCaseData> Settings => Read("torch32_vs_hand", RoundingsOfTorch);

    public static IEnumerable<TestCaseData> DoubleSettings => Read("torch64_vs_hand", 10);

    [TestCaseSource(nameof(Settings))]
    public void Fifty_steps_agree(string name, AdadeltaOptions options, double tolerance)
    {
        var start = Read<float>("p0.f32");
        var gradients = Read<float>("grads.f32");
        var expected = Read<double>($"{name}.hand.f64");
        using var context = Contexts.Create();
        using var value = new DeviceTensor(context, Count);
        using var gradient = new DeviceTensor(context, Count);
        using var optimizer = new AdadeltaOptimizer([new Parameter("p", value, gradient)], options);
        value.Write(start);
        for (var step = 1; step <= 50; step++)
        {
            gradient.Write(gradients.AsSpan((step - 1) * Count, Count));
            optimizer.Step();
            var snapshot = Array.IndexOf(s_snapshots, step);
            if (snapshot >= 0)
            {
                var state = optimizer.GetState(0);
                double[][] actual =
                    [[.. value.ToArray()], [.. state.SquareAverage.ToArray()], [.. state.AccumulatedDelta.ToArray()]];
                for (var array = 0; array < actual.Length; array++)
                {
                    var offset = (snapshot * 3 + array) * Count;
                    Assert.That(
                        LargestRelativeError(actual[array], expected.AsSpan(offset, Count)), Is.LessThan(tolerance),
                        $"step {step}, array {array}");
                }
            }
        }
        Assert.That(optimizer.StepCount, Is.EqualTo(50));
    }

    // The formula's own numbers, and PyTorch's in float64. These three differ in the order of a few roundings of 1.1e-16 a step;
    // weight_decay*p nearly cancels a gradient in places and multiplies them, as it does between PyTorch and the formula, whose
    // distance the manifest has (max_rel, up to some 1e-14). Tenfold that, for other orders and 50 steps.
    [TestCaseSource(nameof(DoubleSettings))]
    public void Fifty_steps_in_float64_agree(string name, AdadeltaOptions options, double tolerance)
    {
        double[] start = [.. Read<float>("p0.f32")], gradients = [.. Read<float>("grads.f32")];
        using var context = Contexts.Create();
        using DeviceTensor value = DeviceTensor.Zeros(context, ElementType.Float64, Count), gradient = DeviceTensor.Zeros(context, ElementType.Float64, Count);
        using var optimizer = new AdadeltaOptimizer([new Parameter("p", value, gradient)], options);
        value.WriteAs<double>(start);
        var actual = new double[Count];
        for (var step = 1; step <= 50; step++)
        {
            gradient.WriteAs<double>(gradients.AsSpan((step - 1) * Count, Count));
            optimizer.Step();
            var snapshot = Array.IndexOf(s_snapshots, step);
            for (var array = 0; snapshot >= 0 && array < 3; array++)
            {
                var state = optimizer.GetState(0);
                (array == 0 ? value : array == 1 ? state.SquareAverage : state.AccumulatedDelta).ReadAs<double>(actual);
                foreach (var source in (string[])["hand", "torch"])
                {
                    var expected = Read<double>($"{name}.{source}.f64").AsSpan((snapshot * 3 + array) * Count, Count);
                    Assert.That(
                        LargestRelativeError(actual, expected), Is.LessThan(tolerance), $"{source}, step {step}, array {array}");
                }
            }
        }
    }

    private static double LargestRelativeError(double[] actual, ReadOnlySpan<double> expected)
    {
        const double leastNormal = 1.2e-38;
        double largest = 0;
        for (var i = 0; i < actual.Length; i++)
        {
            var scale = Math.Max(Math.Abs(actual[i]), Math.Abs(expected[i]));
            if (scale > leastNormal)
            {
                largest = Math.Max(largest, Math.Abs(actual[i] - expected[i]) / scale);
            }
            // A NaN would slip through every comparison.
            Assert.That(double.IsFinite(actual[i]), $"element {i}: {actual[i]}");
        }
        return largest;
    }

    private static IEnumerable<TestCaseData> Read(string distance, double times)
    {
        using var manifest = JsonDocument.Parse(File.ReadAllText(Repository.Golden("adadelta", "manifest.json")));
        foreach (var combo in manifest.RootElement.GetProperty("combos").EnumerateArray())
        {
            var name = combo.GetProperty("name").GetString()!;
            yield return new TestCaseData(name, new AdadeltaOptions
            {
                LearningRate = combo.GetProperty("lr").GetDouble(),
                Rho = combo.GetProperty("rho").GetDouble(),
                Eps = combo.GetProperty("eps").GetDouble(),
                WeightDecay = combo.GetProperty("weight_decay").GetDouble(),
                Maximize = combo.GetProperty("maximize").GetBoolean(),
            }, times * combo.GetProperty(distance).GetProperty("max_rel").GetDouble()).SetArgDisplayNames(name);
        }
    }

    private static T[] Read<T>(string file)
        where T : struct => MemoryMarshal.Cast<byte, T>(File.ReadAllBytes(Repository.Golden("adadelta", file))).ToArray();
}
