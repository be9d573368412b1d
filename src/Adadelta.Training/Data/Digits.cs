using System.Numerics;
using System.Runtime.InteropServices;
using Adadelta.Native;

namespace Adadelta.Training;

/// <summary>
/// Handwritten-looking digits drawn by code: the data set that needs no file and no network. Each image is a way of writing its
/// digit (several a digit), with jittered knots, slant, rotation, proportions, elastic distortion, pen width and noise of its
/// own, fitted and centred as MNIST's are: 28x28 bytes, the ink in a box of 20x20, its centre of mass in the middle.
/// </summary>
public static class Digits
{
    /// <summary>Rows and columns of an image.</summary>
    public const int Size = 28;

    /// <summary>Number of classes.</summary>
    public const int Classes = 10;

    // Streams of the generator: "digits" in ASCII, so that no other use of a seed draws the same numbers.
    private const ulong TrainStream = 0x6469_6769_7473_0000;
    private const ulong TestStream = TrainStream + 1;

    private const int ChunkImages = 256;

    /// <summary>Draws the data set. The same arguments give the same bytes on every machine and any number of threads.</summary>
    /// <param name="seed">Key of all that is drawn.</param>
    /// <param name="train">Training images, at least 1. Image i shows the digit i % 10: every 10 in a row are balanced.</param>
    /// <param name="test">Test images, at least 1; drawn from another stream than the training images.</param>
    /// <returns>The set <c>digits</c> with source <c>embedded</c>.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A count is below 1 or its pixels exceed an array.</exception>
    public static DataSplit Create(ulong seed = 1, int train = 60_000, int test = 10_000)
    {
        CheckCount(train, nameof(train));
        CheckCount(test, nameof(test));

        // Where the native library cannot be loaded, that is what is thrown, and not the loop's collection of it.
        Philox.Bits([], seed, TrainStream);
        var (trainSet, testSet) = (Draw("digits train", seed, TrainStream, train), Draw("digits test", seed, TestStream, test));
        return new("digits", trainSet, testSet, "embedded");
    }

    private static void CheckCount(int count, string name)
    {
        var most = Array.MaxLength / (Size * Size);
        Require.That(count >= 1 && count <= most, name, count, $"1 <= {name} <= {most}");
    }

    private static ImageDataset Draw(string name, ulong seed, ulong stream, int count)
    {
        var pixels = new byte[count * Size * Size];
        var labels = new byte[count];
        Parallel.For(0, (count + ChunkImages - 1) / ChunkImages, () => new DigitPen(), (chunk, _, pen) =>
        {
            var end = Math.Min(count, (chunk + 1) * ChunkImages);
            for (var i = chunk * ChunkImages; i < end; i++)
            {
                labels[i] = (byte)(i % Classes);
                Philox.Bits(pen.Words, seed, stream, (ulong)i * DigitPen.WordsPerImage);
                pen.Draw(labels[i], pixels.AsSpan(i * Size * Size, Size * Size));
            }
            return pen;
        }, _ => { });
        return new(name, 1, Size, Size, Classes, pixels, labels);
    }
}

/// <summary>Draws one digit from one image's random words. Holds the buffers, so that drawing allocates nothing.</summary>
/// <remarks>
/// Only additions, multiplications, divisions and square roots of IEEE floats, so that every machine draws the same bytes:
/// library functions, and those of Vector2 that may fuse a multiplication with an addition, differ in the last bit.
/// </remarks>
internal sealed class DigitPen
{
    // An image's words: those drawn one by one, a byte of pressure for each point, a byte of grain for each pixel.
    private const int DrawnWords = 162;
    private const int PressureWords = MaxPoints / 4;
    private const int GrainWords = FieldSize * FieldSize / 4;

    /// <summary>How many random words an image needs.</summary>
    public const int WordsPerImage = DrawnWords + PressureWords + GrainWords;

    // MNIST's digits were scaled into a box of 20x20 pixels; the field leaves room for the pen's soft edge.
    private const float InkBox = 20;
    private const int FieldSize = 24;
    private const int PatchKnots = 5;
    private const int MaxSubdivisions = 6;
    private const int MaxPoints = DigitOutline.MaxKnots * (MaxSubdivisions + 1);

    private readonly uint[] _words = new uint[WordsPerImage];
    private readonly Vector2[] _knots = new Vector2[DigitOutline.MaxKnots];
    private readonly Vector2[] _patch = new Vector2[PatchKnots * PatchKnots];
    private readonly Vector2[] _points = new Vector2[MaxPoints];
    private readonly bool[] _lifts = new bool[MaxPoints];
    private readonly float[] _field = new float[FieldSize * FieldSize];
    private readonly byte[] _ink = new byte[FieldSize * FieldSize];
    private int _next;
    private int _count;

    /// <summary>The image's random words: fill them before each <see cref="Draw"/>.</summary>
    public Span<uint> Words => _words;

    public void Draw(int digit, Span<byte> image)
    {
        _next = 0;
        var outline = Choose(DigitOutline.All[digit]);
        PlaceKnots(outline);
        Trace(outline);
        Distort(digit);
        Rasterize(Fit(digit));
        Shade();
        Centre(image);
    }

    private uint Word() => _words.AsSpan(0, DrawnWords)[_next++];

    private ReadOnlySpan<byte> Pressure => MemoryMarshal.AsBytes(_words.AsSpan(DrawnWords, PressureWords));

    private ReadOnlySpan<byte> Grain => MemoryMarshal.AsBytes(_words.AsSpan(DrawnWords + PressureWords, GrainWords));

    private float Uniform() => (Word() >> 8) * (1f / (1 << 24));

    private float Uniform(float from, float to) => from + (to - from) * Uniform();

    /// <summary>Nearly normal, variance 1, never beyond 3.5: the sum of four uniform bytes.</summary>
    private float Normal()
    {
        var w = Word();
        return ((int)((w & 255) + ((w >> 8) & 255) + ((w >> 16) & 255) + (w >> 24)) - 510) * (1f / 147.8f);
    }

    private Vector2 Normal2() => new(Normal(), Normal());

    private DigitOutline Choose(DigitOutline[] ways)
    {
        var total = 0;
        foreach (var way in ways)
        {
            total += way.Weight;
        }
        var at = Uniform() * total;
        foreach (var way in ways)
        {
            at -= way.Weight;
            if (at < 0)
            {
                return way;
            }
        }
        return ways[^1];
    }

    /// <summary>Mixes the outline's masters, mostly near one of them, and lets every knot stray.</summary>
    private void PlaceKnots(DigitOutline outline)
    {
        Span<float> share = stackalloc float[DigitOutline.MaxMasters];
        float sum = 0;
        for (var m = 0; m < outline.Masters; m++)
        {
            var u = Uniform();
            share[m] = u * u * u * u + 0.01f;
            sum += share[m];
        }
        Vector2 offset = default;
        var jitter = Uniform(0.5f, 4.5f);
        for (var k = 0; k < outline.Knots; k++)
        {
            // The ends of a stroke vary most, and strokes stand a little differently to each other.
            var starts = k == 0 || outline.EndsStroke[k - 1];
            if (starts && k > 0)
            {
                offset = Normal2() * 2;
            }
            var at = offset + Normal2() * (starts || outline.EndsStroke[k] ? jitter * 1.6f : jitter);
            for (var m = 0; m < outline.Masters; m++)
            {
                at += outline.Knot(m, k) * (share[m] / sum);
            }
            _knots[k] = at;
        }
    }

    /// <summary>Turns the knots into points on the pen's path: cubic Hermite pieces, Catmull-Rom where there is no corner.</summary>
    private void Trace(DigitOutline outline)
    {
        var rounding = Math.Max(0, Uniform(-0.5f, 0.4f));
        _count = 0;
        var first = 0;
        for (var k = 0; k < outline.Knots; k++)
        {
            if (k == first)
            {
                AddPoint(_knots[k]);
            }
            if (outline.EndsStroke[k])
            {
                _lifts[_count - 1] = true;
                first = k + 1;
                continue;
            }
            Vector2 from = _knots[k], to = _knots[k + 1], chord = to - from;
            Vector2? start = k == first ? null : Tangent(k, chord, outline.Corner[k], rounding);
            Vector2? end = outline.EndsStroke[k + 1] ? null : Tangent(k + 1, chord, outline.Corner[k + 1], rounding);

            // A free end bends as little as the other end lets it.
            var m0 = start ?? (end is { } e ? 1.5f * chord - 0.5f * e : chord);
            var m1 = end ?? (start is { } s ? 1.5f * chord - 0.5f * s : chord);
            var parts = Math.Clamp((int)(chord.Length() * (1 / 7f)) + 1, 1, MaxSubdivisions);
            for (var i = 1; i <= parts; i++)
            {
                float t = i / (float)parts, t2 = t * t, t3 = t2 * t;
                AddPoint((2 * t3 - 3 * t2 + 1) * from + (t3 - 2 * t2 + t) * m0 + (3 * t2 - 2 * t3) * to + (t3 - t2) * m1);
            }
        }
    }

    private Vector2 Tangent(int knot, Vector2 chord, bool corner, float rounding)
    {
        var smooth = 0.5f * (_knots[knot + 1] - _knots[knot - 1]);
        return corner ? chord + rounding * (smooth - chord) : smooth;
    }

    private void AddPoint(Vector2 at)
    {
        _points[_count] = at;
        _lifts[_count++] = false;
    }

    /// <summary>Moves the points: a smooth random field (a cubic B-spline patch), then proportions, slant and rotation.</summary>
    private void Distort(int digit)
    {
        var aspect = Uniform(0.7f, 1.4f) * digit switch
        {
            0 or 2 or 6 => Uniform(0.8f, 1.7f),
            1 => 0.8f,
            _ => Uniform(0.85f, 1.4f),
        };
        var slant = 0.15f + 0.26f * Normal();
        var turn = 0.1f * Normal();
        var taper = 0.1f * Normal();
        var waist = 0.13f * Normal();

        // cos and sin to third order; the angle is small.
        float cos = 1 - turn * turn / 2, sin = turn - turn * turn * turn / 6;
        var strength = Uniform(0, 18);
        for (var i = 0; i < _patch.Length; i++)
        {
            _patch[i] = Normal2() * strength;
        }
        for (var i = 0; i < _count; i++)
        {
            var p = _points[i] - new Vector2(30, 50) + Patch((_points[i].X + 10) * (1 / 80f), (_points[i].Y + 10) * (1 / 120f));
            p.Y += waist * (50 - p.Y * p.Y * (1 / 50f));
            var x = p.X * aspect * (1 + taper * p.Y * 0.02f) - slant * p.Y;
            _points[i] = new(cos * x - sin * p.Y, sin * x + cos * p.Y);
        }
    }

    private Vector2 Patch(float u, float v)
    {
        const int Cells = PatchKnots - 3;
        u = Math.Clamp(u, 0, 0.9999f) * Cells;
        v = Math.Clamp(v, 0, 0.9999f) * Cells;
        int column = (int)u, row = (int)v;
        Vector4 across = Basis(u - column), down = Basis(v - row);
        Vector2 sum = default;
        for (var i = 0; i < 4; i++)
        {
            var knots = _patch.AsSpan((row + i) * PatchKnots + column, 4);
            sum += down[i] * (across.X * knots[0] + across.Y * knots[1] + across.Z * knots[2] + across.W * knots[3]);
        }
        return sum;
    }

    private static Vector4 Basis(float t)
    {
        float s = 1 - t, t2 = t * t, t3 = t2 * t;
        return new Vector4(s * s * s, 3 * t3 - 6 * t2 + 4, -3 * t3 + 3 * t2 + 3 * t + 1, t3) * (1 / 6f);
    }

    /// <summary>Scales the points to pixels, so that the ink fills its box amid the field. Returns the pen's radius.</summary>
    private float Fit(int digit)
    {
        const float SoftEdge = 0.3f;
        // A 1 is often a single bold stroke.
        var radius = Math.Clamp(1.3f + (digit == 1 ? 0.6f : 0.43f) * Normal(), 0.75f, 2.9f);
        Vector2 low = _points[0], high = _points[0];
        for (var i = 1; i < _count; i++)
        {
            low = Vector2.Min(low, _points[i]);
            high = Vector2.Max(high, _points[i]);
        }
        var extent = high - low;
        var scale = (InkBox - 2 * (radius + SoftEdge)) / Math.Max(1, Math.Max(extent.X, extent.Y));
        var middle = 0.5f * (low + high);
        Vector2 centre = new(FieldSize / 2 + Uniform(-0.5f, 0.5f), FieldSize / 2 + Uniform(-0.5f, 0.5f));
        for (var i = 0; i < _count; i++)
        {
            _points[i] = (_points[i] - middle) * scale + centre;
        }
        return radius;
    }

    /// <summary>Leaves in each pixel of the field how far inside the ink its centre is (negative: outside).</summary>
    private void Rasterize(float radius)
    {
        const float Reach = 1.3f;
        _field.AsSpan().Fill(-FieldSize);
        var uneven = 0.18f * Normal();
        var wobble = Uniform(0, 0.12f);
        var pressure = Normal();
        for (var i = 0; i + 1 < _count; i++)
        {
            // The pen's pressure drifts along its path.
            pressure = 0.8f * pressure + (Pressure[i] - 127.5f) * (1 / 148f);
            if (_lifts[i])
            {
                continue;
            }
            var r = radius * Math.Max(0.5f, 1 + uneven * (2 * i / (float)_count - 1) + wobble * pressure);
            Vector2 a = _points[i], b = _points[i + 1], d = b - a;
            var inverse = 1 / Math.Max(1e-6f, d.LengthSquared());
            var (left, right) = Range(a.X, b.X, r + Reach);
            var (top, bottom) = Range(a.Y, b.Y, r + Reach);
            for (var y = top; y <= bottom; y++)
            {
                var py = y + 0.5f - a.Y;
                for (var x = left; x <= right; x++)
                {
                    var px = x + 0.5f - a.X;
                    var t = Math.Clamp((px * d.X + py * d.Y) * inverse, 0, 1);
                    float dx = px - t * d.X, dy = py - t * d.Y;
                    ref var at = ref _field[y * FieldSize + x];
                    at = Math.Max(at, r - MathF.Sqrt(dx * dx + dy * dy));
                }
            }
        }

        static (int From, int To) Range(float a, float b, float reach) =>
            (Math.Max(0, (int)(Math.Min(a, b) - reach)), Math.Min(FieldSize - 1, (int)(Math.Max(a, b) + reach)));
    }

    /// <summary>Turns depths into grey: full ink inside, and an edge as soft and as rough as a scanner leaves it.</summary>
    private void Shade()
    {
        float softness = Uniform(0.9f, 1.3f), rough = Uniform(0f, 0.5f), ink = Uniform(250, 255.99f);
        for (var i = 0; i < _field.Length; i++)
        {
            var inside = _field[i] + rough * (Grain[i] * (1 / 127.5f) - 1);
            _ink[i] = (byte)(Math.Clamp(inside / softness + 0.5f, 0, 1) * ink);
        }
    }

    /// <summary>
    /// Copies the field into the image, moved by whole pixels so that the centre of mass of the ink comes to pixel 14, 14, where
    /// MNIST has it, give or take one pixel.
    /// </summary>
    private void Centre(Span<byte> image)
    {
        const int Middle = Digits.Size / 2;
        int mass = 0, across = 0, down = 0;
        for (var i = 0; i < _ink.Length; i++)
        {
            mass += _ink[i];
            across += _ink[i] * (i % FieldSize);
            down += _ink[i] * (i / FieldSize);
        }
        var left = Middle - Nearest(across / (float)mass + Uniform(-0.5f, 0.5f));
        var top = Middle - Nearest(down / (float)mass + Uniform(-0.5f, 0.5f));
        image.Clear();
        for (var y = Math.Max(0, -top); y < Math.Min(FieldSize, Digits.Size - top); y++)
        {
            var from = Math.Max(0, -left);
            var count = Math.Min(FieldSize, Digits.Size - left) - from;
            _ink.AsSpan(y * FieldSize + from, count).CopyTo(image[((y + top) * Digits.Size + from + left)..]);
        }

        static int Nearest(float value) => (int)(value + 0.5f);
    }
}
