using Adadelta.Native;
using Adadelta.Training;

namespace Adadelta.Cli;

/// <summary>How light a data set's images are, 0 to 1: what tells whether a picture is a negative of them.</summary>
/// <param name="Mean">Mean of all pixels.</param>
/// <param name="Border">Mean of the outermost pixels.</param>
/// <param name="BorderSpread">Standard deviation of the mean of an image's outermost pixels, from image to image.</param>
internal sealed record PixelStatistics(double Mean, double Border, double BorderSpread)
{
    // Three standard deviations hold nearly all of the data set's own images; the rest is for the noise of a scan.
    private const double Deviations = 3;
    private const double Noise = 0.05;

    public static PixelStatistics Of(ImageDataset images)
    {
        ImageShape shape = images.Shape;
        double sum = 0, borders = 0, squares = 0;
        for (int i = 0; i < images.Count; i++)
        {
            ReadOnlySpan<byte> pixels = images.Image(i);
            long all = 0;
            foreach (byte pixel in pixels)
            {
                all += pixel;
            }

            double border = BorderMean(pixels, shape) / 255;
            sum += all;
            borders += border;
            squares += border * border;
        }

        double mean = borders / images.Count;
        return new(
            sum / (255.0 * images.Pixels.Length), mean, Math.Sqrt(Math.Max(0, (squares / images.Count) - (mean * mean))));
    }

    /// <summary>
    /// Whether a picture's light and dark are the other way round than the data set's: its border is none that the images have,
    /// its negative's is nearer, and where the images' ink is lighter than their ground, the picture's is darker, or the reverse.
    /// </summary>
    /// <param name="picture">Channels x height x width numbers from 0 to 1, as the network would take them.</param>
    /// <param name="shape">Their shape.</param>
    public bool IsNegative(ReadOnlySpan<float> picture, ImageShape shape)
    {
        double border = BorderMean(picture, shape);
        double mean = 0;
        foreach (float pixel in picture)
        {
            mean += pixel;
        }

        mean /= picture.Length;
        double distance = Math.Abs(border - Border);
        return distance > (Deviations * BorderSpread) + Noise
            && Math.Abs(1 - border - Border) < distance
            && (mean - border) * (Mean - Border) <= 0;
    }

    private static double BorderMean<T>(ReadOnlySpan<T> pixels, ImageShape shape)
        where T : System.Numerics.INumber<T>
    {
        double sum = 0;
        int count = 0;
        for (int row = 0; row < shape.Channels * shape.Height; row++)
        {
            int y = row % shape.Height;
            bool edge = y == 0 || y == shape.Height - 1;
            for (int x = 0; x < shape.Width; x += edge || shape.Width == 1 ? 1 : shape.Width - 1)
            {
                sum += double.CreateTruncating(pixels[(row * shape.Width) + x]);
                count++;
            }
        }

        return sum / count;
    }
}
