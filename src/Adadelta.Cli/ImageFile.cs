using Adadelta.Native;
using SkiaSharp;

namespace Adadelta.Cli;

/// <summary>Fits a picture to a network's input.</summary>
internal static class ImageFile
{
    /// <summary>
    /// Reads a picture as a network sees its data: transparent parts are taken for white paper; converted to gray where the
    /// network has one channel; inverted where the border is light, because data sets such as MNIST hold light strokes on dark
    /// ground; made as wide as high as the input is with its own border's colour; resized by averaging the area under each
    /// pixel, so that one of the right size is taken as it is.
    /// </summary>
    /// <param name="path">A PNG file.</param>
    /// <param name="shape">The network's input: one channel (gray) or three (red, green, blue).</param>
    /// <returns>Channels x height x width numbers from 0 to 1, and what was done to the picture.</returns>
    /// <exception cref="InvalidDataException">The file is no picture, or the network takes none.</exception>
    public static (float[] Input, string Description) Read(string path, ImageShape shape)
    {
        if (shape.Channels is not (1 or 3))
        {
            throw new InvalidDataException(
                $"the network takes images of {shape.Channels} channels, expected 1 (gray) or 3 (colour) for a picture");
        }

        if (!File.Exists(path))
        {
            throw new FileNotFoundException($"image '{path}': no such file");
        }

        using SKBitmap picture = Decode(path);
        List<string> done = [$"{picture.Width}x{picture.Height} pixels"];
        float[][] planes = Planes(picture, shape.Channels == 1);
        float[] border = [.. planes.Select(plane => BorderMean(plane, picture.Width, picture.Height))];
        if (shape.Channels == 1 && border[0] > 0.5f)
        {
            done.Add("inverted (light border)");
            planes[0] = [.. planes[0].Select(value => 1 - value)];
            border[0] = 1 - border[0];
        }

        float[] input = new float[shape.Count];
        int size = shape.Height * shape.Width;
        for (int channel = 0; channel < planes.Length; channel++)
        {
            Span<float> target = input.AsSpan(channel * size, size);
            Resize(planes[channel], picture.Width, picture.Height, border[channel], target, shape.Width, shape.Height);
        }

        if (picture.Width != shape.Width || picture.Height != shape.Height)
        {
            done.Add($"resized to {shape.Width}x{shape.Height}");
        }

        return (input, string.Join(", ", done));
    }

    private static SKBitmap Decode(string path)
    {
        using SKData bytes = SKData.CreateCopy(File.ReadAllBytes(path));
        using SKCodec? codec = SKCodec.Create(bytes);
        if (codec is null)
        {
            throw new InvalidDataException($"image '{path}': not a picture, expected a PNG file");
        }

        SKBitmap picture = new(new SKImageInfo(codec.Info.Width, codec.Info.Height, SKColorType.Rgba8888, SKAlphaType.Unpremul));
        SKCodecResult result = codec.GetPixels(picture.Info, picture.GetPixels());
        if (result == SKCodecResult.Success)
        {
            return picture;
        }

        picture.Dispose();
        throw new InvalidDataException($"image '{path}': damaged picture ({result})");
    }

    // One plane of gray or three of colour, 0 to 1, row by row.
    private static float[][] Planes(SKBitmap picture, bool gray)
    {
        ReadOnlySpan<byte> rgba = picture.GetPixelSpan();
        int count = picture.Width * picture.Height;
        float[][] planes = [.. Enumerable.Range(0, gray ? 1 : 3).Select(_ => new float[count])];
        for (int i = 0; i < count; i++)
        {
            float alpha = rgba[(4 * i) + 3] / 255f;
            float paper = 1 - alpha;
            (byte red, byte green, byte blue) = (rgba[4 * i], rgba[(4 * i) + 1], rgba[(4 * i) + 2]);
            if (!gray)
            {
                planes[0][i] = (alpha * (red / 255f)) + paper;
                planes[1][i] = (alpha * (green / 255f)) + paper;
                planes[2][i] = (alpha * (blue / 255f)) + paper;
                continue;
            }

            // Rec. 601 luma; a gray pixel keeps its value to the bit, as the data set's own pixels have theirs.
            float luma = red == green && green == blue ? red : (0.299f * red) + (0.587f * green) + (0.114f * blue);
            planes[0][i] = (alpha * (luma / 255f)) + paper;
        }

        return planes;
    }

    private static float BorderMean(float[] plane, int width, int height)
    {
        double sum = 0;
        int count = 0;
        for (int y = 0; y < height; y++)
        {
            bool edge = y == 0 || y == height - 1;
            for (int x = 0; x < width; x += edge || width == 1 ? 1 : width - 1)
            {
                sum += plane[(y * width) + x];
                count++;
            }
        }

        return (float)(sum / count);
    }

    private static void Resize(
        float[] source, int sourceWidth, int sourceHeight, float ground, Span<float> target, int width, int height)
    {
        // The picture in the middle of a canvas of the target's proportions; both scales are then the same.
        double scale = Math.Max((double)sourceWidth / width, (double)sourceHeight / height);
        double left = ((width * scale) - sourceWidth) / 2;
        double top = ((height * scale) - sourceHeight) / 2;
        for (int y = 0; y < height; y++)
        {
            for (int x = 0; x < width; x++)
            {
                target[(y * width) + x] =
                    Mean(source, sourceWidth, sourceHeight, ground, (x * scale) - left, (y * scale) - top, scale);
            }
        }
    }

    // Mean over the square of the given side; what lies outside the picture is ground.
    private static float Mean(float[] source, int width, int height, float ground, double left, double top, double side)
    {
        double sum = 0;
        double covered = 0;
        int lastY = Math.Min(height - 1, (int)Math.Ceiling(top + side) - 1);
        int lastX = Math.Min(width - 1, (int)Math.Ceiling(left + side) - 1);
        for (int y = Math.Max(0, (int)Math.Floor(top)); y <= lastY; y++)
        {
            double rows = Math.Min(top + side, y + 1) - Math.Max(top, y);
            for (int x = Math.Max(0, (int)Math.Floor(left)); x <= lastX; x++)
            {
                double area = rows * (Math.Min(left + side, x + 1) - Math.Max(left, x));
                sum += area * source[(y * width) + x];
                covered += area;
            }
        }

        double all = side * side;
        return (float)((sum + (Math.Max(0, all - covered) * ground)) / all);
    }
}
