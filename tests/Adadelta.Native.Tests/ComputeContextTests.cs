using System.Runtime.InteropServices;
using NUnit.Framework;

namespace Adadelta.Native.Tests;

internal sealed class ComputeContextTests
{
    [Test]
    public void A_context_says_what_it_stands_on()
    {
        using var context = ComputeContext.Create();
        Assert.That(context.Device.Type, Is.Not.EqualTo(DeviceType.Auto));
        Assert.That(context.DeviceName, Is.Not.Empty);
        Assert.That(context.ThreadCount, Is.GreaterThanOrEqualTo(1));
        Assert.That(context.InstructionSet, Is.Not.EqualTo(InstructionSet.Auto));
        Assert.That(context.InstructionSetName, Is.Not.Empty);
    }

    [TestCase(1)]
    [TestCase(3)]
    public void Threads_are_as_many_as_asked_for(int threads)
    {
        using var context = ComputeContext.Create(Device.Cpu, threads);
        Assert.That(context.ThreadCount, Is.EqualTo(threads));
        Assert.That(context.Device, Is.EqualTo(Device.Cpu));
    }

    [TestCase(InstructionSet.Baseline, "baseline")]
    [TestCase(InstructionSet.Avx2, "AVX2+FMA")]
    [TestCase(InstructionSet.Avx512, "AVX-512")]
    public void The_instruction_set_can_be_chosen(InstructionSet set, string name)
    {
        using var context = Contexts.Create(instructionSet: set);
        Assert.That(context.InstructionSet, Is.EqualTo(set));
        var isNeon = set == InstructionSet.Baseline && RuntimeInformation.ProcessArchitecture == Architecture.Arm64;
        Assert.That(context.InstructionSetName, Is.EqualTo(isNeon ? "NEON" : name));
    }

    [TestCase(-1, "threads: -1, expected 0 <= threads")]
    [TestCase(257, "threads: 257, expected 0 <= threads <= 256")]
    public void A_number_of_threads_out_of_bounds_is_refused(int threads, string message) => Assert.That(
        () => ComputeContext.Create(threads: threads), Throws.InstanceOf<ArgumentException>().With.Message.Contains(message));

    [Test]
    public void Unknown_devices_and_instruction_sets_are_refused()
    {
        Assert.That(
            () => ComputeContext.Create(new Device((DeviceType)7)),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("device.Type: 7, expected"));
        Assert.That(
            () => ComputeContext.Create(new Device(DeviceType.Cpu, -1)),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("device.Index: -1, expected"));
        Assert.That(
            () => ComputeContext.Create(new Device(DeviceType.Cpu, 1)),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("device.Index: 1, expected"));
        Assert.That(
            () => ComputeContext.Create(instructionSet: (InstructionSet)9),
            Throws.InstanceOf<ArgumentException>().With.Message.Contains("instructionSet: 9, expected"));
    }

    [Test]
    public void A_device_that_is_not_here_is_unsupported_and_says_why()
    {
        var reason = NativeLibraryInfo.BackendReason("cuda");
        if (reason.Length == 0)
        {
            Assert.Ignore("CUDA works here");
        }
        Assert.That(
            () => ComputeContext.Create(Device.Cuda(0)),
            Throws.TypeOf<NotSupportedException>().With.Message.Contains(reason));
    }

    [Test]
    public void Devices_are_written_as_on_the_command_line()
    {
        Assert.That(default(Device).ToString(), Is.EqualTo("auto"));
        Assert.That(Device.Auto, Is.EqualTo(default(Device)));
        Assert.That(Device.Cpu.ToString(), Is.EqualTo("cpu"));
        Assert.That(Device.Cuda(3).ToString(), Is.EqualTo("cuda:3"));
    }
}
