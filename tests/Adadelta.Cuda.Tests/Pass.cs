using Adadelta.Native;

namespace Adadelta.Cuda.Tests;

// All that one pass through a network and back computes.
internal sealed class Pass
{
    private readonly List<(string Name, float[] Values)> _results = [];

    private Pass()
    {
    }

    internal static Pass Run(ComputeContext context, NetworkBuilder builder, float[] input, int[] labels)
    {
        using var network = builder.Build(context, seed: 3, maxBatchSize: labels.Length, inputGradient: true);
        var pass = new Pass();
        var logits = new float[labels.Length * network.OutputCount];
        network.Forward(input, logits, training: true);
        pass._results.Add(("logits", logits));
        pass._results.Add(("loss", [network.Loss(labels)]));
        network.Backward();
        foreach (var parameter in network.Parameters)
        {
            pass._results.Add(($"gradient of {parameter.Name}", parameter.Gradient.ToArray()));
        }
        var gradient = new float[input.Length];
        network.ReadInputGradient(gradient);
        pass._results.Add(("input's gradient", gradient));
        return pass;
    }

    internal void AssertClose(Pass expected, double tolerance, string whose)
    {
        foreach (var ((name, values), (_, others)) in _results.Zip(expected._results))
        {
            Numbers.AssertClose(values, others, tolerance, $"{name}, against {whose}");
        }
    }

    internal bool HasBitsOf(Pass other) =>
        _results.Zip(other._results).All(pair => pair.First.Values.AsSpan().SequenceEqual(pair.Second.Values));
}
