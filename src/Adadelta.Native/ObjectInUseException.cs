namespace Adadelta.Native;

/// <summary>
/// Another thread runs a call on the object, or on one that counts as one object with it; nothing has changed, and the same call may
/// be made again. Give each thread a copy (<see cref="Network.Clone"/>), or take turns.
/// </summary>
public sealed class ObjectInUseException : InvalidOperationException
{
    /// <summary>Makes the exception.</summary>
    /// <param name="message">What is in use, and what to do about it.</param>
    public ObjectInUseException(string message)
        : base(message)
    {
    }
}
