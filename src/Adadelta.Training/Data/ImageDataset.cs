using Adadelta.Native;

namespace Adadelta.Training;

/// <summary>
/// Labelled images of one size, held as bytes. A network's input is <c>pixel / 255f</c>. Immutable: the arrays given to the
/// constructor belong to the data set from then on.
/// </summary>
public sealed class ImageDataset
{
    private string? _checksum;

    /// <summary>The most classes a data set can have: labels are bytes.</summary>
    public const int MaxClasses = 256;

    /// <summary>A data set over existing arrays, which are not copied.</summary>
    /// <param name="name">Name for messages and reports, e.g. <c>MNIST test</c>.</param>
    /// <param name="channels">Channels of one image, at least 1.</param>
    /// <param name="height">Rows of one image, at least 1.</param>
    /// <param name="width">Columns of one image, at least 1.</param>
    /// <param name="classes">Number of classes, 1 to <see cref="MaxClasses"/>.</param>
    /// <param name="pixels">Bytes in the order [count, channels, height, width].</param>
    /// <param name="labels">One class index an image, each below <paramref name="classes"/>; at least one.</param>
    /// <exception cref="ArgumentException">A size is out of its bounds, the arrays do not fit, or a label is out of range.</exception>
    public ImageDataset(string name, int channels, int height, int width, int classes, byte[] pixels, byte[] labels)
        : this(name, new(channels, height, width), classes, NotNull(pixels, nameof(pixels)), NotNull(labels, nameof(labels)))
    {
        Require.That(channels >= 1, nameof(channels), channels, "channels >= 1");
        Require.That(height >= 1, nameof(height), height, "height >= 1");
        Require.That(width >= 1, nameof(width), width, "width >= 1");
        Require.That(classes is >= 1 and <= MaxClasses, nameof(classes), classes, $"1 <= classes <= {MaxClasses}");
        if (labels.Length == 0)
        {
            throw new ArgumentException($"{nameof(labels)}: 0 labels, expected at least 1", nameof(labels));
        }

        // Int128: three extents of up to 2^31 and a count do not fit 64 bits.
        var expected = (Int128)labels.Length * channels * height * width;
        if (pixels.Length != expected)
        {
            throw new ArgumentException(
                $"{nameof(pixels)}: {pixels.Length} bytes, expected {expected} for {labels.Length} images of {Shape}", nameof(pixels));
        }
        var bad = labels.AsSpan().IndexOfAnyExceptInRange((byte)0, (byte)(classes - 1));
        if (bad >= 0)
        {
            throw new ArgumentException(
                $"{nameof(labels)}[{bad}]: {labels[bad]}, expected 0 <= label < {classes}", nameof(labels));
        }
    }

    private ImageDataset(string name, ImageShape shape, int classes, ReadOnlyMemory<byte> pixels, ReadOnlyMemory<byte> labels)
    {
        ArgumentNullException.ThrowIfNull(name);
        (Name, Shape, Classes, Pixels, Labels) = (name, shape, classes, pixels, labels);
    }

    /// <summary>Name for messages and reports.</summary>
    public string Name { get; }

    /// <summary>Number of images.</summary>
    public int Count => Labels.Length;

    /// <summary>Channels of one image.</summary>
    public int Channels => Shape.Channels;

    /// <summary>Rows of one image.</summary>
    public int Height => Shape.Height;

    /// <summary>Columns of one image.</summary>
    public int Width => Shape.Width;

    /// <summary>Number of classes; every label is below it.</summary>
    public int Classes { get; }

    /// <summary>All pixels, [Count, Channels, Height, Width], 0 to 255.</summary>
    public ReadOnlyMemory<byte> Pixels { get; }

    /// <summary>Class indices, [Count].</summary>
    public ReadOnlyMemory<byte> Labels { get; }

    /// <summary>
    /// A checksum by which data sets are told apart: XxHash3 (64 bits, 16 hexadecimal digits) of <see cref="Pixels"/> followed by
    /// <see cref="Labels"/>. It is computed when it is first asked for, at about the speed of memory.
    /// </summary>
    public string Checksum => _checksum ??= ComputeChecksum();

    /// <summary>The classes that no image has, in order: gaps in the labels, and classes that a part of a data set lacks.</summary>
    public IReadOnlyList<int> EmptyClasses
    {
        get
        {
            var found = new bool[Classes];
            foreach (var label in Labels.Span)
            {
                found[label] = true;
            }
            return [.. Enumerable.Range(0, Classes).Where(label => !found[label])];
        }
    }

    /// <summary>Shape of one image, as a network takes it.</summary>
    public ImageShape Shape { get; }

    /// <summary>The pixels of one image, [Channels, Height, Width].</summary>
    /// <param name="index">0 &lt;= index &lt; Count.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="index"/> is out of its bounds.</exception>
    public ReadOnlySpan<byte> Image(int index)
    {
        Require.That((uint)index < (uint)Count, nameof(index), index, $"0 <= index < {Count}");
        return Pixels.Span.Slice(index * Shape.Count, Shape.Count);
    }

    /// <summary>The first images, sharing this data set's memory.</summary>
    /// <param name="count">1 &lt;= count &lt;= Count.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="count"/> is out of its bounds.</exception>
    public ImageDataset Take(int count)
    {
        Require.That(count >= 1 && count <= Count, nameof(count), count, $"1 <= count <= {Count}");
        return new(Name, Shape, Classes, Pixels[..(count * Shape.Count)], Labels[..count]);
    }

    /// <summary>
    /// The same images with rows and columns exchanged: upright ones of EMNIST's files, which hold them transposed.
    /// </summary>
    /// <returns>A data set with a copy of the pixels.</returns>
    public ImageDataset Transpose()
    {
        var pixels = new byte[Pixels.Length];
        var from = Pixels.Span;
        var area = Height * Width;
        for (var plane = 0; plane < pixels.Length; plane += area)
        {
            for (var y = 0; y < Height; y++)
            {
                for (var x = 0; x < Width; x++)
                {
                    pixels[plane + x * Height + y] = from[plane + y * Width + x];
                }
            }
        }
        return new(Name, new(Channels, Width, Height), Classes, pixels, Labels);
    }

    /// <summary>
    /// The images where a context's device reads them, for training and evaluation by their places. On the CPU they share this
    /// data set's memory; another device takes a copy.
    /// </summary>
    /// <param name="context">The context.</param>
    /// <returns>The images, which the caller disposes.</returns>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    /// <exception cref="OutOfMemoryException">There is no memory for it.</exception>
    public DeviceDataset ToDevice(ComputeContext context) => DeviceDataset.FromMemory(context, Pixels, Labels.Span, Shape);

    /// <summary>The same images, told to have at least as many classes.</summary>
    internal ImageDataset WithClasses(int classes) => new(Name, Shape, classes, Pixels, Labels) { _checksum = _checksum };

    /// <summary>The same images under another name.</summary>
    internal ImageDataset Rename(string name) => new(name, Shape, Classes, Pixels, Labels) { _checksum = _checksum };

    private string ComputeChecksum()
    {
        var checksum = new Checksum();
        checksum.Add(Pixels.Span);
        checksum.Add(Labels.Span);
        return checksum.ToText();
    }

    private static ReadOnlyMemory<byte> NotNull(byte[] array, string name)
    {
        ArgumentNullException.ThrowIfNull(array, name);
        return array;
    }
}

/// <summary>The two halves of a data set.</summary>
/// <param name="Name">Name of the set, e.g. <c>MNIST</c>.</param>
/// <param name="Train">Images to train on.</param>
/// <param name="Test">Images to judge by; of the same shape and number of classes.</param>
/// <param name="Source">The folder it was read from, or <c>embedded</c>.</param>
public sealed record DataSplit(string Name, ImageDataset Train, ImageDataset Test, string Source)
{
    /// <summary>
    /// Whether the names of its files say EMNIST, whose images are transposed, and they were opened as they are: to have them upright,
    /// open them with <c>transpose</c>.
    /// </summary>
    public bool IsTransposeAdvised { get; init; }
}
