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
}
