using NUnit.Framework;

namespace Adadelta.Native.Tests;

internal static class Contexts
{
    // A test that needs what the machine lacks says so and is skipped.
    internal static ComputeContext Create(int threads = 0, InstructionSet instructionSet = InstructionSet.Auto)
    {
        try
        {
            return ComputeContext.Create(Device.Cpu, threads, instructionSet);
        }
        catch (NotSupportedException exception)
        {
            Assert.Ignore(exception.Message);
            throw;
        }
    }

    // The device of a fixture, "cpu" or "cuda": a GPU, or the simulator that ADADELTA_BACKEND_PATH names. Fixtures of one that is
    // not here are skipped with the reason.
    internal static ComputeContext On(string device, int threads)
    {
        if (device == "cpu")
        {
            return ComputeContext.Create(Device.Cpu, threads);
        }
        if (NativeLibraryInfo.BackendReason("cuda") is { Length: > 0 } reason)
        {
            Assert.Ignore(reason);
        }
        return ComputeContext.Create(Device.Cuda(0));
    }
}
