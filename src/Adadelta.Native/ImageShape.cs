using System.Globalization;

namespace Adadelta.Native;

/// <summary>Shape of one image or of one layer's output for one image. A flat vector is <c>features x 1 x 1</c>.</summary>
/// <param name="Channels">Number of channels, or of features.</param>
/// <param name="Height">Number of rows.</param>
/// <param name="Width">Number of columns.</param>
public readonly record struct ImageShape(int Channels, int Height, int Width)
{
    /// <summary>Number of elements of one image.</summary>
    /// <exception cref="InvalidOperationException">It is not within 0 to <see cref="int.MaxValue"/>.</exception>
    public int Count
    {
        get
        {
            var count = (Int128)Channels * Height * Width;
            return count >= 0 && count <= int.MaxValue
                ? (int)count
                : throw new InvalidOperationException($"Count of {this}: {count}, expected 0 <= Count <= {int.MaxValue}");
        }
    }

    /// <summary>The shape as the error messages write it, e.g. <c>1x28x28</c>.</summary>
    /// <returns>The text.</returns>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Channels}x{Height}x{Width}");
}
