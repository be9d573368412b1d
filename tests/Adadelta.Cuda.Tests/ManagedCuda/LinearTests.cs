using Adadelta.Native;
using NUnit.Framework;

namespace Adadelta.Cuda.Tests;

// Linear layers against the products of ManagedCuda's cuBLAS.
[Category("Cuda")]
internal sealed class LinearTests
{
    // Sums of at most 1025 float32 products, in another order on each side.
    private const double Tolerance = 2e-6;

    [Test]
    public void A_linear_layer_s_products_are_cuBLAS_s(
        [Values(1, 7, 64)] int batch, [Values(1, 33, 1025)] int inputs, [Values(1, 10, 130)] int outputs,
        [Values] bool ownKernels)
    {
        Contexts.RequireDevice();
        using var host = new ManagedCudaHost();
        using var context = Contexts.Cuda(new() { OwnKernelsOnly = ownKernels, ExternalStream = host.Stream });
        using var network = new NetworkBuilder(1, 1, inputs).Flatten().Linear(outputs)
            .Build(context, seed: 1, maxBatchSize: batch, inputGradient: true);
        var random = new Random(batch + inputs + outputs);
        float[] x = Numbers.Uniform(random, batch * inputs), yGradient = Numbers.Uniform(random, batch * outputs);
        var bias = network.GetParameter("fc1.bias").Value.ToArray();

        var y = new float[batch * outputs];
        network.Forward(x, y, training: true);
        network.Backward(yGradient);
        var xGradient = new float[x.Length];
        network.ReadInputGradient(xGradient);

        using var deviceX = host.Upload(x);
        using var deviceYGradient = host.Upload(yGradient);
        using var weight = host.Upload(network.GetParameter("fc1.weight").Value.ToArray());
        var expected = host.Multiply(deviceX, false, weight, true, batch, outputs, inputs);
        for (var i = 0; i < expected.Length; i++)
        {
            expected[i] += bias[i % outputs];
        }
        Numbers.AssertClose(y, expected, Tolerance, "output");
        Numbers.AssertClose(
            network.GetParameter("fc1.weight").Gradient.ToArray(),
            host.Multiply(deviceYGradient, true, deviceX, false, outputs, inputs, batch), Tolerance, "weight's gradient");
        Numbers.AssertClose(
            xGradient, host.Multiply(deviceYGradient, false, weight, false, batch, inputs, outputs), Tolerance,
            "input's gradient");
    }
}
