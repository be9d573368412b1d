using ManagedCuda;
using ManagedCuda.BasicTypes;
using ManagedCuda.CudaBlas;

namespace Adadelta.Cuda.Tests;

// A program that uses CUDA through ManagedCuda. It shares the device's primary context, which is the one that CUDA's runtime, and
// so the library, works in. ManagedCuda's types are used in this file only.
internal sealed class ManagedCudaHost : IDisposable
{
    private readonly PrimaryContext _context = new(0);
    private readonly CudaStream _stream;

    internal ManagedCudaHost()
    {
        _context.SetCurrent();
        _stream = new CudaStream(CUStreamFlags.NonBlocking);
    }

    internal nint Stream => _stream.Stream.Pointer;

    public void Dispose()
    {
        _stream.Dispose();
        _context.Dispose();
    }

    internal DeviceArray<T> Upload<T>(T[] values)
        where T : unmanaged
    {
        var array = new DeviceArray<T>(new CudaDeviceVariable<T>(values.Length));
        Write(array, values);
        return array;
    }

    // Only once the stream has done with the array.
    internal void Write<T>(DeviceArray<T> array, T[] values)
        where T : unmanaged
    {
        array.Memory.CopyToDevice(values);
        // The copy need not have arrived, and the stream does not wait for it.
        _context.Synchronize();
    }

    internal T[] Download<T>(DeviceArray<T> array)
        where T : unmanaged
    {
        _stream.Synchronize();
        var values = new T[(int)array.Memory.Size];
        array.Memory.CopyToHost(values);
        return values;
    }

    internal void Synchronize() => _stream.Synchronize();

    // Puts a copy on the stream and does not wait.
    internal void Copy<T>(DeviceArray<T> to, DeviceArray<T> from)
        where T : unmanaged => to.Memory.AsyncCopyToDevice(from.Memory, _stream);

    // Memory of a context of its own on the same device, which the library cannot use.
    internal DeviceArray<float> UploadToAnotherContext(float[] values, out IDisposable context)
    {
        context = new CudaContext(0);
        try
        {
            return new DeviceArray<float>(new CudaDeviceVariable<float>(values.Length));
        }
        catch
        {
            context.Dispose();
            throw;
        }
        finally
        {
            _context.SetCurrent();
        }
    }

    // op(a) op(b) of row-major matrices, by cuBLAS: rows x depth times depth x columns. A transposed one lies in memory as it is
    // before it is transposed.
    internal float[] Multiply(
        DeviceArray<float> a, bool transposeA, DeviceArray<float> b, bool transposeB, int rows, int columns, int depth)
    {
        using var product = new CudaDeviceVariable<float>(rows * columns);
        var blas = new CudaBlas(_stream.Stream, PointerMode.Host);
        try
        {
            blas.MathMode = global::ManagedCuda.CudaBlas.Math.PedanticMath;
            // cuBLAS's matrices are column-major: what it takes for the product's transpose is the product.
            blas.Gemm(
                transposeB ? Operation.Transpose : Operation.NonTranspose,
                transposeA ? Operation.Transpose : Operation.NonTranspose,
                columns, rows, depth, 1f, b.Memory, transposeB ? depth : columns, a.Memory, transposeA ? rows : depth, 0f,
                product, columns);
            _stream.Synchronize();
        }
        finally
        {
            blas.Dispose();
        }
        var values = new float[rows * columns];
        product.CopyToHost(values);
        return values;
    }

    internal sealed class DeviceArray<T>(CudaDeviceVariable<T> memory) : IDisposable
        where T : unmanaged
    {
        internal CudaDeviceVariable<T> Memory => memory;

        internal nint Address => (nint)(ulong)memory.DevicePointer;

        public void Dispose() => memory.Dispose();
    }
}
