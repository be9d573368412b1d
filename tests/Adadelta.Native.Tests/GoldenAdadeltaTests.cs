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

    public static IEnumerable<TestCaseData> Settings
    {
        get
        {
            using var manifest = JsonDocument.Parse(File.ReadAllText(Repository.Golden("adadelta", "manifest.json")));
            foreach (var combo in manifest.RootElement.GetProperty("combos").EnumerateArray())
            {
                yield return new TestCaseData(combo.GetProperty("name").GetString(), new AdadeltaOptions
                {
                    LearningRate = combo.GetProperty("lr").GetDouble(),
                    Rho = combo.GetProperty("rho").GetDouble(),
                    Eps = combo.GetProperty("eps").GetDouble(),
                    WeightDecay = combo.GetProperty("weight_decay").GetDouble(),
                    Maximize = combo.GetProperty("maximize").GetBoolean(),
                }, RoundingsOfTorch * combo.GetProperty("torch32_vs_hand").GetProperty("max_rel").GetDouble())
                .SetArgDisplayNames(combo.GetProperty("name").GetString()!);
            }
        }
    }

    [TestCaseSource(nameof(Settings))]
    public void Fifty_steps_agree(string name, AdadeltaOptions options, double tolerance)
    {
        var start = Read<float>("p0.f32");
        var gradients = Read<float>("grads.f32");
        var expected = Read<double>($"{name}.hand.f64");
        using var context = Contexts.Create();
        using var value = new Tensor(context, Count);
        using var gradient = new Tensor(context, Count);
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
                float[][] actual = [value.ToArray(), state.SquareAverage.ToArray(), state.AccumulatedDelta.ToArray()];
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

    private static double LargestRelativeError(float[] actual, ReadOnlySpan<double> expected)
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
            Assert.That(float.IsFinite(actual[i]), $"element {i}: {actual[i]}");
        }
        return largest;
    }

    private static T[] Read<T>(string file)
        where T : struct => MemoryMarshal.Cast<byte, T>(File.ReadAllBytes(Repository.Golden("adadelta", file))).ToArray();
}
