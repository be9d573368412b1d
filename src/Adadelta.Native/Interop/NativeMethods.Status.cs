using System.Runtime.InteropServices;

namespace Adadelta.Native.Interop;

// Names are the header's, so that either side is found from the other by a text search. Pointers, not spans, cross the
// boundary: `fixed` turns an empty span into NULL, which is what the ABI asks for.
internal static unsafe partial class NativeMethods
{
    internal const string Library = "adadelta_native";

    internal const uint ADN_ABI_VERSION = 1;

    internal const int ADN_STATUS_OK = 0;
    internal const int ADN_STATUS_INVALID_ARGUMENT = 1;
    internal const int ADN_STATUS_INVALID_STATE = 2;
    internal const int ADN_STATUS_UNSUPPORTED = 3;
    internal const int ADN_STATUS_OUT_OF_MEMORY = 4;
    internal const int ADN_STATUS_DEVICE_ERROR = 5;
    internal const int ADN_STATUS_INTERNAL_ERROR = 6;

    [LibraryImport(Library)]
    internal static partial uint adn_abi_version();

    [LibraryImport(Library)]
    internal static partial byte* adn_version();

    [LibraryImport(Library)]
    internal static partial byte* adn_last_error();

    [LibraryImport(Library)]
    internal static partial byte* adn_status_name(int status);
}
