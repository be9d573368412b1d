using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text.Json;
using NUnit.Framework;

namespace Adadelta.Native.Tests;

// tests/golden/cnn: the reference network on 64 images; its manifest.json says what every file holds.
internal sealed class GoldenCnn
{
    private readonly float[] _initial;

    private GoldenCnn()
    {
        using var manifest = JsonDocument.Parse(File.ReadAllText(Repository.Golden("cnn", "manifest.json")));
        var root = manifest.RootElement;
        Tensors = [.. root.GetProperty("tensors").EnumerateArray().Select(tensor => new GoldenTensor(
            tensor.GetProperty("name").GetString()!,
            [.. tensor.GetProperty("shape").EnumerateArray().Select(extent => extent.GetInt64())],
            tensor.GetProperty("numel").GetInt32(),
            tensor.GetProperty("init_offset").GetInt32(),
            tensor.GetProperty("sampled_offset").GetInt32(),
            tensor.GetProperty("sampled_count").GetInt32(),
            tensor.GetProperty("sampled_stride").GetInt32(),
            tensor.GetProperty("float32_vs_float64").EnumerateObject().Max(
                quantity => quantity.Value.GetProperty("max_abs_over_scale").GetDouble())))];
        Losses = [.. root.GetProperty("losses").EnumerateArray().Select(loss => loss.GetSingle())];

        Input = [.. File.ReadAllBytes(Repository.Golden("cnn", "images.u8")).Select(pixel => pixel / 255f)];
        Labels = [.. File.ReadAllBytes(Repository.Golden("cnn", "labels.u8")).Select(label => (int)label)];
        using var packed = new GZipStream(File.OpenRead(Repository.Golden("cnn", "init.f32.gz")), CompressionMode.Decompress);
        using var unpacked = new MemoryStream();
        packed.CopyTo(unpacked);
        _initial = MemoryMarshal.Cast<byte, float>(unpacked.ToArray()).ToArray();
    }

    internal static GoldenCnn Instance { get; } = new();

    internal IReadOnlyList<GoldenTensor> Tensors { get; }

    internal float[] Losses { get; }

    internal float[] Input { get; }

    internal int[] Labels { get; }

    internal int BatchSize => Labels.Length;

    internal static float[] Floats(string file) =>
        MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(Repository.Golden("cnn", file))).ToArray();

    internal static NetworkBuilder ReferenceNetwork() =>
        new NetworkBuilder(1, 28, 28)
            .Conv2d(32, 5).MaxPool2d(2).ReLU()
            .Conv2d(64, 5).MaxPool2d(2).ReLU()
            .Flatten().Linear(512).ReLU().Linear(10);

    internal static AdadeltaOptions ReferenceOptions() => new() { LearningRate = 0.1, Rho = 0.9, Eps = 1e-6 };

    internal Network Build(ComputeContext context, int maxBatchSize = 64)
    {
        var network = ReferenceNetwork().Build(context, maxBatchSize: maxBatchSize);
        foreach (var tensor in Tensors)
        {
            network.GetParameter(tensor.Name).Value.Write(_initial.AsSpan(tensor.InitialOffset, tensor.Count));
        }
        return network;
    }
}

internal sealed record GoldenTensor(
    string Name, long[] Shape, int Count, int InitialOffset, int SampledOffset, int SampledCount, int SampledStride,
    double Float32VersusFloat64)
{
    internal ReadOnlySpan<float> Expected(float[] file) => file.AsSpan(SampledOffset, SampledCount);

    internal float[] Sample(float[] all) => [.. all.Where((_, index) => index % SampledStride == 0)];
}

internal static class Compare
{
    // Norm of the difference over the norm of what was expected.
    internal static double RelativeError(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        Assert.That(actual.Length, Is.EqualTo(expected.Length));
        double difference = 0, scale = 0;
        for (var i = 0; i < expected.Length; i++)
        {
            var d = (double)actual[i] - expected[i];
            difference += d * d;
            scale += (double)expected[i] * expected[i];
        }
        return Math.Sqrt(difference / scale);
    }
}
