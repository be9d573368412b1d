namespace Adadelta.Native;

/// <summary>
/// A failure of the native library that has no closer .NET exception: the device or its driver failed, or the library
/// found a fault in itself.
/// </summary>
/// <remarks>
/// The other statuses arrive as <see cref="ArgumentException"/>, <see cref="InvalidOperationException"/>,
/// <see cref="NotSupportedException"/> and <see cref="OutOfMemoryException"/>.
/// </remarks>
public class AdadeltaNativeException : Exception
{
    /// <summary>Makes the exception for a status of the C ABI.</summary>
    /// <param name="status">The <c>adn_status</c> that the call returned.</param>
    /// <param name="message">The native library's message, which names the argument, its value and the bound.</param>
    public AdadeltaNativeException(int status, string message)
        : base(message) => Status = status;

    /// <summary>The <c>adn_status</c> that the call returned; 5 is a device error, 6 an internal error.</summary>
    public int Status { get; }
}
