namespace Adadelta.Native;

/// <summary>
/// A tensor that an optimizer changes, with its gradient. A network's own parameters are views of its storage: what is
/// written through them is what the network uses, and they are disposed with it.
/// </summary>
public sealed class Parameter
{
    private readonly DeviceTensor? _gradient;

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
        _gradient = gradient;
    }

    // Of a network for inference, which has no gradients.
    internal Parameter(string name, DeviceTensor value)
    {
        Name = name;
        Value = value;
    }

    /// <summary>Its name, as in PyTorch: <c>conv1.weight</c>, <c>conv1.bias</c>.</summary>
    public string Name { get; }

    /// <summary>What is trained. Shapes are PyTorch's: Conv2d [out, in, kernel height, kernel width], Linear [out, in], bias [out].</summary>
    public DeviceTensor Value { get; }

    /// <summary>The loss's gradient with respect to <see cref="Value"/> after the last backward pass, of the same shape.</summary>
    /// <exception cref="InvalidOperationException">The parameter belongs to a network for inference, which has no gradients.</exception>
    public DeviceTensor Gradient => _gradient ?? throw new InvalidOperationException(
        $"Gradient: {Name} belongs to a network for inference, which has no gradients; train the network that it is a copy of");

    internal bool HasGradient => _gradient is not null;

    internal void Close()
    {
        Value.Close();
        _gradient?.Close();
    }
}
