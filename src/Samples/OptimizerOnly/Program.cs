// Uses only the optimizer: weights and gradients are this program's own arrays, and so is the model, a cubic that is fitted to a
// sine. The optimizer works on the arrays where they are; nothing is copied.
using Adadelta.Native;
using static System.FormattableString;

const int points = 200;
const int steps = 2000;

float[] weights = new float[4];
float[] gradients = new float[4];

using var context = ComputeContext.Create(Device.Cpu);
using var value = DeviceTensor.FromMemory<float>(context, weights);
using var gradient = DeviceTensor.FromMemory<float>(context, gradients);
using var optimizer = new AdadeltaOptimizer(
    [new Parameter("cubic", value, gradient)], AdadeltaOptions.PyTorch with { LearningRate = 0.5 });
// gradients are summed up below, and are 0 again after each step
optimizer.PassOptions = new() { ZeroGradients = true, ClipNorm = 10 };

double first = 0, loss = 0;
for (var step = 1; step <= steps; step++)
{
    loss = 0;
    for (var i = 0; i < points; i++)
    {
        var x = (float)i / points * 2 - 1;
        var error = weights[0] + x * (weights[1] + x * (weights[2] + x * weights[3])) - MathF.Sin(MathF.PI * x);
        loss += error * error / points;
        var factor = 2 * error / points;
        for (var power = 0; power < weights.Length; power++)
        {
            gradients[power] += factor;
            factor *= x;
        }
    }
    first = step == 1 ? loss : first;
    optimizer.Step();
}
Console.WriteLine(Invariant($"loss {first:0.0000} -> {loss:0.0000} in {optimizer.StepCount} steps"));
Console.WriteLine(Invariant(
    $"sin(pi x) ~ {weights[0]:0.000} + {weights[1]:0.000} x + {weights[2]:0.000} x^2 + {weights[3]:0.000} x^3"));
