using System.Runtime.InteropServices;

namespace Adadelta.Native.Interop;

internal static unsafe partial class NativeMethods
{
    [LibraryImport(Library)]
    internal static partial int adn_random_bits(uint* bits, ulong count, ulong seed, ulong stream, ulong offset);

    [LibraryImport(Library)]
    internal static partial int adn_random_permutation(uint* order, ulong count, ulong seed, ulong stream);
}
