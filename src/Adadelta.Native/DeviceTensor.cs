using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Adadelta.Native.Interop;

namespace Adadelta.Native;

/// <summary>
/// A dense, row-major array of numbers on a context's device: in memory of its own, or in the caller's
/// (<see cref="FromMemory{T}"/>, <see cref="FromPointer"/>). Networks take 32-bit floats alone, the optimizer takes every type.
/// </summary>
/// <remarks>One object must not be used by two threads at once; different objects may.</remarks>
public sealed unsafe class DeviceTensor : IDisposable
{
    private readonly TensorHandle _handle;
    private readonly ComputeContext _context;
    private readonly IReadOnlyList<long> _shape;
    private readonly long _count;
    private readonly ElementType _type;

    /// <summary>Makes a tensor of zeros.</summary>
    /// <param name="context">The context it is made on.</param>
    /// <param name="shape">Its extents, at most 8, each at least 1; none for a scalar.</param>
    /// <exception cref="ArgumentException">An extent or the number of extents is out of its bounds.</exception>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for it.</exception>
    public DeviceTensor(ComputeContext context, params ReadOnlySpan<long> shape)
    {
        ArgumentNullException.ThrowIfNull(context);
        fixed (ulong* pointer = Extents(shape))
        {
            Status.ThrowIfFailed(NativeMethods.adn_tensor_create(out _handle, context.Handle, pointer, (uint)shape.Length));
        }
        _context = context;
        _shape = Array.AsReadOnly(shape.ToArray());
        _count = Product(_shape);
        _handle.Holds(_count * sizeof(float));
    }

    internal DeviceTensor(ComputeContext context, TensorHandle handle)
    {
        uint rank;
        var extents = stackalloc ulong[NativeMethods.ADN_MAX_RANK];
        Status.ThrowIfFailed(NativeMethods.adn_tensor_get_shape(&rank, extents, handle));
        var shape = new long[rank];
        for (var i = 0; i < shape.Length; i++)
        {
            shape[i] = (long)extents[i];
        }
        int type;
        Status.ThrowIfFailed(NativeMethods.adn_tensor_get_dtype(&type, handle));
        _type = (ElementType)type;
        _handle = handle;
        _context = context;
        _shape = Array.AsReadOnly(shape);
        _count = Product(_shape);
    }

    /// <summary>Makes a tensor of zeros of any type.</summary>
    /// <param name="context">The context it is made on.</param>
    /// <param name="type">The type of its elements.</param>
    /// <param name="shape">Its extents, at most 8, each at least 1; none for a scalar.</param>
    /// <returns>The tensor.</returns>
    /// <exception cref="ArgumentException">The type, an extent or the number of extents is out of its bounds.</exception>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for it.</exception>
    public static DeviceTensor Zeros(ComputeContext context, ElementType type, params ReadOnlySpan<long> shape)
    {
        ArgumentNullException.ThrowIfNull(context);
        TensorHandle handle;
        fixed (ulong* pointer = Extents(shape))
        {
            Status.ThrowIfFailed(NativeMethods.adn_tensor_create_typed(
                out handle, context.Handle, (int)type, pointer, (uint)shape.Length));
        }
        var tensor = new DeviceTensor(context, handle);
        handle.Holds(tensor._count * SizeOf(type));
        return tensor;
    }

    /// <summary>
    /// Makes a tensor on managed memory, which is pinned and used in place until the tensor and whatever was made with it (an
    /// optimizer) is gone: what either side writes the other sees. The CPU only.
    /// </summary>
    /// <typeparam name="T">
    /// <see cref="float"/>, <see cref="double"/>, <see cref="Half"/> or <see cref="BFloat16"/>, which gives the tensor its type.
    /// </typeparam>
    /// <param name="context">The context it is made on.</param>
    /// <param name="memory">The elements, in row-major order.</param>
    /// <param name="shape">Its extents; none takes the memory as one row.</param>
    /// <returns>The tensor.</returns>
    /// <exception cref="ArgumentException">The type is another, the memory is empty or its length is not the product of the extents.</exception>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    public static DeviceTensor FromMemory<T>(ComputeContext context, Memory<T> memory, params ReadOnlySpan<long> shape)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(context);
        var type = TypeOf<T>() ?? throw new ArgumentException(
            $"memory: of {typeof(T).Name}, expected float, double, Half or BFloat16", nameof(memory));
        ReadOnlySpan<long> row = [memory.Length];
        var extents = shape.IsEmpty ? row : shape;
        if (memory.IsEmpty || Product(extents.ToArray()) != memory.Length)
        {
            throw new ArgumentException(
                $"memory: {memory.Length} elements, expected at least 1 and those of shape [{string.Join(", ", extents.ToArray())}]",
                nameof(memory));
        }
        var pin = Pin.Hold(memory.Pin());
        try
        {
            return External(context, Pin.Address(pin), type, extents, &Pin.Release, (void*)pin);
        }
        catch
        {
            Pin.Release(pin);
            throw;
        }
    }

    /// <summary>
    /// Makes a tensor on memory of the caller's own, which is used in place: what either side writes the other sees.
    /// </summary>
    /// <param name="context">The context it is made on.</param>
    /// <param name="data">
    /// Address of the elements, in row-major order, on the context's device; aligned to an element (4 bytes for complex ones). It
    /// must stay valid until the tensor and whatever was made with it (an optimizer) is disposed.
    /// </param>
    /// <param name="type">The type of the elements.</param>
    /// <param name="shape">Its extents, at most 8, each at least 1; none for a scalar.</param>
    /// <returns>The tensor.</returns>
    /// <exception cref="ArgumentException">The address is 0, not aligned or not the device's, or an extent is out of its bounds.</exception>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    public static DeviceTensor FromPointer(ComputeContext context, nint data, ElementType type, params ReadOnlySpan<long> shape)
    {
        ArgumentNullException.ThrowIfNull(context);
        return External(context, (void*)data, type, shape, null, null);
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

    /// <summary>Bytes of all elements.</summary>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public long ByteCount => checked(Count * SizeOf(Type));

    /// <summary>The type of its elements.</summary>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public ElementType Type => Live()._type;

    internal TensorHandle Handle => Live()._handle;

    /// <summary>Copies all elements out of the tensor, in row-major order.</summary>
    /// <param name="destination">Takes the elements; its length must be <see cref="Count"/>.</param>
    /// <exception cref="ArgumentException">The length differs from <see cref="Count"/>, or the elements are not float32.</exception>
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

    /// <summary>Copies all elements of any type out of the tensor, in row-major order.</summary>
    /// <typeparam name="T">The elements' type: <see cref="float"/> (also twice as many for complex ones), <see cref="double"/>,
    /// <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="destination">Takes the elements; its length must be <see cref="Count"/>, or twice that for complex ones.</param>
    /// <exception cref="ArgumentException">The length or the type differs.</exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public void ReadAs<T>(Span<T> destination)
        where T : unmanaged
    {
        CheckType<T>();
        CheckLength((long)destination.Length * sizeof(T), nameof(destination));
        fixed (T* pointer = destination)
        {
            Status.ThrowIfFailed(NativeMethods.adn_tensor_read_bytes(pointer, 0, (ulong)ByteCount, Handle));
        }
    }

    /// <summary>Copies all elements of any type into the tensor, in row-major order.</summary>
    /// <typeparam name="T">The elements' type, as for <see cref="ReadAs{T}"/>.</typeparam>
    /// <param name="source">The elements; their number must be <see cref="Count"/>, or twice that for complex ones.</param>
    /// <exception cref="ArgumentException">The length or the type differs; the tensor is unchanged.</exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public void WriteAs<T>(ReadOnlySpan<T> source)
        where T : unmanaged
    {
        CheckType<T>();
        CheckLength((long)source.Length * sizeof(T), nameof(source));
        fixed (T* pointer = source)
        {
            Status.ThrowIfFailed(NativeMethods.adn_tensor_write_bytes(Handle, pointer, 0, (ulong)ByteCount));
        }
    }

    /// <summary>Copies all elements as their bytes, in row-major order and the machine's byte order.</summary>
    /// <returns>The bytes, <see cref="Count"/> times the size of an element.</returns>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public byte[] ToBytes()
    {
        var bytes = new byte[ByteCount];
        ReadBytes(bytes);
        return bytes;
    }

    /// <summary>Copies a run of the bytes of <see cref="ToBytes"/> into memory of the caller's.</summary>
    /// <param name="destination">Takes the bytes; its length is their number.</param>
    /// <param name="byteOffset">Index of the first one.</param>
    /// <exception cref="ArgumentException">The run reaches beyond <see cref="ByteCount"/>, or the offset is negative.</exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public void ReadBytes(Span<byte> destination, long byteOffset = 0)
    {
        var offset = Require.AtLeast(0, byteOffset);
        fixed (byte* pointer = destination)
        {
            Status.ThrowIfFailed(NativeMethods.adn_tensor_read_bytes(pointer, offset, (ulong)destination.Length, Handle));
        }
    }

    /// <summary>Sets a run of the bytes of <see cref="ToBytes"/>.</summary>
    /// <param name="source">The bytes.</param>
    /// <param name="byteOffset">Index of the first one.</param>
    /// <exception cref="ArgumentException">
    /// The run reaches beyond <see cref="ByteCount"/>, or the offset is negative; the tensor is unchanged.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public void WriteBytes(ReadOnlySpan<byte> source, long byteOffset = 0)
    {
        var offset = Require.AtLeast(0, byteOffset);
        fixed (byte* pointer = source)
        {
            Status.ThrowIfFailed(NativeMethods.adn_tensor_write_bytes(Handle, pointer, offset, (ulong)source.Length));
        }
    }

    /// <summary>Sets every element to one value, rounded to the nearest number of its type.</summary>
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

    private static DeviceTensor External(
        ComputeContext context, void* data, ElementType type, ReadOnlySpan<long> shape,
        delegate* unmanaged<void*, void> release, void* user)
    {
        TensorHandle handle;
        fixed (ulong* pointer = Extents(shape))
        {
            Status.ThrowIfFailed(NativeMethods.adn_tensor_create_external(
                out handle, context.Handle, data, (int)type, pointer, (uint)shape.Length, release, user));
        }
        return new DeviceTensor(context, handle);
    }

    private static ulong[] Extents(ReadOnlySpan<long> shape)
    {
        var extents = new ulong[shape.Length];
        for (var i = 0; i < extents.Length; i++)
        {
            extents[i] = Require.AtLeast(1, shape[i], $"shape[{i}]");
        }
        return extents;
    }

    private static int SizeOf(ElementType type) => type switch
    {
        ElementType.Float64 or ElementType.Complex64 => 8,
        ElementType.Float16 or ElementType.BFloat16 => 2,
        _ => 4,
    };

    private static ElementType? TypeOf<T>() =>
        typeof(T) == typeof(float) ? ElementType.Float32
        : typeof(T) == typeof(double) ? ElementType.Float64
        : typeof(T) == typeof(Half) ? ElementType.Float16
        : typeof(T) == typeof(BFloat16) ? ElementType.BFloat16
        : null;

    private void CheckType<T>()
    {
        if (TypeOf<T>() != (Type == ElementType.Complex64 ? ElementType.Float32 : Type))
        {
            throw new ArgumentException($"T: {typeof(T).Name}, expected the type of {Type} elements");
        }
    }

    private void CheckLength(long bytes, string name)
    {
        if (bytes != ByteCount)
        {
            throw new ArgumentException($"{name}: {bytes} bytes, expected {ByteCount}, those of the tensor", name);
        }
    }

    private static long Product(IEnumerable<long> shape) => shape.Aggregate(1L, (product, extent) => checked(product * extent));

    private DeviceTensor Live()
    {
        ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
        return this;
    }
}
