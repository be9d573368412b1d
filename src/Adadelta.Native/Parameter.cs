namespace Adadelta.Native;

/// <summary>
/// A tensor that an optimizer changes, with its gradient. A network's own parameters are views of its storage: what is
/// written through them is what the network uses, and they are disposed with it.
/// </summary>
public sealed class Parameter
{
    /// <summary>Pairs two tensors, so that an <see cref="AdadeltaOptimizer"/> can train them without a network.</summary>
    /// <param name="name">A name, for the reader.</param>
    /// <param name="value">What is trained. It stays the caller's.</param>
    /// <param name="gradient">Its gradient, of the same shape and on the same context. It stays the caller's.</param>
    public Parameter(string name, DeviceTensor value, DeviceTensor gradient)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(value);
        ArgumentNullException.ThrowIfNull(gradient);
        Name = name;
        Value = value;
        Gradient = gradient;
    }

    /// <summary>Its name, as in PyTorch: <c>conv1.weight</c>, <c>conv1.bias</c>.</summary>
    public string Name { get; }

    /// <summary>What is trained. Shapes are PyTorch's: Conv2d [out, in, kernel height, kernel width], Linear [out, in], bias [out].</summary>
    public DeviceTensor Value { get; }

    /// <summary>The loss's gradient by <see cref="Value"/> after the last backward pass, of the same shape.</summary>
    public DeviceTensor Gradient { get; }

    internal void Close()
    {
        Value.Close();
        Gradient.Close();
    }
}
