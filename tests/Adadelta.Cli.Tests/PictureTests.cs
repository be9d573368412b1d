using System.Text.RegularExpressions;
using Adadelta.Native;
using Adadelta.Training;

namespace Adadelta.Cli.Tests;

/// <summary>What a network is given of a picture, beside the pixels of the image that the picture was made from.</summary>
internal sealed class PictureTests
{
    private const int Size = 28;

    private static readonly ImageShape s_shape = new(1, Size, Size);
    private static readonly ImageDataset s_digits = Digits.Create(train: 500, test: 5).Train;
    private static readonly byte[] s_image = s_digits.Image(4).ToArray();
    private static readonly float[] s_input = [.. s_image.Select(pixel => pixel / 255f)];
    private static readonly PixelStatistics s_known = PixelStatistics.Of(s_digits);
    private static readonly PixelStatistics s_light = PixelStatistics.Of(Negative(s_digits));

    private static readonly (string Name, byte[] Png)[] s_kinds =
    [
        ("gray", Gray(Pixel)),
        ("gray of 16 bits", PngFile.Create(Size, Size, 16, PngFile.Gray, y => Bytes(y, pixel => [pixel, pixel]))),
        ("interlaced", PngFile.CreateInterlaced(Size, Size, y => Bytes(y, pixel => [pixel]))),
        ("palette", PngFile.Create(
            Size, Size, 8, PngFile.Palette, y => Bytes(y, pixel => [pixel]),
            PngFile.Chunk("PLTE"u8, [.. Enumerable.Range(0, 256).SelectMany(i => (byte[])[(byte)i, (byte)i, (byte)i])]))),
        ("colour", PngFile.Create(Size, Size, 8, PngFile.Rgb, y => Bytes(y, pixel => [pixel, pixel, pixel]))),
        ("colour of 16 bits", PngFile.Create(Size, Size, 16, PngFile.Rgb, y => Bytes(y, pixel => [pixel, pixel, pixel, pixel, pixel, pixel]))),
        ("white on transparency", PngFile.Create(Size, Size, 8, PngFile.GrayAlpha, y => Bytes(y, pixel => [255, pixel]))),
        ("colour, white on transparency", PngFile.Create(Size, Size, 8, PngFile.Rgba, y => Bytes(y, pixel => [255, 255, 255, pixel]))),
        ("opaque alpha", PngFile.Create(Size, Size, 8, PngFile.Rgba, y => Bytes(y, pixel => [pixel, pixel, pixel, 255]))),
    ];

    private static readonly (string Name, byte[] Png)[] s_negatives =
    [
        ("dark on light", Gray((y, x) => (byte)(255 - Pixel(y, x)))),
        ("black on transparency", PngFile.Create(Size, Size, 8, PngFile.GrayAlpha, y => Bytes(y, pixel => [0, pixel]))),
        ("palette with transparency", PngFile.Create(
            Size, Size, 8, PngFile.Palette, y => Bytes(y, pixel => [pixel]),
            PngFile.Chunk("PLTE"u8, new byte[3 * 256]), PngFile.Chunk("tRNS"u8, [.. Enumerable.Range(0, 256).Select(i => (byte)i)]))),
    ];

    private static IEnumerable<TestCaseData> Kinds => s_kinds.Select(kind => new TestCaseData(kind.Png).SetArgDisplayNames(kind.Name));

    private static IEnumerable<TestCaseData> Negatives => s_negatives.Select(kind => new TestCaseData(kind.Png).SetArgDisplayNames(kind.Name));

    [TestCaseSource(nameof(Kinds))]
    public void A_picture_of_an_image_gives_its_pixels_to_the_bit(byte[] png)
    {
        (float[] input, string description) = Read(png, s_known);
        Assert.That(input, Is.EqualTo(s_input));
        Assert.That(description, Is.EqualTo("28x28 pixels"));
    }

    // 1 - (1 - p) is rounded, once for each of the two.
    [TestCaseSource(nameof(Negatives))]
    public void A_negative_of_the_training_images_is_inverted(byte[] png)
    {
        (float[] input, string description) = Read(png, s_known);
        Assert.That(input, Is.EqualTo(s_input).Within(1e-6));
        Assert.That(description, Is.EqualTo("28x28 pixels, inverted (a negative of the training images)"));
    }

    // The same pictures for a network that was trained on dark ink on light ground: the other ones are the negatives.
    [Test]
    public void Which_picture_is_a_negative_is_told_by_the_training_images_and_not_by_the_picture()
    {
        float[] negative = [.. s_input.Select(value => 1 - value)];
        foreach ((string name, byte[] png) in s_kinds)
        {
            (float[] input, string description) = Read(png, s_light);
            Assert.That(input, Is.EqualTo(negative).Within(1e-6), name);
            Assert.That(description, Does.Contain("inverted"), name);
        }

        foreach ((string name, byte[] png) in s_negatives)
        {
            (float[] input, string description) = Read(png, s_light);
            Assert.That(input, Is.EqualTo(negative).Within(1e-6), name);
            Assert.That(description, Is.EqualTo("28x28 pixels"), name);
        }
    }

    [Test]
    public void No_training_image_is_taken_for_a_negative()
    {
        foreach (ImageDataset images in (ImageDataset[])[s_digits, Negative(s_digits)])
        {
            PixelStatistics known = PixelStatistics.Of(images);
            for (int i = 0; i < images.Count; i++)
            {
                Assert.That(known.IsNegative([.. images.Image(i).ToArray().Select(pixel => pixel / 255f)], images.Shape), Is.False, $"{i}");
            }
        }
    }

    [Test]
    public void Inversion_can_be_asked_for_and_forbidden()
    {
        Assert.That(Read(s_kinds[0].Png, s_known, Inversion.Yes).Input, Is.EqualTo(s_input.Select(value => 1 - value)));
        Assert.That(Read(s_negatives[0].Png, s_known, Inversion.No).Input, Is.EqualTo(s_input.Select(value => 1 - value)).Within(1e-6));
    }

    // The expected places are written out by the standard's own words: 3 is turned by half, 6 is to be turned by a quarter to the
    // right, 8 to the left, 2, 4, 5 and 7 are mirrored.
    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    [TestCase(4)]
    [TestCase(5)]
    [TestCase(6)]
    [TestCase(7)]
    [TestCase(8)]
    public void Exif_orientation_is_obeyed(int orientation)
    {
        const int Last = Size - 1;
        byte Stored(int y, int x) => orientation switch
        {
            2 => Pixel(y, Last - x),
            3 => Pixel(Last - y, Last - x),
            4 => Pixel(Last - y, x),
            5 => Pixel(x, y),
            6 => Pixel(x, Last - y),
            7 => Pixel(Last - x, Last - y),
            8 => Pixel(Last - x, y),
            _ => Pixel(y, x),
        };
        foreach (bool bigEndian in (bool[])[true, false])
        {
            byte[] png = PngFile.Create(
                Size, Size, 8, PngFile.Gray, y => [.. Enumerable.Range(0, Size).Select(x => Stored(y, x))],
                PngFile.Orientation((byte)orientation, bigEndian));
            (float[] input, string description) = Read(png, s_known);
            Assert.That(input, Is.EqualTo(s_input));
            Assert.That(description, Is.EqualTo(orientation == 1 ? "28x28 pixels" : "28x28 pixels, turned upright (EXIF)"));
        }
    }

    [Test]
    public void A_turned_picture_that_is_not_square_is_fitted_upright()
    {
        // 10 times as large, and 280 wide by 140 high once it is turned: its ground fills the rest.
        byte[] png = PngFile.Create(
            140, 280, 8, PngFile.Gray, y => [.. Enumerable.Range(0, 140).Select(x => Pixel(7 + ((139 - x) / 10), y / 10))],
            PngFile.Orientation(8, bigEndian: true));
        (float[] input, string description) = Read(png, s_known, Inversion.No);
        Assert.That(description, Does.StartWith("140x280 pixels, turned upright (EXIF), resized to 28x28"));
        for (int y = 7; y < 21; y++)
        {
            for (int x = 0; x < Size; x++)
            {
                // A mean of a hundred equal values, rounded in double and then in float.
                Assert.That(input[(y * Size) + x], Is.EqualTo(Pixel(y, x) / 255f).Within(1e-6));
            }
        }

        Assert.That(input[..(7 * Size)], Has.All.EqualTo(input[0]), "ground above");
        Assert.That(input[(21 * Size)..], Has.All.EqualTo(input[0]), "ground below");
    }

    [Test]
    public void A_colour_network_is_given_red_green_and_blue()
    {
        byte[] png = PngFile.Create(2, 2, 8, PngFile.Rgb, y => y == 0 ? [255, 0, 0, 0, 255, 0] : [0, 0, 255, 51, 102, 153]);
        using PictureFile picture = PictureFile.Read(PngFile.Write(png));
        float[] expected = [1, 0, 0, 0.2f, 0, 1, 0, 0.4f, 0, 0, 1, 0.6f];
        Assert.That(PictureInput.Of(picture, new(3, 2, 2), Inversion.Auto, s_known).Input, Is.EqualTo(expected));
    }

    [TestCase(0)]
    [TestCase(255)]
    public void A_blank_picture_is_said_to_be_blank(byte value)
    {
        (float[] input, string description) = Read(PngFile.Create(50, 40, 8, PngFile.Gray, _ => [.. Enumerable.Repeat(value, 50)]), s_known);
        Assert.That(description, Does.EndWith("blank: all of one colour"));
        Assert.That(input, Has.All.EqualTo(0f), "ground, as the training images have it");
    }

    [TestCase(60_000, 60_000, "60000x60000 = 3600000000 pixels, expected at most 67108864")]
    [TestCase(int.MaxValue, int.MaxValue, "2147483647x2147483647 = 4611686014132420609 pixels, expected at most 67108864")]
    [TestCase(8193, 8192, "8193x8192 = 67117056 pixels, expected at most 67108864")]
    public void A_header_that_asks_for_too_many_pixels_is_refused(int width, int height, string message)
    {
        string path = PngFile.Write(PngFile.Create(width, height, 8, PngFile.Gray, interlaced: false, new byte[60_001], []));
        Assert.That(() => PictureFile.Read(path), Throws.TypeOf<InvalidDataException>().With.Message.EqualTo($"image '{path}': {message}"));
    }

    [Test]
    public void A_file_that_is_cut_off_is_refused_wherever_it_is_cut()
    {
        foreach (byte[] png in (byte[][])[s_kinds[0].Png, s_kinds[2].Png])
        {
            // The end is that of the pixels: what follows them is no loss.
            int end = png.AsSpan().IndexOf("IEND"u8) - 4 - 4 - 4;
            for (int length = 0; length < end; length += length < 60 ? 1 : 7)
            {
                string path = PngFile.Write(png[..length]);
                Assert.That(() => PictureFile.Read(path).Dispose(), Throws.TypeOf<InvalidDataException>().With.Message.StartsWith($"image '{path}': "), $"{length}");
                File.Delete(path);
            }
        }
    }

    [Platform("Linux")]
    [Test]
    public void A_device_without_an_end_is_refused() => Assert.That(
        () => PictureFile.Read("/dev/zero"),
        Throws.TypeOf<InvalidDataException>().With.Message.EqualTo("image '/dev/zero': a file of more than 268435456 bytes, expected a picture"));

    [Test]
    public void A_network_trained_on_gray_pictures_on_light_ground_reads_them_as_png_as_well_as_by_index()
    {
        const int Count = 60;
        string data = GrayBars(400, Count, out byte[][] images);
        string output = TestFolder.New("gray");
        ToolResult training = Tool.Run(
            "train", "--data", data, "--network", TestFolder.Write("net.json", Bars.Network), "--epochs", "60", "--batch-size", "10",
            "--output", output);
        Assert.That(training.ExitCode, Is.Zero, training.Error);
        string[] pictures = [.. images.Select(image => PngFile.Write(
            PngFile.Create(Bars.Size, Bars.Size, 8, PngFile.Gray, y => image[(y * Bars.Size)..((y + 1) * Bars.Size)])))];
        string[] byIndex = Answers(Tool.Run(["predict", "--model", output, .. Enumerable.Range(0, Count).Select(i => $"{i}")]));
        string[] byFile = Answers(Tool.Run(["predict", "--model", output, .. pictures]));
        Assert.That(byFile, Is.EqualTo(byIndex));
        Assert.That(
            byFile.Zip(Enumerable.Range(0, Count)).Count(pair => pair.First.StartsWith($": {pair.Second % Bars.Classes} ", StringComparison.Ordinal)),
            Is.EqualTo(Count), "all are read right");

        string[] Answers(ToolResult result)
        {
            Assert.That(result.ExitCode, Is.Zero, result.Error);
            string[] answers = [.. Regex.Matches(result.Output, @"(?m)^\S+(: \d \(\d+\.\d\d %\)), ").Select(match => match.Groups[1].Value)];
            Assert.That(answers, Has.Length.EqualTo(Count));
            return answers;
        }
    }

    [Test]
    public void Predict_refuses_what_is_no_picture_and_no_index()
    {
        string output = TestFolder.New();
        Assert.That(
            Tool.Run("train", "--data", Bars.CreateFolder(), "--network", TestFolder.Write("net.json", Bars.Network), "--epochs", "1", "--output", output).ExitCode,
            Is.Zero);
        string text = TestFolder.Write("note.png", "not a picture"), empty = TestFolder.Write("note.png", "");
        foreach ((string image, string message, int code) in ((string, string, int)[])
            [
                (text, $"image '{text}': not a picture, expected a PNG file", 1),
                (empty, $"image '{empty}': an empty file, expected a PNG file", 1),
                ("nowhere.png", "image 'nowhere.png': no such file", 2),
                (output, $"image '{output}': a folder, expected a picture", 2),
                ("40", $"image 40: expected 0 <= index < 40, the test images of ", 2),
            ])
        {
            ToolResult result = Tool.Run("predict", "--model", output, image);
            Assert.That(result.ErrorLine, Does.StartWith(message));
            Assert.That(result.ExitCode, Is.EqualTo(code), image);
            Assert.That(result.Output, Is.Empty, image);
        }
    }

    [Test]
    public void A_model_that_says_nothing_of_its_training_images_needs_to_be_told_whether_to_invert()
    {
        string foreign = TestFolder.New() + ".safetensors";
        SafeTensors.Write(foreign, [new("fc1.weight", [4, 64], new float[256]), new("fc1.bias", [4], new float[4])]);
        string network = TestFolder.Write("net.json", """{ "input": [1, 8, 8], "layers": [ { "type": "flatten" }, { "type": "linear", "out_features": 4 } ] }""");
        string picture = PngFile.Write(s_kinds[0].Png);
        ToolResult refused = Tool.Run("predict", "--model", foreign, "--network", network, picture);
        Assert.That(refused.ErrorLine, Is.EqualTo($"--invert: auto, but '{foreign}' does not say what its training images look like, expected yes or no"));
        Assert.That(refused.ExitCode, Is.EqualTo(2));
        ToolResult told = Tool.Run("predict", "--model", foreign, "--network", network, "--invert", "yes", picture);
        Assert.That(told.ExitCode, Is.Zero, told.Error);
        Assert.That(told.Lines[0], Does.EndWith(", 28x28 pixels, inverted, resized to 8x8"));
    }

    private static (float[] Input, string Description) Read(byte[] png, PixelStatistics known, Inversion inversion = Inversion.Auto)
    {
        using PictureFile picture = PictureFile.Read(PngFile.Write(png));
        return PictureInput.Of(picture, s_shape, inversion, known);
    }

    private static byte Pixel(int y, int x) => s_image[(y * Size) + x];

    private static byte[] Gray(Func<int, int, byte> pixel) =>
        PngFile.Create(Size, Size, 8, PngFile.Gray, y => [.. Enumerable.Range(0, Size).Select(x => pixel(y, x))]);

    private static byte[] Bytes(int y, Func<byte, byte[]> sample) => [.. Enumerable.Range(0, Size).SelectMany(x => sample(Pixel(y, x)))];

    private static ImageDataset Negative(ImageDataset images) => new(
        "negative", 1, Size, Size, images.Classes, [.. images.Pixels.ToArray().Select(pixel => (byte)(255 - pixel))], images.Labels.ToArray());

    /// <summary>Bars that are darker than their ground, which is light on the whole, and darker than half in every fourth image.</summary>
    private static string GrayBars(int train, int test, out byte[][] testImages)
    {
        Random random = new(7);
        byte[][] Images(int count) => [.. Enumerable.Range(0, count).Select(i =>
        {
            int ground = random.Next(95, 250);
            byte[] pixels = [.. Enumerable.Range(0, Bars.Size * Bars.Size).Select(_ => (byte)(ground + random.Next(-4, 5)))];
            pixels.AsSpan(2 * (i % Bars.Classes) * Bars.Size, Bars.Size).Fill((byte)(ground - 70));
            return pixels;
        })];

        string folder = Bars.CreateFolder(train, test);
        int[] size = [Bars.Size, Bars.Size];
        Bars.Write(Path.Combine(folder, "train-images-idx3-ubyte"), [0x00000803, train, .. size], [.. Images(train).SelectMany(image => image)]);
        testImages = Images(test);
        Bars.Write(Path.Combine(folder, "t10k-images-idx3-ubyte"), [0x00000803, test, .. size], [.. testImages.SelectMany(image => image)]);
        return folder;
    }
}
