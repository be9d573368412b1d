using Adadelta.Native;
using NUnit.Framework;

namespace Adadelta.Training.Tests;

public class ImageDatasetTests
{
    // xxhsum -H3 of the six bytes
    [Test]
    public void The_checksum_is_XxHash3_of_pixels_and_labels()
    {
        var data = new ImageDataset("x", 1, 2, 1, 3, [1, 2, 3, 4], [0, 2]);
        Assert.That(data.Checksum, Is.EqualTo("4867a2e540419f7a"));
        Assert.That(data.Take(1).Checksum, Is.EqualTo("d78bdc59d53b1ffc"));
        Assert.That(data.Transpose().Checksum, Is.EqualTo(data.Checksum), "a column transposed is a row of the same bytes");
    }

    [Test]
    public void Transposing_exchanges_rows_and_columns_of_each_channel()
    {
        var data = new ImageDataset("x", 2, 2, 3, 1, [1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16], [0]);
        var transposed = data.Transpose();
        Assert.That((transposed.Channels, transposed.Height, transposed.Width), Is.EqualTo((2, 3, 2)));
        Assert.That(transposed.Pixels.ToArray(), Is.EqualTo(new byte[] { 1, 4, 2, 5, 3, 6, 11, 14, 12, 15, 13, 16 }));
        Assert.That(transposed.Transpose().Pixels.ToArray(), Is.EqualTo(data.Pixels.ToArray()));
    }

    [Test]
    public void Classes_without_images_are_told()
    {
        Assert.That(new ImageDataset("x", 1, 1, 1, 5, [0, 0], [1, 3]).EmptyClasses, Is.EqualTo(new[] { 0, 2, 4 }));
        Assert.That(new ImageDataset("x", 1, 1, 1, 2, [0, 0], [1, 0]).EmptyClasses, Is.Empty);
    }

    private static ImageDataset Make(int channels = 2, int height = 3, int width = 4, int classes = 3, int pixels = 120, byte[]? labels = null) =>
        new("some", channels, height, width, classes, [.. Enumerable.Range(0, pixels).Select(i => (byte)i)], labels ?? [0, 1, 2, 0, 1]);

    [Test]
    public void Holds_what_it_was_given()
    {
        var data = Make();
        Assert.That((data.Name, data.Count, data.Channels, data.Height, data.Width, data.Classes), Is.EqualTo(("some", 5, 2, 3, 4, 3)));
        Assert.That(data.Shape, Is.EqualTo(new ImageShape(2, 3, 4)));
        Assert.That(data.Image(2).ToArray(), Is.EqualTo(Enumerable.Range(48, 24)));
    }

    [Test]
    public void Take_keeps_the_first_images()
    {
        var data = Make().Take(2);
        Assert.That((data.Count, data.Classes, data.Shape.Count), Is.EqualTo((2, 3, 24)));
        Assert.That(data.Pixels.ToArray(), Is.EqualTo(Enumerable.Range(0, 48)));
        Assert.That(data.Labels.ToArray(), Is.EqualTo(new byte[] { 0, 1 }));
        Assert.That(data.Image(1).ToArray(), Is.EqualTo(Enumerable.Range(24, 24)));
    }

    [Test]
    public void ToDevice_gives_the_same_images_in_place()
    {
        using var context = ComputeContext.Create(Device.Cpu);
        using var network = new NetworkBuilder(2, 3, 4).Flatten().Linear(1).Build(context);
        var pixels = new byte[120];
        var data = new ImageDataset("some", 2, 3, 4, 3, pixels, [0, 1, 2, 0, 1]);
        using var images = data.Take(3).ToDevice(context);
        Assert.That((images.Count, images.Shape), Is.EqualTo((3, data.Shape)));
        var input = new float[24];
        float[] expected = [0], actual = [0];
        pixels[50] = 200;
        Pixels.Scale(data.Image(2), input);
        network.Forward(input, expected);
        network.Forward(images, [2], actual);
        Assert.That(actual, Is.EqualTo(expected));
    }

    private static IEnumerable<TestCaseData> Bad()
    {
        yield return Case(() => Make(channels: 0), "channels: 0, expected channels >= 1");
        yield return Case(() => Make(height: -1), "height: -1, expected height >= 1");
        yield return Case(() => Make(width: 0), "width: 0, expected width >= 1");
        yield return Case(() => Make(classes: 0), "classes: 0, expected 1 <= classes <= 256");
        yield return Case(() => Make(classes: 257), "classes: 257, expected 1 <= classes <= 256");
        yield return Case(() => Make(labels: []), "labels: 0 labels, expected at least 1");
        yield return Case(() => Make(pixels: 119), "pixels: 119 bytes, expected 120 for 5 images of 2x3x4");
        yield return Case(() => Make(channels: 65536, height: 65536, width: 65536, pixels: 0), "pixels: 0 bytes, expected 1407374883553280");
        yield return Case(() => Make(labels: [0, 1, 2, 3, 1]), "labels[3]: 3, expected 0 <= label < 3");
        yield return Case(() => Make().Take(0), "count: 0, expected 1 <= count <= 5");
        yield return Case(() => Make().Take(6), "count: 6, expected 1 <= count <= 5");
        yield return Case(() => Make().Image(5), "index: 5, expected 0 <= index < 5");
        yield return Case(() => Make().Image(-1), "index: -1, expected 0 <= index < 5");

        static TestCaseData Case(Action code, string message) => new TestCaseData(code, message).SetArgDisplayNames(message);
    }

    [TestCaseSource(nameof(Bad))]
    public void Refuses(Action code, string message) =>
        Assert.That(code, Throws.InstanceOf<ArgumentException>().With.Message.Contains(message));

    [Test]
    public void All_256_classes_of_a_byte_can_be_used()
    {
        var data = new ImageDataset("bytes", 1, 1, 1, 256, new byte[2], [0, 255]);
        Assert.That(data.Labels.Span[1], Is.EqualTo(255));
    }
}
