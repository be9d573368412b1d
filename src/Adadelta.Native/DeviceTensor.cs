using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Adadelta.Native.Interop;

namespace Adadelta.Native;

/// <summary>
/// A dense, row-major array of numbers on a context's device: in memory of its own, or in the caller's
/// (<see cref="FromMemory{T}"/>, <see cref="FromPointer"/>). Networks take 32-bit floats alone, the optimizer takes every type.
/// </summary>
/// <remarks>
/// While a thread runs a call on a tensor, a call on another thread gives an <see cref="InvalidOperationException"/> and changes
/// nothing. A tensor of a network or an optimizer, and one that an optimizer was given, count as one object with it; memory of the
/// caller's own (<see cref="FromMemory{T}"/>, <see cref="FromPointer"/>) must not be written while a call runs on it.
/// </remarks>
public sealed unsafe class DeviceTensor : IDisposable
{
    private const string ShapeNames = "rank=shape.Length;dtype=type;external memory=data";

    private readonly TensorHandle _handle;
    private readonly ComputeContext _context;
    private readonly IReadOnlyList<long> _shape;
    private readonly long _count;
    private readonly ElementType _type;
    private readonly long _byteCount;
    private readonly bool _owned;

    /// <summary>Makes a tensor of zeros.</summary>
    /// <param name="context">The context it is made on.</param>
    /// <param name="shape">Its extents, at most 8, each at least 1; none for a scalar.</param>
    /// <exception cref="ArgumentException">An extent or the number of extents is out of its bounds.</exception>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for it.</exception>
    public DeviceTensor(ComputeContext context, params ReadOnlySpan<long> shape)
        : this(context, Create(context, ElementType.Float32, shape))
    {
    }

    // owned: a network's or an optimizer's own, which lives and ends with it.
    internal DeviceTensor(ComputeContext context, TensorHandle handle, bool owned = false)
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
        _count = (long)Product(shape);
        _byteCount = _count * SizeOf(_type);
        _owned = owned;
    }

    /// <summary>Makes a tensor of zeros of any type.</summary>
    /// <param name="context">The context it is made on.</param>
    /// <param name="type">The type of its elements.</param>
    /// <param name="shape">Its extents, at most 8, each at least 1; none for a scalar.</param>
    /// <returns>The tensor.</returns>
    /// <exception cref="ArgumentException">The type, an extent or the number of extents is out of its bounds.</exception>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for it.</exception>
    public static DeviceTensor Zeros(ComputeContext context, ElementType type, params ReadOnlySpan<long> shape) =>
        new(context, Create(context, type, shape));

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
        if (memory.IsEmpty)
        {
            throw new ArgumentException("memory: 0 elements, expected at least 1", nameof(memory));
        }
        ReadOnlySpan<long> row = [memory.Length];
        var extents = shape.IsEmpty ? row : shape;
        _ = Extents(extents);
        if (Product(extents) != (ulong)memory.Length)
        {
            throw new ArgumentException(
                $"memory: {memory.Length} elements, expected {Product(extents)}, those of shape [{string.Join(", ", extents.ToArray())}]",
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
    public long ByteCount => Live()._byteCount;

    /// <summary>The type of its elements.</summary>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public ElementType Type => Live()._type;

    internal TensorHandle Handle => Live()._handle;

    /// <summary>Copies all elements of a float32 tensor out of it, in row-major order.</summary>
    /// <param name="destination">Takes the elements; its length must be <see cref="Count"/>, or twice that for complex ones.</param>
    /// <exception cref="ArgumentException">The length differs, or the elements are not float32 (<see cref="ReadAs{T}"/>).</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public void Read(Span<float> destination) => ReadAs(destination);

    /// <summary>Copies all elements of a float32 tensor into it, in row-major order.</summary>
    /// <param name="source">The elements; their number must be <see cref="Count"/>, or twice that for complex ones.</param>
    /// <exception cref="ArgumentException">
    /// The length differs, or the elements are not float32 (<see cref="WriteAs{T}"/>); the tensor is unchanged.
    /// </exception>
    /// <exception cref="InvalidOperationException">Another thread is using the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public void Write(ReadOnlySpan<float> source) => WriteAs(source);

    /// <summary>Copies all elements of any type out of the tensor, in row-major order.</summary>
    /// <typeparam name="T">The elements' type: <see cref="float"/> (also twice as many for complex ones), <see cref="double"/>,
    /// <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
    /// <param name="destination">Takes the elements; its length must be <see cref="Count"/>, or twice that for complex ones.</param>
    /// <exception cref="ArgumentException">The length or the type differs.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public void ReadAs<T>(Span<T> destination)
        where T : unmanaged
    {
        CheckSpan<T>(destination.Length, nameof(destination));
        ReadBytes(MemoryMarshal.AsBytes(destination), 0);
    }

    /// <summary>Copies all elements of any type into the tensor, in row-major order.</summary>
    /// <typeparam name="T">The elements' type, as for <see cref="ReadAs{T}"/>.</typeparam>
    /// <param name="source">The elements; their number must be <see cref="Count"/>, or twice that for complex ones.</param>
    /// <exception cref="ArgumentException">The length or the type differs; the tensor is unchanged.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public void WriteAs<T>(ReadOnlySpan<T> source)
        where T : unmanaged
    {
        CheckSpan<T>(source.Length, nameof(source));
        WriteBytes(MemoryMarshal.AsBytes(source), 0);
    }

    /// <summary>Copies all elements into a new array, in row-major order.</summary>
    /// <returns>The elements.</returns>
    /// <exception cref="InvalidOperationException">
    /// The elements are not float32, they are more than an array holds (<see cref="Array.MaxLength"/>; read their bytes piece by
    /// piece instead), or another thread is using the tensor.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public float[] ToArray()
    {
        if (TypeOf<float>() != SpanType)
        {
            throw new InvalidOperationException($"ToArray: elements of type {Type}, expected Float32; ReadAs takes every type");
        }
        var elements = new float[ArrayLength(SpanCount, "elements")];
        Read(elements);
        return elements;
    }

    /// <summary>Copies all elements as their bytes, in row-major order and the machine's byte order.</summary>
    /// <returns>The bytes, <see cref="Count"/> times the size of an element.</returns>
    /// <exception cref="InvalidOperationException">
    /// They are more than an array holds (<see cref="Array.MaxLength"/>; read them piece by piece instead), or another thread is
    /// using the tensor.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public byte[] ToBytes()
    {
        var bytes = new byte[ArrayLength(ByteCount, "bytes")];
        ReadBytes(bytes, 0);
        return bytes;
    }

    /// <summary>Copies all elements as their bytes into memory of the caller's.</summary>
    /// <param name="destination">Takes the bytes, as <see cref="ToBytes"/> gives them; its length must be <see cref="ByteCount"/>.</param>
    /// <exception cref="ArgumentException">The length differs.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public void ReadBytes(Span<byte> destination)
    {
        CheckLength(destination.Length, ByteCount, "bytes", nameof(destination));
        ReadBytes(destination, 0);
    }

    /// <summary>Copies some of the elements' bytes into memory of the caller's, e.g. of a tensor that is larger than a span.</summary>
    /// <param name="destination">Takes the bytes from <paramref name="byteOffset"/> on, as many as it is long.</param>
    /// <param name="byteOffset">Offset of the first byte; with the length at most <see cref="ByteCount"/>.</param>
    /// <exception cref="ArgumentException">The offset is negative, or the bytes go beyond the tensor's.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public void ReadBytes(Span<byte> destination, long byteOffset)
    {
        var handle = Handle;
        var offset = Require.AtLeast(0, byteOffset);
        fixed (byte* pointer = destination)
        {
            Status.ThrowIfFailed(
                NativeMethods.adn_tensor_read_bytes(pointer, offset, (ulong)destination.Length, handle), "byte_count=destination.Length");
        }
    }

    /// <summary>Sets all elements from their bytes.</summary>
    /// <param name="source">The bytes, as <see cref="ToBytes"/> gives them; their number must be <see cref="ByteCount"/>.</param>
    /// <exception cref="ArgumentException">The length differs; the tensor is unchanged.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public void WriteBytes(ReadOnlySpan<byte> source)
    {
        CheckLength(source.Length, ByteCount, "bytes", nameof(source));
        WriteBytes(source, 0);
    }

    /// <summary>Sets some of the elements' bytes, e.g. of a tensor that is larger than a span.</summary>
    /// <param name="source">The bytes from <paramref name="byteOffset"/> on.</param>
    /// <param name="byteOffset">Offset of the first byte; with the length at most <see cref="ByteCount"/>.</param>
    /// <exception cref="ArgumentException">The offset is negative, or the bytes go beyond the tensor's; it is unchanged.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public void WriteBytes(ReadOnlySpan<byte> source, long byteOffset)
    {
        var handle = Handle;
        var offset = Require.AtLeast(0, byteOffset);
        fixed (byte* pointer = source)
        {
            Status.ThrowIfFailed(
                NativeMethods.adn_tensor_write_bytes(handle, pointer, offset, (ulong)source.Length), "byte_count=source.Length");
        }
    }

    /// <summary>Sets every element to one value, rounded to the nearest number of its type.</summary>
    /// <param name="value">The value.</param>
    /// <exception cref="InvalidOperationException">Another thread is using the tensor.</exception>
    /// <exception cref="ObjectDisposedException">The tensor, or the network or optimizer that owns it, is disposed.</exception>
    public void Fill(float value) => Status.ThrowIfFailed(NativeMethods.adn_tensor_fill(Handle, value));

    /// <summary>
    /// Gives the memory back. A tensor that belongs to a network (<see cref="Network.Parameters"/>) or an optimizer
    /// (<see cref="AdadeltaOptimizer.GetState"/>) is disposed with that; to dispose it alone does nothing.
    /// </summary>
    public void Dispose()
    {
        if (!_owned)
        {
            _handle.Dispose();
        }
    }

    // The owner's end.
    internal void Close() => _handle.Dispose();

    private static TensorHandle Create(ComputeContext context, ElementType type, ReadOnlySpan<long> shape)
    {
        ArgumentNullException.ThrowIfNull(context);
        TensorHandle handle;
        fixed (ulong* pointer = Extents(shape))
        {
            Status.ThrowIfFailed(
                NativeMethods.adn_tensor_create_typed(out handle, context.Handle, (int)type, pointer, (uint)shape.Length), ShapeNames);
        }
        handle.Holds((long)Product(shape) * SizeOf(type));
        return handle;
    }

    private static DeviceTensor External(
        ComputeContext context, void* data, ElementType type, ReadOnlySpan<long> shape,
        delegate* unmanaged<void*, void> release, void* user)
    {
        TensorHandle handle;
        fixed (ulong* pointer = Extents(shape))
        {
            Require.Bytes(Product(shape), SizeOf(type), nameof(shape));
            Status.ThrowIfFailed(
                NativeMethods.adn_tensor_create_external(
                    out handle, context.Handle, data, (int)type, pointer, (uint)shape.Length, release, user),
                ShapeNames);
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

    // Complex elements are read and written as twice as many floats.
    private ElementType SpanType => Type == ElementType.Complex64 ? ElementType.Float32 : Type;

    private long SpanCount => Type == ElementType.Complex64 ? 2 * Count : Count;

    private void CheckSpan<T>(int length, string name)
    {
        if (TypeOf<T>() != SpanType)
        {
            throw new ArgumentException($"{name}: of {typeof(T).Name}, expected the type of {Type} elements", name);
        }
        CheckLength(length, SpanCount, "elements", name);
    }

    private void CheckLength(int length, long expected, string what, string name)
    {
        if (length != expected)
        {
            throw new ArgumentException(
                $"{name}.Length: {length}, expected {expected}, the {what} of a {Type} tensor of shape [{string.Join(", ", Shape)}]", name);
        }
    }

    private static int ArrayLength(long count, string what, [CallerMemberName] string member = "") =>
        count <= Array.MaxLength
            ? (int)count
            : throw new InvalidOperationException(
                $"{member}: {count} {what}, expected at most {Array.MaxLength}, those of an array; ReadBytes reads them piece by piece");

    // Of extents that may be the caller's mistake: beyond 64 bits it stays at the largest number.
    private static ulong Product(ReadOnlySpan<long> shape)
    {
        UInt128 product = 1;
        foreach (var extent in shape)
        {
            product = UInt128.Min(product * (ulong)extent, ulong.MaxValue);
        }
        return (ulong)product;
    }

    private DeviceTensor Live()
    {
        ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
        return this;
    }
}
