namespace Adadelta.Native;

/// <summary>A height and a width: of a kernel, a stride, a padding or a dilation.</summary>
/// <param name="Height">Extent along the rows.</param>
/// <param name="Width">Extent along the columns.</param>
public readonly record struct Size2(int Height, int Width)
{
    /// <summary>The same extent in both directions.</summary>
    /// <param name="extent">Height and width.</param>
    public static implicit operator Size2(int extent) => FromInt32(extent);

    /// <summary>Height and width, in this order.</summary>
    /// <param name="size">The pair.</param>
    public static implicit operator Size2((int Height, int Width) size) => FromValueTuple(size);

    /// <summary>The same extent in both directions.</summary>
    /// <param name="extent">Height and width.</param>
    /// <returns>The size.</returns>
    public static Size2 FromInt32(int extent) => new(extent, extent);

    /// <summary>Height and width, in this order.</summary>
    /// <param name="size">The pair.</param>
    /// <returns>The size.</returns>
    public static Size2 FromValueTuple((int Height, int Width) size) => new(size.Height, size.Width);
}
