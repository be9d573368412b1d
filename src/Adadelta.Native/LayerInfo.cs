namespace Adadelta.Native;

/// <summary>Kinds of layer, each as PyTorch's module of that name.</summary>
public enum LayerKind
{
    /// <summary>Two-dimensional convolution (cross-correlation).</summary>
    Conv2d = 1,

    /// <summary>Maximum of each window; of equal ones the first in row-major order.</summary>
    MaxPool2d = 2,

    /// <summary>Mean of each window; padding counts in the mean.</summary>
    AvgPool2d = 3,

    /// <summary>max(x, 0).</summary>
    ReLU = 4,

    /// <summary>Channels x height x width to a vector, channel-major.</summary>
    Flatten = 5,

    /// <summary>Fully connected layer.</summary>
    Linear = 6,

    /// <summary>Dropout, scaled in training, the identity in evaluation.</summary>
    Dropout = 7,
}

/// <summary>What a network knows about one of its layers.</summary>
/// <param name="Name">Its name, e.g. <c>conv1</c>: the one that was given, or its kind and number.</param>
/// <param name="Kind">Its kind.</param>
/// <param name="OutputShape">Shape of its output for one image.</param>
/// <param name="ParameterElements">Number of trained numbers in it.</param>
/// <param name="HasActivation">Whether <see cref="Network.ReadActivation"/> can read its output: fused operations never write theirs.</param>
public sealed record LayerInfo(string Name, LayerKind Kind, ImageShape OutputShape, long ParameterElements, bool HasActivation);
