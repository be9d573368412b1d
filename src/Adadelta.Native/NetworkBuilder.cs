using System.Runtime.InteropServices;
using Adadelta.Native.Interop;

namespace Adadelta.Native;

/// <summary>How the loss of a batch is made from those of its images.</summary>
public enum Reduction
{
    /// <summary>Their mean.</summary>
    Mean = 0,

    /// <summary>Their sum.</summary>
    Sum = 1,
}

/// <summary>
/// Lists the layers of a feed-forward network, first to last, and builds it. Layers mean what PyTorch's modules of the same
/// name mean. A layer without a name is numbered by kind: <c>conv1</c>, <c>pool1</c>, <c>relu1</c>, <c>flatten1</c>,
/// <c>fc1</c>, <c>dropout1</c>.
/// </summary>
/// <remarks>
/// A name is 1 to 63 of <c>A-Z a-z 0-9 _ - .</c> Shapes are checked in <see cref="Build"/>, whose messages name the layer and
/// the shapes that do not fit. One builder may build several networks.
/// </remarks>
public sealed unsafe class NetworkBuilder
{
    private const string InputName = "channels, height, width";

    private readonly List<Layer> _layers = [];
    private readonly int _channels;
    private readonly int _height;
    private readonly int _width;

    /// <summary>Starts a network.</summary>
    /// <param name="channels">Channels of an input image, at least 1.</param>
    /// <param name="height">Rows of an input image, at least 1.</param>
    /// <param name="width">Columns of an input image, at least 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">An extent is less than 1.</exception>
    public NetworkBuilder(int channels, int height, int width)
    {
        Require.AtLeast(1, channels);
        Require.AtLeast(1, height);
        Require.AtLeast(1, width);
        (_channels, _height, _width) = (channels, height, width);
    }

    /// <summary>Adds a two-dimensional convolution (cross-correlation).</summary>
    /// <param name="outChannels">Channels of its output, at least 1.</param>
    /// <param name="kernel">Size of the kernel, at least 1.</param>
    /// <param name="stride">Step between windows, at least 1; 1 when not given.</param>
    /// <param name="padding">Zeros on each side, at least 0; 0 when not given.</param>
    /// <param name="dilation">Step between the elements of a window, at least 1; 1 when not given.</param>
    /// <param name="bias">Whether a bias is added for each output channel.</param>
    /// <param name="name">Its name; its parameters are <c>name.weight</c> and <c>name.bias</c>.</param>
    /// <returns>This builder.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A number is below its bound.</exception>
    public NetworkBuilder Conv2d(
        int outChannels, Size2 kernel, Size2? stride = null, Size2? padding = null, Size2? dilation = null, bool bias = true,
        string? name = null) =>
        Add(new Layer(LayerKind.Conv2d, name)
        {
            OutFeatures = Require.AtLeast(1, outChannels),
            Kernel = AtLeast(1, kernel, nameof(kernel)),
            Stride = AtLeast(1, stride, nameof(stride)),
            Padding = AtLeast(0, padding, nameof(padding)),
            Dilation = AtLeast(1, dilation, nameof(dilation)),
            Bias = bias,
        });

    /// <summary>Adds max-pooling. Of equal elements of a window the first in row-major order wins.</summary>
    /// <param name="kernel">Size of the window, at least 1.</param>
    /// <param name="stride">Step between windows, at least 1; the kernel when not given.</param>
    /// <param name="padding">Elements on each side that never win, at most half the kernel; 0 when not given.</param>
    /// <param name="name">Its name.</param>
    /// <returns>This builder.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A number is below its bound.</exception>
    public NetworkBuilder MaxPool2d(Size2 kernel, Size2? stride = null, Size2? padding = null, string? name = null) =>
        Pool(LayerKind.MaxPool2d, kernel, stride, padding, name);

    /// <summary>Adds average-pooling.</summary>
    /// <param name="kernel">Size of the window, at least 1.</param>
    /// <param name="stride">Step between windows, at least 1; the kernel when not given.</param>
    /// <param name="padding">Zeros on each side, which count in the mean; at most half the kernel; 0 when not given.</param>
    /// <param name="name">Its name.</param>
    /// <returns>This builder.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A number is below its bound.</exception>
    public NetworkBuilder AvgPool2d(Size2 kernel, Size2? stride = null, Size2? padding = null, string? name = null) =>
        Pool(LayerKind.AvgPool2d, kernel, stride, padding, name);

    /// <summary>Adds max(x, 0).</summary>
    /// <param name="name">Its name.</param>
    /// <returns>This builder.</returns>
    public NetworkBuilder ReLU(string? name = null) => Add(new Layer(LayerKind.ReLU, name));

    /// <summary>Adds the step from an image to a vector, channel-major.</summary>
    /// <param name="name">Its name.</param>
    /// <returns>This builder.</returns>
    public NetworkBuilder Flatten(string? name = null) => Add(new Layer(LayerKind.Flatten, name));

    /// <summary>Adds a fully connected layer. Its input must be a vector: see <see cref="Flatten"/>.</summary>
    /// <param name="outFeatures">Numbers in its output, at least 1.</param>
    /// <param name="bias">Whether a bias is added.</param>
    /// <param name="name">Its name; its parameters are <c>name.weight</c> and <c>name.bias</c>.</param>
    /// <returns>This builder.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="outFeatures"/> is less than 1.</exception>
    public NetworkBuilder Linear(int outFeatures, bool bias = true, string? name = null) =>
        Add(new Layer(LayerKind.Linear, name) { OutFeatures = Require.AtLeast(1, outFeatures), Bias = bias });

    /// <summary>Adds dropout: in training each element becomes 0 with the probability, the others are scaled by 1/(1-p).</summary>
    /// <param name="probability">0 &lt;= probability &lt; 1.</param>
    /// <param name="name">Its name.</param>
    /// <returns>This builder.</returns>
    public NetworkBuilder Dropout(float probability = 0.5f, string? name = null) =>
        Add(new Layer(LayerKind.Dropout, name) { Probability = probability });

    /// <summary>
    /// Plans the network: activations, gradients and workspaces get their memory now, and forward, backward and step allocate
    /// nothing afterwards. Weights and biases start as PyTorch's do, uniform in ±1/sqrt(fan_in), drawn from the seed.
    /// </summary>
    /// <param name="context">The context it is made on.</param>
    /// <param name="seed">Of the initial weights and of dropout.</param>
    /// <param name="maxBatchSize">Largest batch, at least 1; smaller batches need no new plan.</param>
    /// <param name="reduction">How the loss of a batch is made from those of its images.</param>
    /// <param name="inputGradient">Whether backward also computes the loss's gradient with respect to the input.</param>
    /// <param name="inference">
    /// Whether the network runs forward in evaluation alone, without memory for gradients; not together with
    /// <paramref name="inputGradient"/>.
    /// </param>
    /// <returns>The network, which the caller disposes.</returns>
    /// <exception cref="ArgumentException">A layer does not fit the shape before it, or an argument is out of its bounds.</exception>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for it.</exception>
    public Network Build(
        ComputeContext context, ulong seed = 0, int maxBatchSize = 64, Reduction reduction = Reduction.Mean,
        bool inputGradient = false, bool inference = false)
    {
        ArgumentNullException.ThrowIfNull(context);
        Require.Elements((UInt128)(uint)_channels * (uint)_height * (uint)_width, InputName, InputName);
        adn_network_options options;
        Status.ThrowIfFailed(NativeMethods.adn_network_options_init(&options, (uint)sizeof(adn_network_options)));
        options.reduction = (int)reduction;
        options.input_shape[0] = (ulong)_channels;
        options.input_shape[1] = (ulong)_height;
        options.input_shape[2] = (ulong)_width;
        options.max_batch_size = Require.AtLeast(1, maxBatchSize);
        options.seed = seed;
        options.input_gradient = inputGradient ? 1 : 0;
        options.inference = inference ? 1 : 0;

        var layers = new adn_layer[_layers.Count];
        try
        {
            for (var i = 0; i < layers.Length; i++)
            {
                layers[i] = _layers[i].ToNative();
            }
            fixed (adn_layer* pointer = layers)
            {
                Status.ThrowIfFailed(
                    NativeMethods.adn_network_create(
                        out var handle, context.Handle, pointer, (ulong)layers.Length, &options),
                    $"options.input_shape={InputName};options.max_batch_size=maxBatchSize;options.reduction=reduction;" +
                    "options.input_gradient=inputGradient;options.inference=inference;layer_count=layers");
                return new Network(context, handle, seed, inference);
            }
        }
        finally
        {
            foreach (var layer in layers)
            {
                Marshal.FreeCoTaskMem((nint)layer.name);
            }
        }
    }

    private static Size2? AtLeast(int minimum, Size2? size, string name)
    {
        if (size is { } value)
        {
            Require.AtLeast(minimum, value.Height, $"{name}.{nameof(Size2.Height)}");
            Require.AtLeast(minimum, value.Width, $"{name}.{nameof(Size2.Width)}");
        }
        return size;
    }

    private NetworkBuilder Pool(LayerKind kind, Size2 kernel, Size2? stride, Size2? padding, string? name) =>
        Add(new Layer(kind, name)
        {
            Kernel = AtLeast(1, kernel, nameof(kernel)),
            Stride = AtLeast(1, stride, nameof(stride)),
            Padding = AtLeast(0, padding, nameof(padding)),
        });

    private NetworkBuilder Add(Layer layer)
    {
        _layers.Add(layer);
        return this;
    }

    // What is null keeps the default that the native library gives it.
    private sealed record Layer
    {
        private readonly string? _name;

        internal Layer(LayerKind kind, string? name)
        {
            // The native side would see such a name cut short.
            if (name is not null && name.Contains('\0', StringComparison.Ordinal))
            {
                throw new ArgumentException(
                    $"name: \"{name.Replace("\0", "\\0", StringComparison.Ordinal)}\", expected 1 to 63 characters of [A-Za-z0-9_-.]",
                    nameof(name));
            }
            Kind = kind;
            _name = name;
        }

        internal LayerKind Kind { get; }

        internal ulong? OutFeatures { get; init; }

        internal Size2? Kernel { get; init; }

        internal Size2? Stride { get; init; }

        internal Size2? Padding { get; init; }

        internal Size2? Dilation { get; init; }

        internal float? Probability { get; init; }

        internal bool? Bias { get; init; }

        // The caller frees the name.
        internal adn_layer ToNative()
        {
            adn_layer layer;
            Status.ThrowIfFailed(NativeMethods.adn_layer_init(&layer, (uint)sizeof(adn_layer), (int)Kind));
            layer.out_features = OutFeatures ?? layer.out_features;
            Copy(Kernel, layer.kernel);
            Copy(Stride, layer.stride);
            Copy(Padding, layer.padding);
            Copy(Dilation, layer.dilation);
            layer.probability = Probability ?? layer.probability;
            layer.bias = Bias is { } bias ? (bias ? 1 : 0) : layer.bias;
            layer.name = (byte*)Marshal.StringToCoTaskMemUTF8(_name);
            return layer;
        }

        private static void Copy(Size2? size, ulong* extents)
        {
            if (size is { } value)
            {
                extents[0] = (ulong)value.Height;
                extents[1] = (ulong)value.Width;
            }
        }
    }
}
