using System.Numerics;
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

    /// <summary>Draws the data set. The same arguments give the same bytes on every machine, with any number of threads.</summary>
    /// <param name="seed">Key of all that is drawn.</param>
    /// <param name="train">Training images, at least 1. Image i shows the digit i % 10, so every 10 in a row are balanced.</param>
    /// <param name="test">Test images, at least 1; drawn from another stream than the training images.</param>
    /// <returns>The set <c>digits</c> with source <c>embedded</c>.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A count is below 1 or its pixels exceed an array.</exception>
    public static DataSplit Create(ulong seed = 1, int train = 60_000, int test = 10_000)
    {
        CheckCount(train, nameof(train));
        CheckCount(test, nameof(test));
        return new("digits", Draw("digits train", seed, TrainStream, train), Draw("digits test", seed, TestStream, test), "embedded");
    }

    private static void CheckCount(int count, string name)
    {
        int most = Array.MaxLength / (Size * Size);
        if (count < 1 || count > most)
        {
            throw new ArgumentOutOfRangeException(name, $"{name}: {count}, expected 1 <= {name} <= {most}");
        }
    }

    private static ImageDataset Draw(string name, ulong seed, ulong stream, int count)
    {
        byte[] pixels = new byte[count * Size * Size];
        byte[] labels = new byte[count];
        Parallel.For(0, (count + ChunkImages - 1) / ChunkImages, () => new DigitPen(), (chunk, _, pen) =>
        {
            int end = Math.Min(count, (chunk + 1) * ChunkImages);
            for (int i = chunk * ChunkImages; i < end; i++)
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
/// <remarks>Only additions, multiplications, divisions and square roots of IEEE floats, so that every machine draws the same bytes.</remarks>
internal sealed class DigitPen
{
    public const int WordsPerImage = 384;

    private const int Size = Digits.Size;
    private const float InkBox = 20;
    private const int PatchKnots = 5;
    private const int MaxSubdivisions = 6;
    private const int MaxPoints = DigitOutline.MaxKnots * (MaxSubdivisions + 1);

    private readonly uint[] _words = new uint[WordsPerImage];
    private readonly Vector2[] _knots = new Vector2[DigitOutline.MaxKnots];
    private readonly Vector2[] _patch = new Vector2[PatchKnots * PatchKnots];
    private readonly Vector2[] _points = new Vector2[MaxPoints];
    private readonly bool[] _lifts = new bool[MaxPoints];
    private readonly float[] _field = new float[Size * Size];
    private int _next;
    private int _count;

    /// <summary>The image's random words: fill them before each <see cref="Draw"/>.</summary>
    public Span<uint> Words => _words;

    public void Draw(int digit, Span<byte> image)
    {
        _next = 0;
        DigitOutline outline = Choose(DigitOutline.All[digit]);
        PlaceKnots(outline);
        Trace(outline);
        Distort(digit);
        float radius = Fit();
        Rasterize(radius);
        Shade(image);
    }

    private float Uniform() => (_words[_next++] >> 8) * (1f / (1 << 24));

    private float Uniform(float from, float to) => from + (to - from) * Uniform();

    /// <summary>Nearly normal, variance 1, never beyond 3.5: the sum of four uniform bytes.</summary>
    private float Normal()
    {
        uint w = _words[_next++];
        return ((int)((w & 255) + ((w >> 8) & 255) + ((w >> 16) & 255) + (w >> 24)) - 510) * (1f / 147.8f);
    }

    private DigitOutline Choose(DigitOutline[] ways)
    {
        int total = 0;
        foreach (DigitOutline way in ways)
        {
            total += way.Weight;
        }

        float at = Uniform() * total;
        foreach (DigitOutline way in ways)
        {
            at -= way.Weight;
            if (at < 0)
            {
                return way;
            }
        }

        return ways[^1];
    }

    private void PlaceKnots(DigitOutline outline)
    {
        Span<float> share = stackalloc float[DigitOutline.MaxMasters];
        float sum = 0;
        for (int m = 0; m < outline.Masters; m++)
        {
            float u = Uniform();
            share[m] = u * u * u * u + 0.01f;
            sum += share[m];
        }

        Vector2 offset = default;
        float jitter = Uniform(0.5f, 4.5f);
        for (int k = 0; k < outline.Knots; k++)
        {
            // The ends of a stroke vary most, and strokes stand a little differently to each other.
            bool starts = k == 0 || outline.EndsStroke[k - 1];
            if (starts && k > 0)
            {
                offset = new Vector2(Normal(), Normal()) * 2;
            }

            float reach = starts || outline.EndsStroke[k] ? jitter * 1.6f : jitter;
            Vector2 at = offset + new Vector2(Normal(), Normal()) * reach;
            for (int m = 0; m < outline.Masters; m++)
            {
                int from = m * outline.Knots + k;
                at += new Vector2(outline.X[from], outline.Y[from]) * (share[m] / sum);
            }

            _knots[k] = at;
        }
    }

    /// <summary>Turns the knots into points along the pen's path.</summary>
    private void Trace(DigitOutline outline)
    {
        float rounding = Math.Max(0, Uniform(-0.6f, 0.8f));
        _count = 0;
        int first = 0;
        for (int k = 0; k < outline.Knots; k++)
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
            bool startsFree = k == first, endsFree = outline.EndsStroke[k + 1];
            Vector2? start = startsFree ? null : Tangent(k, chord, outline.Corner[k], rounding);
            Vector2? end = endsFree ? null : Tangent(k + 1, chord, outline.Corner[k + 1], rounding);

            // A free end bends as little as the other end lets it.
            Vector2 m0 = start ?? (end is { } e ? 1.5f * chord - 0.5f * e : chord);
            Vector2 m1 = end ?? (start is { } s ? 1.5f * chord - 0.5f * s : chord);
            int parts = Math.Clamp((int)(chord.Length() * (1 / 7f)) + 1, 1, MaxSubdivisions);
            for (int i = 1; i <= parts; i++)
            {
                float t = i / (float)parts, t2 = t * t, t3 = t2 * t;
                AddPoint((2 * t3 - 3 * t2 + 1) * from + (t3 - 2 * t2 + t) * m0 + (3 * t2 - 2 * t3) * to + (t3 - t2) * m1);
            }
        }
    }

    private Vector2 Tangent(int knot, Vector2 chord, bool corner, float rounding)
    {
        Vector2 smooth = 0.5f * (_knots[knot + 1] - _knots[knot - 1]);
        return corner ? Vector2.Lerp(chord, smooth, rounding) : smooth;
    }

    private void AddPoint(Vector2 at)
    {
        _points[_count] = at;
        _lifts[_count++] = false;
    }

    /// <summary>Proportions, slant, rotation, then a smooth random field (a cubic B-spline patch), all on the points.</summary>
    private void Distort(int digit)
    {
        float aspect = Uniform(0.7f, 1.4f) * digit switch { 0 => Uniform(0.8f, 1.7f), 1 => 0.8f, _ => Uniform(0.9f, 1.35f) };
        float slant = 0.15f + 0.26f * Normal();
        float turn = 0.1f * Normal();
        float taper = 0.1f * Normal();
        float waist = 0.13f * Normal();

        // cos and sin to third order: library functions may differ in the last bit from machine to machine.
        float cos = 1 - turn * turn / 2, sin = turn - turn * turn * turn / 6;
        float strength = Uniform(0, 18);
        for (int i = 0; i < _patch.Length; i++)
        {
            _patch[i] = new Vector2(Normal(), Normal()) * strength;
        }

        for (int i = 0; i < _count; i++)
        {
            Vector2 p = (_points[i] - new Vector2(30, 50));
            p += Patch((_points[i].X + 10) * (1 / 80f), (_points[i].Y + 10) * (1 / 120f));
            p.Y += waist * (50 - p.Y * p.Y * (1 / 50f));
            float x = p.X * aspect * (1 + taper * p.Y * 0.02f) - slant * p.Y;
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
        for (int i = 0; i < 4; i++)
        {
            int at = (row + i) * PatchKnots + column;
            sum += down[i] * (across.X * _patch[at] + across.Y * _patch[at + 1] + across.Z * _patch[at + 2] + across.W * _patch[at + 3]);
        }

        return sum;
    }

    private static Vector4 Basis(float t)
    {
        float s = 1 - t, t2 = t * t, t3 = t2 * t;
        return new Vector4(s * s * s, 3 * t3 - 6 * t2 + 4, -3 * t3 + 3 * t2 + 3 * t + 1, t3) * (1 / 6f);
    }

    /// <summary>Scales the points to pixels so that the ink fills a box of 20x20, its mass centred. Returns the pen's radius.</summary>
    private float Fit()
    {
        float radius = Math.Clamp(1.3f + 0.4f * Normal(), 0.8f, 2.7f);
        Vector2 low = _points[0], high = _points[0];
        for (int i = 1; i < _count; i++)
        {
            low = Vector2.Min(low, _points[i]);
            high = Vector2.Max(high, _points[i]);
        }

        Vector2 extent = high - low;
        float scale = (InkBox - 0.6f - 2 * radius) / Math.Max(1, Math.Max(extent.X, extent.Y));
        Vector2 moment = default;
        float mass = 0;
        for (int i = 0; i + 1 < _count; i++)
        {
            if (!_lifts[i])
            {
                float length = Vector2.Distance(_points[i], _points[i + 1]);
                moment += length * 0.5f * (_points[i] + _points[i + 1]);
                mass += length;
            }
        }

        // MNIST centres the mass on the corner of pixel 14, counted from pixel centres, by whole pixels.
        Vector2 centre = new(Size / 2f + Uniform(0f, 1f), Size / 2f + Uniform(0f, 1f));
        Vector2 middle = mass > 0 ? moment / mass : low;
        for (int i = 0; i < _count; i++)
        {
            _points[i] = (_points[i] - middle) * scale + centre;
        }

        return radius;
    }

    /// <summary>Leaves in each pixel of the field how far inside the ink its centre is (negative: outside).</summary>
    private void Rasterize(float radius)
    {
        const float Reach = 1.2f;
        _field.AsSpan().Fill(-Size);
        float uneven = 0.18f * Normal();
        float wobble = Uniform(0, 0.12f);
        float pressure = Normal();
        for (int i = 0; i + 1 < _count; i++)
        {
            // Pressure drifts along the path, and is a little different in every piece of it.
            uint w = _words[WordsPerImage - 1 - i % 64];
            float along = i / (float)_count - 0.5f;
            pressure += 0.5f * (((w >> 20) & 255) - 127.5f) * (1 / 74f) - 0.2f * pressure;
            if (_lifts[i])
            {
                continue;
            }

            float r = radius * Math.Max(0.5f, 1 + uneven * along * 2 + wobble * pressure);
            Vector2 a = _points[i], b = _points[i + 1], d = b - a;
            float inverse = 1 / Math.Max(1e-6f, d.LengthSquared());
            float reach = r + Reach;
            int left = Math.Max(0, (int)(Math.Min(a.X, b.X) - reach)), right = Math.Min(Size - 1, (int)(Math.Max(a.X, b.X) + reach));
            int top = Math.Max(0, (int)(Math.Min(a.Y, b.Y) - reach)), bottom = Math.Min(Size - 1, (int)(Math.Max(a.Y, b.Y) + reach));
            for (int y = top; y <= bottom; y++)
            {
                float py = y + 0.5f - a.Y;
                for (int x = left; x <= right; x++)
                {
                    float px = x + 0.5f - a.X;
                    float t = Math.Clamp((px * d.X + py * d.Y) * inverse, 0, 1);
                    float dx = px - t * d.X, dy = py - t * d.Y;
                    float inside = r - MathF.Sqrt(dx * dx + dy * dy);
                    ref float at = ref _field[y * Size + x];
                    at = Math.Max(at, inside);
                }
            }
        }
    }

    /// <summary>Turns depths into grey: full ink inside, a soft edge, noise where there is ink.</summary>
    private void Shade(Span<byte> image)
    {
        float softness = Uniform(0.9f, 1.3f), rough = Uniform(0.1f, 0.6f), ink = Uniform(250, 255.99f);
        ReadOnlySpan<byte> grain = System.Runtime.InteropServices.MemoryMarshal.AsBytes(_words.AsSpan(WordsPerImage - Size * Size / 4));
        for (int i = 0; i < image.Length; i++)
        {
            float inside = _field[i] + rough * (grain[i] * (1 / 127.5f) - 1);
            image[i] = (byte)(Math.Clamp(inside / softness + 0.5f, 0, 1) * ink);
        }
    }
}
