using System.Diagnostics.CodeAnalysis;

namespace Adadelta.Native;

/// <summary>Types of a <see cref="DeviceTensor"/>'s elements.</summary>
[SuppressMessage("Naming", "CA1720", Justification = "These are the names of the types, as they are written everywhere.")]
public enum ElementType
{
    /// <summary>32-bit float, <see cref="float"/>.</summary>
    Float32 = 0,

    /// <summary>64-bit float, <see cref="double"/>.</summary>
    Float64 = 1,

    /// <summary>IEEE binary16, <see cref="Half"/>.</summary>
    Float16 = 2,

    /// <summary>The upper half of a 32-bit float, <see cref="Native.BFloat16"/>.</summary>
    BFloat16 = 3,

    /// <summary>A complex number of two 32-bit floats, real part first; read and written as twice as many <see cref="float"/>s.</summary>
    Complex64 = 4,
}

/// <summary>A bfloat16 number: sign, exponent and the first 7 bits of the fraction of a 32-bit float.</summary>
/// <param name="Bits">Its bits.</param>
public readonly record struct BFloat16(ushort Bits)
{
    /// <summary>Rounds to the nearest number, ties to even; NaN stays NaN.</summary>
    /// <param name="value">The number.</param>
    public static explicit operator BFloat16(float value) => FromSingle(value);

    /// <summary>Widens without loss.</summary>
    /// <param name="value">The number.</param>
    public static implicit operator float(BFloat16 value) => value.ToSingle();

    /// <summary>Rounds to the nearest number, ties to even; NaN stays NaN.</summary>
    /// <param name="value">The number.</param>
    /// <returns>The nearest bfloat16.</returns>
    public static BFloat16 FromSingle(float value)
    {
        var bits = BitConverter.SingleToUInt32Bits(value);
        return new(float.IsNaN(value) ? (ushort)0x7fc0 : (ushort)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16));
    }

    /// <summary>Widens without loss.</summary>
    /// <returns>The same number as a 32-bit float.</returns>
    public float ToSingle() => BitConverter.UInt32BitsToSingle((uint)Bits << 16);
}
