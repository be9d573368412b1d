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
}
