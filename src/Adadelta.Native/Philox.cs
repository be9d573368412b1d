using Adadelta.Native.Interop;

namespace Adadelta.Native;

/// <summary>
/// Random numbers without a state: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). The
/// 32-bit word at an index depends on seed, stream and index alone, so that every device, thread count and resumed run
/// draws the same ones.
/// </summary>
public static unsafe class Philox
{
    /// <summary>Writes words of a sequence.</summary>
    /// <param name="bits">Takes the words at the indices <paramref name="offset"/>, <paramref name="offset"/> + 1, …</param>
    /// <param name="seed">The seed.</param>
    /// <param name="stream">Which sequence of that seed.</param>
    /// <param name="offset">Index of the first word.</param>
    /// <exception cref="ArgumentException">The last index would be beyond 2^64 - 1.</exception>
    public static void Bits(Span<uint> bits, ulong seed, ulong stream, ulong offset = 0)
    {
        fixed (uint* pointer = bits)
        {
            Status.ThrowIfFailed(NativeMethods.adn_random_bits(pointer, (ulong)bits.Length, seed, stream, offset));
        }
    }

    /// <summary>Writes a uniformly drawn order of the numbers 0 … length - 1 (Fisher-Yates, unbiased).</summary>
    /// <param name="order">Takes the numbers.</param>
    /// <param name="seed">The seed.</param>
    /// <param name="stream">Which sequence of that seed.</param>
    public static void Permutation(Span<uint> order, ulong seed, ulong stream)
    {
        fixed (uint* pointer = order)
        {
            Status.ThrowIfFailed(NativeMethods.adn_random_permutation(pointer, (ulong)order.Length, seed, stream));
        }
    }

    /// <summary>Draws an order of the numbers 0 … <paramref name="count"/> - 1 (Fisher-Yates, unbiased).</summary>
    /// <param name="count">How many numbers, at least 0.</param>
    /// <param name="seed">The seed.</param>
    /// <param name="stream">Which sequence of that seed.</param>
    /// <returns>The numbers in the drawn order.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="count"/> is negative.</exception>
    public static uint[] Permutation(int count, ulong seed, ulong stream)
    {
        var order = new uint[Require.AtLeast(0, count)];
        Permutation(order, seed, stream);
        return order;
    }
}
