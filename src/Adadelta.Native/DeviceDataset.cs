using Adadelta.Native.Interop;

namespace Adadelta.Native;

/// <summary>
/// Labelled images where the device reads them, as bytes: a batch is then named by indices into the set, and its images need not
/// travel. A network takes a byte as <c>byte / 255f</c>.
/// </summary>
/// <remarks>A data set never changes, so that several threads may use it at once, each with a network of its own.</remarks>
public sealed unsafe class DeviceDataset : IDisposable
{
    private const string ArgumentNames =
        "pixel_count=pixels.Length;count=labels.Length;shape[0]=shape.Channels;shape[1]=shape.Height;shape[2]=shape.Width";

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
        var extents = stackalloc ulong[3];
        SetExtents(extents, shape);
        fixed (byte* pixelsPointer = pixels, labelsPointer = labels)
        {
            Status.ThrowIfFailed(
                NativeMethods.adn_dataset_create(
                    out _handle, context.Handle, pixelsPointer, (ulong)pixels.Length, labelsPointer, (ulong)labels.Length, extents),
                ArgumentNames);
        }
        Count = labels.Length;
        Shape = shape;
        _handle.Holds((long)pixels.Length + labels.Length);
    }

    private DeviceDataset(DatasetHandle handle, int count, ImageShape shape)
    {
        _handle = handle;
        Count = count;
        Shape = shape;
    }

    /// <summary>
    /// Makes a data set on managed memory, which is pinned until the data set is gone. The CPU reads the pixels in place, so that
    /// they are held once; another device takes a copy. The labels are copied.
    /// </summary>
    /// <param name="context">The context.</param>
    /// <param name="pixels">
    /// Bytes in the order [count, channels, height, width]. They must not be written while the data set is in use: the CPU would
    /// see it, another device would not.
    /// </param>
    /// <param name="labels">The class of each image; their number is the number of images, at least 1.</param>
    /// <param name="shape">Shape of one image.</param>
    /// <returns>The data set.</returns>
    /// <exception cref="ArgumentException">A size is out of its bounds, or the lengths do not fit each other.</exception>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for it.</exception>
    public static DeviceDataset FromMemory(
        ComputeContext context, ReadOnlyMemory<byte> pixels, ReadOnlySpan<byte> labels, ImageShape shape)
    {
        ArgumentNullException.ThrowIfNull(context);
        var extents = stackalloc ulong[3];
        SetExtents(extents, shape);
        var pin = Pin.Hold(pixels.Pin());
        DatasetHandle handle;
        try
        {
            fixed (byte* labelsPointer = labels)
            {
                Status.ThrowIfFailed(
                    NativeMethods.adn_dataset_create_external(
                        out handle, context.Handle, (byte*)Pin.Address(pin), (ulong)pixels.Length, labelsPointer,
                        (ulong)labels.Length, extents),
                    ArgumentNames);
            }
        }
        catch
        {
            Pin.Release(pin);
            throw;
        }
        handle.Keeps(pin);
        handle.Holds(labels.Length + (context.Device.Type == DeviceType.Cpu ? 0L : pixels.Length));
        return new DeviceDataset(handle, labels.Length, shape);
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

    private static void SetExtents(ulong* extents, ImageShape shape)
    {
        extents[0] = Require.AtLeast(1, shape.Channels, "shape.Channels");
        extents[1] = Require.AtLeast(1, shape.Height, "shape.Height");
        extents[2] = Require.AtLeast(1, shape.Width, "shape.Width");
    }
}
