using NUnit.Framework;

namespace Adadelta.Training.Tests;

public class PixelsTests
{
    // lengths around those of the vector loops
    [Test]
    public void Every_byte_becomes_exactly_its_value_over_255([Values(0, 1, 15, 31, 32, 33, 63, 64, 65, 256, 784)] int length)
    {
        var pixels = Enumerable.Range(0, length).Select(i => (byte)(i * 7)).ToArray();
        var values = new float[length];
        Pixels.Scale(pixels, values);
        Assert.That(values, Is.EqualTo(pixels.Select(pixel => pixel / 255f)));
    }

    [Test]
    public void Lengths_that_differ_are_refused()
    {
        Assert.That(() => Pixels.Scale(new byte[4], new float[3]),
            Throws.ArgumentException.With.Message.StartsWith("values: 3 floats, expected 4"));
    }
}
