namespace Adadelta.Training;

/// <summary>Memory for what a file holds, of which a message says how much was asked for and what for.</summary>
internal static class Memory
{
    /// <exception cref="OutOfMemoryException">There is none.</exception>
    public static byte[] Allocate(long bytes, string path, string what)
    {
        try
        {
            // Not zeroed, since all of it is read.
            return GC.AllocateUninitializedArray<byte>(checked((int)bytes));
        }
        catch (OutOfMemoryException error)
        {
            throw new InsufficientMemoryException($"{path}: no memory for {bytes} bytes of {what}", error);
        }
    }
}
