using NUnit.Framework;

namespace Adadelta.Cuda.Tests;

internal static class Numbers
{
    // Uniform in [-1, 1).
    internal static float[] Uniform(Random random, long count)
    {
        var numbers = new float[count];
        for (var i = 0; i < numbers.Length; i++)
        {
            numbers[i] = 2 * random.NextSingle() - 1;
        }
        return numbers;
    }

    internal static int[] Labels(Random random, int count, int classes)
    {
        var labels = new int[count];
        for (var i = 0; i < count; i++)
        {
            labels[i] = random.Next(classes);
        }
        return labels;
    }

    // Whole tensors are compared by the norm of their difference: single elements may be as small as their rounding.
    internal static void AssertClose(
        ReadOnlySpan<float> actual, ReadOnlySpan<float> expected, double tolerance, string what)
    {
        Assert.That(actual.Length, Is.EqualTo(expected.Length), what);
        double difference = 0, scale = 0;
        for (var i = 0; i < expected.Length; i++)
        {
            difference += Math.Pow((double)actual[i] - expected[i], 2);
            scale += Math.Pow(expected[i], 2);
        }
        Assert.That(scale, Is.GreaterThan(0), $"{what}: there is nothing to compare");
        Assert.That(Math.Sqrt(difference / scale), Is.LessThanOrEqualTo(tolerance), what);
    }
}
