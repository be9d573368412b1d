using System.Runtime.CompilerServices;

namespace Adadelta.Native.Interop;

// Bounds that the native side cannot see, because a negative number would reach it as a huge unsigned one. Every other
// bound is checked there, once for all callers.
internal static class Require
{
    internal static ulong AtLeast(
        long minimum, long value, [CallerArgumentExpression(nameof(value))] string name = "") =>
        value >= minimum
            ? (ulong)value
            : throw new ArgumentOutOfRangeException(name, $"{name}: {value}, expected {minimum} <= {name}");

    internal static int InRange(
        int value, int count, [CallerArgumentExpression(nameof(value))] string name = "") =>
        (uint)value < (uint)count
            ? value
            : throw new ArgumentOutOfRangeException(name, $"{name}: {value}, expected 0 <= {name} < {count}");

    // Bounded so that no number of further steps leaves a signed 64-bit integer.
    internal static ulong StepCount(long value, [CallerArgumentExpression(nameof(value))] string name = "") =>
        value is >= 0 and <= 1L << 62
            ? (ulong)value
            : throw new ArgumentOutOfRangeException(name, $"{name}: {value}, expected 0 <= {name} <= 2^62");

    // ByteCount is of type long; memory of the caller's own may be said to be of any size.
    internal static void Bytes(ulong elements, int size, string name)
    {
        if (elements > (ulong)(long.MaxValue / size))
        {
            throw new ArgumentOutOfRangeException(
                name, $"{name}: {elements} elements of {size} bytes, expected at most {long.MaxValue} bytes");
        }
    }

    // Lengths are of type int: an image of more elements could be neither written nor read.
    internal static void Elements(UInt128 elements, string name, string what)
    {
        if (elements > int.MaxValue)
        {
            throw new ArgumentOutOfRangeException(name, $"{what}: {elements} elements an image, expected at most {int.MaxValue}");
        }
    }
}
