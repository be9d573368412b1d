using System.Globalization;

namespace Adadelta.Native;

/// <summary>Kinds of device that a <see cref="ComputeContext"/> can stand on.</summary>
public enum DeviceType
{
    /// <summary>CUDA where it works, the CPU elsewhere.</summary>
    Auto = 0,

    /// <summary>The CPU.</summary>
    Cpu = 1,

    /// <summary>An NVIDIA GPU.</summary>
    Cuda = 2,
}

/// <summary>CPU instruction sets, in rising order of preference.</summary>
public enum InstructionSet
{
    /// <summary>The best that the CPU and the system offer.</summary>
    Auto = 0,

    /// <summary>What every CPU of the architecture has.</summary>
    Baseline = 1,

    /// <summary>AVX2 and FMA.</summary>
    Avx2 = 2,

    /// <summary>AVX-512 F, BW, DQ and VL.</summary>
    Avx512 = 3,
}

/// <summary>A device by its kind and its number. <c>default(Device)</c> is <see cref="Auto"/>.</summary>
/// <param name="Type">The kind of device.</param>
/// <param name="Index">Which device of that kind, from 0; the CPU has one.</param>
public readonly record struct Device(DeviceType Type, int Index = 0)
{
    /// <summary>CUDA where it works, the CPU elsewhere.</summary>
    public static Device Auto => default;

    /// <summary>The CPU.</summary>
    public static Device Cpu => new(DeviceType.Cpu);

    /// <summary>An NVIDIA GPU.</summary>
    /// <param name="index">Its number, from 0, as the CUDA runtime counts.</param>
    /// <returns>The device; whether it is there shows when a context is made on it.</returns>
    public static Device Cuda(int index) => new(DeviceType.Cuda, index);

    /// <summary>The device as the command line writes it: <c>auto</c>, <c>cpu</c> or <c>cuda:0</c>.</summary>
    /// <returns>The text.</returns>
    public override string ToString() => Type switch
    {
        DeviceType.Auto => "auto",
        DeviceType.Cpu => "cpu",
        DeviceType.Cuda => string.Create(CultureInfo.InvariantCulture, $"cuda:{Index}"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{(int)Type}:{Index}"),
    };
}
