using Adadelta.Native;

namespace Adadelta.Cli;

/// <summary>Whether a picture's light and dark are exchanged.</summary>
internal enum Inversion
{
    /// <summary>Where it is a negative of the images that the network was trained on.</summary>
    Auto,
    Yes,
    No,
}

/// <summary>Fits a picture to a network's input.</summary>
internal static class PictureInput
{
    // Less than one of the 255 steps of a pixel: rounding, and nothing that could be seen.
    private const float LeastContrast = 0.5f / 255;

    /// <summary>
    /// Makes of a picture what a network takes: turned as its file says; transparent parts filled with paper that its ink stands
    /// out from; put in the middle of a canvas of the input's proportions in its border's colour; resized by averaging the area
    /// under each pixel, so that one of the right size is taken as it is; gray where the network has one channel; inverted where
    /// that is asked for, or where it is a negative of what the network was trained on.
    /// </summary>
    /// <param name="picture">The picture.</param>
    /// <param name="shape">The network's input: one channel (gray) or three (red, green, blue).</param>
    /// <param name="inversion">Whether to invert it.</param>
    /// <param name="known">How light the training images are; <see cref="Inversion.Auto"/> inverts nothing without it.</param>
    /// <returns>Channels x height x width numbers from 0 to 1, and what was done to the picture.</returns>
    public static (float[] Input, string Description) Of(
        PictureFile picture, ImageShape shape, Inversion inversion, PixelStatistics? known)
    {
        List<string> done = [$"{picture.Width}x{picture.Height} pixels"];
        bool turned = picture.Orientation >= 5;
        (int height, int width) = turned ? (shape.Width, shape.Height) : (shape.Height, shape.Width);
        Rgb[] small = new Area(picture).Resize(height, width);
        if (picture.Orientation != 1)
        {
            small = Turn(small, height, width, picture.Orientation);
            done.Add("turned upright (EXIF)");
        }

        float[] input = new float[shape.Count];
        for (int i = 0; i < small.Length; i++)
        {
            if (shape.Channels == 1)
            {
                input[i] = (float)small[i].Gray;
            }
            else
            {
                (input[i], input[small.Length + i], input[(2 * small.Length) + i]) =
                    ((float)small[i].Red, (float)small[i].Green, (float)small[i].Blue);
            }
        }

        // Of a colour picture, light and dark do not tell ink from ground.
        bool negative = inversion == Inversion.Auto && shape.Channels == 1 && known?.IsNegative(input, shape) == true;
        if (negative || inversion == Inversion.Yes)
        {
            done.Add(negative ? "inverted (a negative of the training images)" : "inverted");
            for (int i = 0; i < input.Length; i++)
            {
                input[i] = 1 - input[i];
            }
        }

        if ((picture.Width, picture.Height) != (width, height))
        {
            done.Add($"resized to {shape.Width}x{shape.Height}");
        }

        if (input.Chunk(small.Length).All(plane => plane.Max() - plane.Min() < LeastContrast))
        {
            done.Add("blank: all of one colour");
        }

        return (input, string.Join(", ", done));
    }

    private static Rgb[] Turn(Rgb[] pixels, int height, int width, int orientation)
    {
        bool turned = orientation >= 5, fromBelow = orientation is 3 or 4 or 6 or 7, fromRight = orientation is 2 or 3 or 7 or 8;
        (int newHeight, int newWidth) = turned ? (width, height) : (height, width);
        Rgb[] upright = new Rgb[pixels.Length];
        for (int y = 0; y < newHeight; y++)
        {
            for (int x = 0; x < newWidth; x++)
            {
                (int row, int column) = turned ? (x, y) : (y, x);
                upright[(y * newWidth) + x] =
                    pixels[((fromBelow ? height - 1 - row : row) * width) + (fromRight ? width - 1 - column : column)];
            }
        }

        return upright;
    }

    private readonly record struct Rgb(double Red, double Green, double Blue)
    {
        // Rec. 601 luma; a gray pixel keeps its value to the bit, as the data set's own pixels have theirs.
        public double Gray => Red == Green && Green == Blue ? Red : (0.299 * Red) + (0.587 * Green) + (0.114 * Blue);

        public static Rgb operator +(Rgb a, Rgb b) => new(a.Red + b.Red, a.Green + b.Green, a.Blue + b.Blue);

        public static Rgb operator *(double factor, Rgb a) => new(factor * a.Red, factor * a.Green, factor * a.Blue);
    }

    /// <summary>Sums over rectangles of a picture, in which transparent pixels have the weight of their alpha.</summary>
    private readonly ref struct Area
    {
        // Whole numbers as long as the rectangle's edges are, so that nothing is rounded where nothing is resized.
        private const double White = 255;
        private const double Opaque = 255 * 255;

        private readonly ReadOnlySpan<byte> _rgba;
        private readonly int _height;
        private readonly int _width;
        private readonly Rgb _paper;
        private readonly Rgb _ground;

        public Area(PictureFile picture)
        {
            (_height, _width) = (picture.Height, picture.Width);
            _rgba = picture.Rgba;
            Sum border = Sum.Zero, all = Sum.Zero;
            for (int y = 0; y < _height; y++)
            {
                bool edge = y == 0 || y == _height - 1;
                for (int x = 0; x < _width; x++)
                {
                    Sum pixel = Pixel(y, x);
                    all += pixel;
                    if (edge || x == 0 || x == _width - 1)
                    {
                        border += pixel;
                    }
                }
            }

            _paper = Paper(border, all);
            _ground = border.On(_paper);
        }

        /// <summary>The picture in the middle of a canvas of the given proportions; both scales are then the same.</summary>
        public Rgb[] Resize(int height, int width)
        {
            double scale = Math.Max((double)_width / width, (double)_height / height);
            double left = ((width * scale) - _width) / 2;
            double top = ((height * scale) - _height) / 2;
            Rgb[] pixels = new Rgb[height * width];
            for (int y = 0; y < height; y++)
            {
                for (int x = 0; x < width; x++)
                {
                    pixels[(y * width) + x] = Mean((x * scale) - left, (y * scale) - top, scale);
                }
            }

            return pixels;
        }

        // Mean over the square of the given side; what lies outside the picture is ground.
        private Rgb Mean(double left, double top, double side)
        {
            Sum sum = Sum.Zero;
            int lastY = Math.Min(_height - 1, (int)Math.Ceiling(top + side) - 1);
            int lastX = Math.Min(_width - 1, (int)Math.Ceiling(left + side) - 1);
            for (int y = Math.Max(0, (int)Math.Floor(top)); y <= lastY; y++)
            {
                double rows = Math.Min(top + side, y + 1) - Math.Max(top, y);
                for (int x = Math.Max(0, (int)Math.Floor(left)); x <= lastX; x++)
                {
                    sum += rows * (Math.Min(left + side, x + 1) - Math.Max(left, x)) * Pixel(y, x);
                }
            }

            double outside = Math.Max(0, 1 - (sum.Area / (side * side)));
            return sum.Area == 0 ? _ground : ((1 - outside) * sum.On(_paper)) + (outside * _ground);
        }

        private Sum Pixel(int y, int x)
        {
            ReadOnlySpan<byte> rgba = _rgba.Slice(((y * _width) + x) * 4, 4);
            double alpha = rgba[3];
            return new(new(alpha * rgba[0], alpha * rgba[1], alpha * rgba[2]), alpha, 1);
        }

        // What shows through: where the border is opaque, its colour; where the ground itself is transparent, white behind dark
        // ink and black behind light ink.
        private static Rgb Paper(Sum border, Sum all)
        {
            if (border.Alpha >= border.Area * White / 2)
            {
                return border.Ink;
            }

            double paper = all.Alpha > 0 && all.Ink.Gray > 0.5 ? 0 : 1;
            return new(paper, paper, paper);
        }

        /// <param name="Color">Sum of colour times alpha, each from 0 to 255.</param>
        /// <param name="Alpha">Sum of alpha.</param>
        /// <param name="Area">Number of pixels.</param>
        private readonly record struct Sum(Rgb Color, double Alpha, double Area)
        {
            public static Sum Zero => default;

            /// <summary>Mean colour of what is not transparent, 0 to 1.</summary>
            public Rgb Ink => new(Color.Red / (White * Alpha), Color.Green / (White * Alpha), Color.Blue / (White * Alpha));

            public static Sum operator +(Sum a, Sum b) => new(a.Color + b.Color, a.Alpha + b.Alpha, a.Area + b.Area);

            public static Sum operator *(double factor, Sum a) => new(factor * a.Color, factor * a.Alpha, factor * a.Area);

            /// <summary>Mean colour over paper, 0 to 1.</summary>
            public Rgb On(Rgb paper)
            {
                double all = Opaque * Area;
                double through = 1 - (Alpha / (White * Area));
                return new(
                    (Color.Red / all) + (through * paper.Red), (Color.Green / all) + (through * paper.Green),
                    (Color.Blue / all) + (through * paper.Blue));
            }
        }
    }
}
