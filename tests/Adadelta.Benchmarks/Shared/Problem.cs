namespace Adadelta.Benchmarks;

/// <summary>What is measured on every side: a network's training step or evaluation, or an optimizer's step alone.</summary>
internal abstract record Problem(string Name)
{
    public const double LearningRate = 0.1, Rho = 0.9, Eps = 1e-6;

    /// <summary>The reference network: 1x28x28, two 5x5 convolutions, two linear layers; 582,026 parameters.</summary>
    private static readonly Layer[] s_reference =
    [
        new Conv(32, 5), new MaxPool(2), new Relu(), new Conv(64, 5), new MaxPool(2), new Relu(),
        new Flatten(), new Linear(512), new Relu(), new Linear(10),
    ];

    private static readonly Layer[] s_vgg =
    [
        .. ConvRelu(32, 3, 1), .. ConvRelu(32, 3, 1), new MaxPool(2), .. ConvRelu(64, 3, 1), .. ConvRelu(64, 3, 1), new MaxPool(2),
        .. ConvRelu(128, 3, 1), .. ConvRelu(128, 3, 1), new MaxPool(2), new Flatten(), new Linear(10),
    ];

    private static readonly Layer[] s_stride2 =
    [
        .. ConvRelu(32, 3, 1), .. ConvRelu(32, 3, 1, 2), .. ConvRelu(64, 3, 1), .. ConvRelu(64, 3, 1, 2),
        .. ConvRelu(128, 3, 1), .. ConvRelu(128, 3, 1, 2), new Flatten(), new Linear(10),
    ];

    private static readonly Layer[] s_oneByOne =
    [
        .. ConvRelu(64, 3, 1), .. ConvRelu(64, 1), .. ConvRelu(64, 1), new MaxPool(2), .. ConvRelu(128, 1), .. ConvRelu(128, 1),
        new MaxPool(2), .. ConvRelu(128, 1), .. ConvRelu(64, 1), new Flatten(), new Linear(10),
    ];

    private static readonly Layer[] s_elevenByEleven =
    [
        .. ConvRelu(64, 11, 0, 4), new MaxPool(2), .. ConvRelu(64, 3, 1), new MaxPool(2), new Flatten(), new Linear(10),
    ];

    private static readonly Layer[] s_perceptron =
    [
        new Flatten(), new Linear(512), new Relu(), new Linear(512), new Relu(), new Linear(10),
    ];

    private static readonly Image s_digit = new(1, 28, 28), s_photo = new(3, 32, 32);

    public static IReadOnlyList<Problem> All { get; } =
    [
        new NetworkProblem("reference-64", s_digit, s_reference, 64),
        new NetworkProblem("reference-1", s_digit, s_reference, 1),
        new NetworkProblem("reference-16", s_digit, s_reference, 16),
        new NetworkProblem("reference-256", s_digit, s_reference, 256),
        new NetworkProblem("reference-1024", s_digit, s_reference, 1024),
        new NetworkProblem("vgg", s_photo, s_vgg, 64),
        new NetworkProblem("stride2", s_photo, s_stride2, 64),
        new NetworkProblem("1x1", s_photo, s_oneByOne, 64),
        new NetworkProblem("11x11", new Image(3, 96, 96), s_elevenByEleven, 64),
        new NetworkProblem("perceptron", s_digit, s_perceptron, 64),
        new NetworkProblem("reference-eval", s_digit, s_reference, 64, Train: false),
        new NetworkProblem("vgg-eval", s_photo, s_vgg, 64, Train: false),
        new OptimizerProblem("step-25m", [[25_000_000]]),
        new OptimizerProblem("step-resnet50", ResNet50()),
        new OptimizerProblem("step-reference", [[32, 1, 5, 5], [32], [64, 32, 5, 5], [64], [512, 1024], [512], [10, 512], [10]]),
        new OptimizerProblem("step-1000x1000", [.. Enumerable.Repeat<long[]>([1000], 1000)]),
    ];

    public static Problem Find(string name) =>
        All.FirstOrDefault(problem => problem.Name == name)
        ?? throw new ArgumentException($"case: '{name}', expected one of {string.Join(", ", All.Select(problem => problem.Name))}");

    /// <summary>Floats in [-scale, scale), the same on every side for the same stream.</summary>
    public static float[] Uniform(long count, ulong stream, double scale)
    {
        var values = new float[count];
        var state = stream * 0x9E3779B97F4A7C15UL;
        for (long i = 0; i < count; i++)
        {
            values[i] = (float)(((Next(ref state) >> 40) / 8388608.0 - 1) * scale);
        }
        return values;
    }

    // SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)
    protected static ulong Next(ref ulong state)
    {
        var z = state += 0x9E3779B97F4A7C15UL;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
        return z ^ (z >> 31);
    }

    private static Layer[] ConvRelu(int channels, int kernel, int padding = 0, int stride = 1) =>
        [new Conv(channels, kernel, stride, padding), new Relu()];

    // 161 tensors less fc.bias: 25,556,032 floats
    private static long[][] ResNet50()
    {
        List<long[]> shapes = [];
        Conv(3, 64, 7);
        long inner = 64, input = 64;
        foreach (var blocks in (int[])[3, 4, 6, 3])
        {
            for (var block = 0; block < blocks; block++)
            {
                Conv(input, inner, 1);
                Conv(inner, inner, 3);
                Conv(inner, 4 * inner, 1);
                if (block == 0)
                {
                    Conv(input, 4 * inner, 1);
                }
                input = 4 * inner;
            }
            inner *= 2;
        }
        shapes.Add([1000, 2048]);
        return [.. shapes];

        // a convolution and its batch norm's weight and bias
        void Conv(long from, long to, long kernel) => shapes.AddRange([[to, from, kernel, kernel], [to], [to]]);
    }
}

internal readonly record struct Image(int Channels, int Height, int Width)
{
    public int Count => Channels * Height * Width;
}

internal abstract record Layer;

internal sealed record Conv(int Channels, int Kernel, int Stride = 1, int Padding = 0) : Layer;

internal sealed record MaxPool(int Kernel) : Layer;

internal sealed record Relu : Layer;

internal sealed record Flatten : Layer;

internal sealed record Linear(int Features) : Layer;

/// <summary>
/// A network with random images and labels. There are many more sets of labels than of images, so that the network cannot learn
/// them by heart and its gradients stay of the size that they have in training.
/// </summary>
internal sealed record NetworkProblem(string Name, Image Input, Layer[] Layers, int Batch, bool Train = true) : Problem(Name)
{
    public const int ImageBatches = 4, LabelBatches = 61, Classes = 10;

    /// <summary>Images a batch of <see cref="ImageBatches"/>, in [0, 1).</summary>
    public float[] Images() => [.. Uniform((long)ImageBatches * Batch * Input.Count, 1, 0.5).Select(value => value + 0.5f)];

    public int[] Labels()
    {
        ulong state = 2;
        return [.. Enumerable.Range(0, LabelBatches * Batch).Select(_ => (int)(Next(ref state) % Classes))];
    }

    /// <summary>Weight and bias of the layers that have them, in order, uniform in ±1/sqrt(fan_in) as PyTorch's are.</summary>
    public IEnumerable<float[]> InitialParameters()
    {
        ulong stream = 3;
        foreach (var (layer, input, output) in Shapes())
        {
            var fanIn = layer switch
            {
                Conv conv => input.Channels * conv.Kernel * conv.Kernel,
                Linear => input.Count,
                _ => 0,
            };
            if (fanIn > 0)
            {
                yield return Uniform((long)output.Channels * fanIn, stream++, 1 / Math.Sqrt(fanIn));
                yield return Uniform(output.Channels, stream++, 1 / Math.Sqrt(fanIn));
            }
        }
    }

    /// <summary>
    /// Floating-point operations of a step, a multiplication and an addition counting two: forward, gradients by the weights,
    /// and gradients by the input of every layer but the first.
    /// </summary>
    public double Flops()
    {
        double sum = 0;
        var first = true;
        foreach (var (layer, input, output) in Shapes())
        {
            var forward = layer switch
            {
                Conv conv => 2.0 * output.Count * input.Channels * conv.Kernel * conv.Kernel,
                Linear => 2.0 * output.Count * input.Count,
                _ => 0,
            };
            sum += forward * (!Train ? 1 : first ? 2 : 3);
            first &= forward == 0;
        }
        return sum * Batch;
    }

    public IEnumerable<(Layer Layer, Image Input, Image Output)> Shapes()
    {
        var input = Input;
        foreach (var layer in Layers)
        {
            var output = layer switch
            {
                Conv conv => new Image(
                    conv.Channels, (input.Height + 2 * conv.Padding - conv.Kernel) / conv.Stride + 1,
                    (input.Width + 2 * conv.Padding - conv.Kernel) / conv.Stride + 1),
                MaxPool pool => new Image(input.Channels, input.Height / pool.Kernel, input.Width / pool.Kernel),
                Flatten => new Image(input.Count, 1, 1),
                Linear linear => new Image(linear.Features, 1, 1),
                _ => input,
            };
            yield return (layer, input, output);
            input = output;
        }
    }
}

/// <summary>Parameters with random gradients.</summary>
internal sealed record OptimizerProblem(string Name, long[][] Shapes) : Problem(Name)
{
    public long Elements => Shapes.Sum(Count);

    /// <summary>What a fused step moves: p, g, v and u are read and p, v and u written, 4 bytes each.</summary>
    public double Bytes => 28.0 * Elements;

    public IEnumerable<(long[] Shape, float[] Value, float[] Gradient)> Tensors()
    {
        ulong stream = 1;
        foreach (var shape in Shapes)
        {
            yield return (shape, Uniform(Count(shape), stream++, 0.5), Uniform(Count(shape), stream++, 0.05));
        }
    }

    private static long Count(long[] shape) => shape.Aggregate(1L, (product, extent) => product * extent);
}
