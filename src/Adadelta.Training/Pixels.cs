using System.Numerics;

namespace Adadelta.Training;

/// <summary>Pixels as a network takes them.</summary>
public static class Pixels
{
    /// <summary>
    /// Scales bytes to [0, 1] as <c>pixel / 255f</c>: the same bits as torchvision's <c>ToTensor</c>, which a product with a
    /// rounded 1/255 would not give.
    /// </summary>
    /// <param name="pixels">Bytes, in any shape.</param>
    /// <param name="values">Room for as many floats.</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static void Scale(ReadOnlySpan<byte> pixels, Span<float> values)
    {
        if (values.Length != pixels.Length)
        {
            throw new ArgumentException(
                $"values: {values.Length} floats, expected {pixels.Length}, one for each pixel", nameof(values));
        }
        var i = 0;
        if (Vector.IsHardwareAccelerated)
        {
            var scale = new Vector<float>(255f);
            var width = Vector<float>.Count;
            for (; i <= pixels.Length - 4 * width; i += 4 * width)
            {
                Vector.Widen(new Vector<byte>(pixels[i..]), out var low, out var high);
                Vector.Widen(low, out var first, out var second);
                Vector.Widen(high, out var third, out var fourth);
                // from signed integers, for which every CPU has an instruction
                (Vector.ConvertToSingle(first.As<uint, int>()) / scale).CopyTo(values[i..]);
                (Vector.ConvertToSingle(second.As<uint, int>()) / scale).CopyTo(values[(i + width)..]);
                (Vector.ConvertToSingle(third.As<uint, int>()) / scale).CopyTo(values[(i + 2 * width)..]);
                (Vector.ConvertToSingle(fourth.As<uint, int>()) / scale).CopyTo(values[(i + 3 * width)..]);
            }
        }
        for (; i < pixels.Length; i++)
        {
            values[i] = pixels[i] / 255f;
        }
    }
}
