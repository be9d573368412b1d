using Adadelta.Native.Interop;

namespace Adadelta.Native;

/// <summary>A dense, row-major array of 32-bit floats on a context's device.</summary>
/// <remarks>One object must not be used by two threads at once; different objects may.</remarks>
public sealed unsafe class Tensor : IDisposable
{
    private readonly TensorHandle _handle;
    private readonly ComputeContext _context;
    private readonly IReadOnlyList<long> _shape;
    private readonly long _count;

    /// <summary>Makes a tensor of zeros.</summary>
    /// <param name="context">The context it is made on.</param>
    /// <param name="shape">Its extents, at most 8, each at least 1; none for a scalar.</param>
    /// <exception cref="ArgumentException">An extent or the number of extents is out of its bounds.</exception>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for it.</exception>
    public Tensor(ComputeContext context, params ReadOnlySpan<long> shape)
    {
        ArgumentNullException.ThrowIfNull(context);
        var extents = new ulong[shape.Length];
        for (var i = 0; i < extents.Length; i++)
        {
            extents[i] = Require.AtLeast(1, shape[i], $"shape[{i}]");
        }
        fixed (ulong* pointer = extents)
        {
            Status.ThrowIfFailed(NativeMethods.adn_tensor_create(out _handle, context.Handle, pointer, (uint)extents.Length));
        }
        _context = context;
        _shape = Array.AsReadOnly(shape.ToArray());
        _count = Product(_shape);
        _handle.Holds(_count * sizeof(float));
    }

    internal Tensor(ComputeContext context, TensorHandle handle)
    {
        uint rank;
        var extents = stackalloc ulong[NativeMethods.ADN_MAX_RANK];
        Status.ThrowIfFailed(NativeMethods.adn_tensor_get_shape(&rank, extents, handle));
        var shape = new long[rank];
        for (var i = 0; i < shape.Length; i++)
        {
            shape[i] = (long)extents[i];
        }
        _handle = handle;
        _context = context;
        _shape = Array.AsReadOnly(shape);
        _count = Product(_shape);
    }

    /// <summary>The context that the tensor was made on.</summary>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public ComputeContext Context => Live()._context;

    /// <summary>Its extents, outermost first; empty for a scalar.</summary>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public IReadOnlyList<long> Shape => Live()._shape;

    /// <summary>Number of elements: the product of the extents.</summary>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public long Count => Live()._count;

    internal TensorHandle Handle => Live()._handle;

    /// <summary>Copies all elements out of the tensor, in row-major order.</summary>
    /// <param name="destination">Takes the elements; its length must be <see cref="Count"/>.</param>
    /// <exception cref="ArgumentException">The length differs from <see cref="Count"/>.</exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public void Read(Span<float> destination)
    {
        fixed (float* pointer = destination)
        {
            Status.ThrowIfFailed(NativeMethods.adn_tensor_read(pointer, (ulong)destination.Length, Handle));
        }
    }

    /// <summary>Copies all elements into the tensor, in row-major order.</summary>
    /// <param name="source">The elements; its length must be <see cref="Count"/>.</param>
    /// <exception cref="ArgumentException">The length differs from <see cref="Count"/>; the tensor is unchanged.</exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public void Write(ReadOnlySpan<float> source)
    {
        fixed (float* pointer = source)
        {
            Status.ThrowIfFailed(NativeMethods.adn_tensor_write(Handle, pointer, (ulong)source.Length));
        }
    }

    /// <summary>Sets every element to one value.</summary>
    /// <param name="value">The value.</param>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public void Fill(float value) => Status.ThrowIfFailed(NativeMethods.adn_tensor_fill(Handle, value));

    /// <summary>Copies all elements into a new array, in row-major order.</summary>
    /// <returns>The elements.</returns>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public float[] ToArray()
    {
        var elements = new float[Count];
        Read(elements);
        return elements;
    }

    /// <summary>Gives the memory back, unless it belongs to a network or an optimizer: those keep theirs.</summary>
    public void Dispose() => _handle.Dispose();

    private static long Product(IEnumerable<long> shape) => shape.Aggregate(1L, (product, extent) => checked(product * extent));

    private Tensor Live()
    {
        ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
        return this;
    }
}
