using System.Runtime.InteropServices;
using Adadelta.Native.Interop;

namespace Adadelta.Native;

/// <summary>
/// One device and its threads: what tensors, networks and optimizers are made on. Those keep the native context alive, so
/// the objects may be disposed in any order.
/// </summary>
/// <remarks>
/// A context may be used by several threads at once; on the CPU their work takes turns on its threads. What is made on it may be
/// used by one thread at a time, each on its own: see <see cref="Network"/>, <see cref="AdadeltaOptimizer"/> and
/// <see cref="DeviceTensor"/>.
/// </remarks>
public sealed unsafe class ComputeContext : IDisposable
{
    private const string OptionNames =
        "options.device_type=device.Type;options.device_index=device.Index;options.thread_count=threads;" +
        "options.instruction_set=instructionSet;options.cuda_stream_external=cuda.ExternalStream";

    private readonly ContextHandle _handle;
    private readonly Device _device;
    private readonly string _deviceName;
    private readonly int _threadCount;
    private readonly InstructionSet _instructionSet;
    private readonly string _instructionSetName;

    private ComputeContext(ContextHandle handle)
    {
        _handle = handle;
        var info = GetInfo(handle);
        _device = new Device((DeviceType)info.device_type, info.device_index);
        _deviceName = Marshal.PtrToStringUTF8((nint)info.device_name) ?? "";
        _threadCount = (int)info.thread_count;
        _instructionSet = (InstructionSet)info.instruction_set;
        _instructionSetName = Marshal.PtrToStringUTF8((nint)info.instruction_set_name) ?? "";
    }

    /// <summary>The device that was taken; its type is never <see cref="DeviceType.Auto"/>.</summary>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    public Device Device => Live()._device;

    /// <summary>The device's own name, e.g. <c>AMD EPYC</c>.</summary>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    public string DeviceName => Live()._deviceName;

    /// <summary>Number of CPU threads that work is spread over. Results do not depend on it.</summary>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    public int ThreadCount => Live()._threadCount;

    /// <summary>The CPU instruction set in use; never <see cref="Native.InstructionSet.Auto"/>.</summary>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    public InstructionSet InstructionSet => Live()._instructionSet;

    /// <summary>Name of the instruction set in use, e.g. <c>AVX2+FMA</c>; on CUDA the GPU's, e.g. <c>sm_80</c>.</summary>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    public string InstructionSetName => Live()._instructionSetName;

    /// <summary>
    /// On CUDA the versions of runtime, driver, cuDNN and cuBLAS, with the reason for what is not used, also for some of the
    /// networks made so far; empty on the CPU.
    /// </summary>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    public string Libraries
    {
        get
        {
            var info = GetInfo(Handle);
            return Marshal.PtrToStringUTF8((nint)info.libraries) ?? "";
        }
    }

    /// <summary>Bytes that the context's objects hold on a CUDA device; 0 on the CPU.</summary>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    public long DeviceMemoryBytes => checked((long)GetInfo(Handle).memory_bytes);

    /// <summary>The most that <see cref="DeviceMemoryBytes"/> has been.</summary>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    public long DeviceMemoryPeakBytes => checked((long)GetInfo(Handle).memory_peak_bytes);

    internal ContextHandle Handle => Live()._handle;

    /// <summary>Makes a context.</summary>
    /// <param name="device">The device; the default takes CUDA where it works and the CPU elsewhere.</param>
    /// <param name="threads">
    /// CPU threads, 0 to 256; 0 takes one for each processor that this process may use, as
    /// <see cref="Environment.ProcessorCount"/> counts them: affinity, the container's quota and <c>DOTNET_PROCESSOR_COUNT</c> are
    /// obeyed. More threads than processors make every step slower.
    /// </param>
    /// <param name="instructionSet">CPU instruction set; the default takes the best there is.</param>
    /// <param name="cuda">How a CUDA device computes; null for the defaults.</param>
    /// <returns>The context, which the caller disposes.</returns>
    /// <exception cref="ArgumentException">An argument is out of its bounds.</exception>
    /// <exception cref="NotSupportedException">The device or the instruction set is not here; the message says why.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for it.</exception>
    /// <exception cref="DllNotFoundException">The native library cannot be loaded; the message lists every path tried and why each failed.</exception>
    public static ComputeContext Create(
        Device device = default, int threads = 0, InstructionSet instructionSet = InstructionSet.Auto,
        CudaOptions? cuda = null)
    {
        adn_context_options options;
        Status.ThrowIfFailed(NativeMethods.adn_context_options_init(&options, (uint)sizeof(adn_context_options)));
        options.device_type = (int)device.Type;
        options.device_index = device.Index;
        options.thread_count = (uint)Require.AtLeast(0, threads);
        options.instruction_set = (int)instructionSet;
        if (cuda is not null)
        {
            options.cuda_tf32 = cuda.AllowTf32 ? 1 : 0;
            options.cuda_deterministic = cuda.Deterministic ? 1 : 0;
            options.cuda_search = cuda.SearchAlgorithms ? 1 : 0;
            options.cuda_own_kernels = cuda.OwnKernelsOnly ? 1 : 0;
            options.cuda_no_graph = cuda.NoGraph ? 1 : 0;
            options.cuda_workspace_limit = Require.AtLeast(0, cuda.WorkspaceLimit, "cuda.WorkspaceLimit");
            options.cuda_stream_external = cuda.ExternalStream;
        }
        var context = Create(options);
        // The native default knows the process's cores, the runtime also what the user told it (DOTNET_PROCESSOR_COUNT).
        if (threads == 0 && context._device.Type == DeviceType.Cpu && context._threadCount > Environment.ProcessorCount)
        {
            context.Dispose();
            options.thread_count = (uint)Environment.ProcessorCount;
            context = Create(options);
        }
        return context;
    }

    /// <summary>Waits until the device has done everything given to it so far; at once on the CPU.</summary>
    /// <exception cref="AdadeltaNativeException">The device failed.</exception>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    public void Synchronize() => Status.ThrowIfFailed(NativeMethods.adn_context_synchronize(Handle));

    /// <summary>Lets go of the device. What was made on the context goes on working.</summary>
    public void Dispose() => _handle.Dispose();

    private static ComputeContext Create(in adn_context_options options)
    {
        ContextHandle handle;
        fixed (adn_context_options* pointer = &options)
        {
            Status.ThrowIfFailed(NativeMethods.adn_context_create(out handle, pointer), OptionNames);
        }
        try
        {
            return new ComputeContext(handle);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    private static adn_context_info GetInfo(ContextHandle handle)
    {
        adn_context_info info = default;
        info.struct_size = (uint)sizeof(adn_context_info);
        Status.ThrowIfFailed(NativeMethods.adn_context_get_info(&info, handle));
        return info;
    }

    private ComputeContext Live()
    {
        ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
        return this;
    }
}
