using Adadelta.Native.Interop;

namespace Adadelta.Native;

/// <summary>
/// Labelled images kept on the device as bytes: a batch is then named by places in the set, and its images need not travel.
/// A network takes a byte as <c>byte / 255f</c>.
/// </summary>
/// <remarks>One object must not be used by two threads at once; different objects may.</remarks>
public sealed unsafe class DeviceDataset : IDisposable
{
    private readonly DatasetHandle _handle;

    /// <summary>Copies images and labels to a context's device.</summary>
    /// <param name="context">The context.</param>
    /// <param name="pixels">Bytes in the order [count, channels, height, width].</param>
    /// <param name="labels">The class of each image; their number is the number of images, at least 1.</param>
    /// <param name="shape">Shape of one image.</param>
    /// <exception cref="ArgumentException">A size is out of its bounds, or the lengths do not fit each other.</exception>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for it.</exception>
    public DeviceDataset(ComputeContext context, ReadOnlySpan<byte> pixels, ReadOnlySpan<byte> labels, ImageShape shape)
    {
        ArgumentNullException.ThrowIfNull(context);
        var extents = stackalloc ulong[]
        {
            Require.AtLeast(1, shape.Channels, "shape.Channels"), Require.AtLeast(1, shape.Height, "shape.Height"),
            Require.AtLeast(1, shape.Width, "shape.Width"),
        };
        fixed (byte* pixelsPointer = pixels, labelsPointer = labels)
        {
            Status.ThrowIfFailed(NativeMethods.adn_dataset_create(
                out _handle, context.Handle, pixelsPointer, (ulong)pixels.Length, labelsPointer, (ulong)labels.Length, extents));
        }
        Count = labels.Length;
        Shape = shape;
        _handle.Holds(pixels.Length + labels.Length);
    }

    /// <summary>Number of images.</summary>
    public int Count { get; }

    /// <summary>Shape of one image.</summary>
    public ImageShape Shape { get; }

    internal DatasetHandle Handle
    {
        get
        {
            ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
            return _handle;
        }
    }

    /// <summary>Gives the memory back.</summary>
    public void Dispose() => _handle.Dispose();
}
