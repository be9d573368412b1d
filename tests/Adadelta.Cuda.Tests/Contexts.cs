using Adadelta.Native;
using NUnit.Framework;

namespace Adadelta.Cuda.Tests;

internal static class Contexts
{
    // A GPU, or the simulator that ADADELTA_BACKEND_PATH names. Without either a test is skipped with the reason.
    internal static ComputeContext Cuda(CudaOptions? options = null)
    {
        RequireDevice();
        return ComputeContext.Create(Device.Cuda(0), cuda: options);
    }

    internal static ComputeContext Cpu() => ComputeContext.Create(Device.Cpu);

    internal static void RequireDevice()
    {
        if (NativeLibraryInfo.BackendReason("cuda") is { Length: > 0 } reason)
        {
            Assert.Ignore(reason);
        }
    }

    // Without one of NVIDIA's libraries, "cuBLAS" or "cuDNN", a test of it is skipped with the reason that the context gives.
    internal static void RequireLibrary(ComputeContext context, string name)
    {
        var parts = context.Libraries.Split("; ");
        if (Array.Find(parts, part => part.StartsWith($"{name} not used", StringComparison.Ordinal)) is { } reason)
        {
            Assert.Ignore(reason);
        }
    }
}
