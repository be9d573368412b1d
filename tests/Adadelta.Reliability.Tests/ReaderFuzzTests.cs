using System.Text;
using System.Text.RegularExpressions;
using Adadelta.Cli;
using Adadelta.Native;
using Adadelta.Training;

namespace Adadelta.Reliability.Tests;

/// <summary>
/// Every reader on files changed at random: it gives a right answer or an <see cref="InvalidDataException"/> that names the file,
/// in memory that the file's size bounds. Changed files that lead to an answer or a message not met before are changed further.
/// </summary>
internal sealed partial class ReaderFuzzTests
{
    private const int MostSeeds = 2000;

    // Room for messages, JSON documents and what a reader holds beside the file's content.
    private const long FixedBytes = 1 << 20;

    private static int s_failures;

    private static readonly string s_folder =
        Directory.CreateDirectory(Path.Combine(Directory.Exists("/dev/shm") ? "/dev/shm" : TestFolder.Root, $"adadelta-{Environment.ProcessId}"))
            .FullName;

    [OneTimeTearDown]
    public void Remove() => Directory.Delete(s_folder, recursive: true);

    [Test]
    public void Safetensors() => Fuzz("safetensors", 8, mutator => mutator.WithHeaderLength, path =>
    {
        var file = SafeTensors.Read(path);
        // What was read is written and read again as the same.
        var again = path + ".again";
        SafeTensors.Write(again, file.Tensors, file.Metadata);
        var copy = SafeTensors.Read(again);
        Assert.That(copy.Metadata, Is.EquivalentTo(file.Metadata));
        Assert.That(copy.Tensors.Select(tensor => tensor.Name), Is.EqualTo(file.Tensors.Select(tensor => tensor.Name)));
        for (var i = 0; i < copy.Tensors.Count; i++)
        {
            Assert.That(copy.Tensors[i].Bytes.AsSpan().SequenceEqual(file.Tensors[i].Bytes), file.Tensors[i].Name);
        }
    });

    [Test]
    public void Checkpoint()
    {
        using var context = ComputeContext.Create(Device.Cpu, 1);
        using var network = TinyNetwork(context);
        using AdadeltaOptimizer optimizer = new(network.Parameters);
        Fuzz("checkpoint", 8, mutator => mutator.WithHeaderLength, path =>
        {
            var before = State(network, optimizer);
            try
            {
                CheckpointFile.Load(network, optimizer, path);
            }
            catch (InvalidDataException)
            {
                Assert.That(State(network, optimizer), Is.EqualTo(before), "a file that was refused has changed something");
                throw;
            }
        });
    }

    [Test]
    public void Network_definition() => Fuzz("network", 64, _ => data => data, path =>
    {
        var definition = NetworkDefinition.Load(path);
        var json = definition.ToJson();
        Assert.That(NetworkDefinition.Parse(json, path).ToJson(), Is.EqualTo(json));
    });

    [Test]
    public void Idx() => Fuzz("idx", 4, _ => data => data, CheckIdx);

    // Both what is packed and the packed bytes are changed.
    [Test]
    public void Gzip() => Fuzz(
        "gzip", 1032, mutator => data => mutator.Coin() ? data : Mutator.Gzip(mutator.Mutate(Mutator.Gunzip(data), data)), CheckIdx);

    // The pixels are Skia's, not the collector's; the reader bounds them itself.
    [Test]
    public void Png() => Fuzz("png", 16, mutator => mutator.WithChunkChecksums, path =>
    {
        using var picture = PictureFile.Read(path);
        Assert.That(picture.Rgba.Length, Is.EqualTo(4 * picture.Width * picture.Height));
    });

    /// <summary>Files of every format as this library writes them, into the committed corpus.</summary>
    [Explicit("writes into the repository")]
    [Test]
    public void Write_the_corpus()
    {
        using var context = ComputeContext.Create(Device.Cpu, 1);
        using var network = TinyNetwork(context);
        using AdadeltaOptimizer optimizer = new(network.Parameters);
        network.TrainStep(optimizer, [.. Enumerable.Range(0, 16).Select(i => i / 16f)], [1]);
        string Corpus(string format, string file) => Path.Combine(
            Directory.CreateDirectory(Settings.InRepository($"tests/fuzz/corpus/{format}")).FullName, file);

        NetworkFile.Save(network, Corpus("safetensors", "network"), new Dictionary<string, string> { ["a"] = "b" });
        SafeTensors.Write(Corpus("safetensors", "types"),
        [
            new("a", [2, 1], [1, 2]), SafeTensor.FromDoubles("b", [], [3]), new("c", "F16", [1], [0, 60]), new("d", "BF16", [2], [0, 0, 1, 1]),
            new("e", "C64", [1], new byte[8]), new("f", "I64", [0, 3], []),
        ]);
        SafeTensors.Write(Corpus("safetensors", "empty"), []);
        CheckpointFile.Save(network, optimizer, Corpus("checkpoint", "checkpoint"), new Dictionary<string, string> { ["a"] = "b" });
        foreach (var format in (string[])["safetensors", "checkpoint"])
        {
            foreach (var file in Directory.EnumerateFiles(Path.GetDirectoryName(Corpus(format, "x"))!).ToArray())
            {
                // A file with a checksum is refused at nearly every change: one that names it otherwise is as files of others are.
                var bytes = File.ReadAllBytes(file);
                var place = bytes.AsSpan().IndexOf("adadelta.checksum"u8);
                if (place >= 0)
                {
                    "adadelta.no_check"u8.CopyTo(bytes.AsSpan(place));
                    File.WriteAllBytes(file + "-unchecked", bytes);
                }
            }
        }
        File.WriteAllText(Corpus("network", "reference"), NetworkDefinition.Reference.ToJson());
        File.WriteAllText(Corpus("network", "every-layer"), """
            { "input": [3, 8, 9], "layers": [
              { "type": "conv2d", "name": "a", "out_channels": 2, "kernel": [3, 2], "stride": 1, "padding": [1, 0], "dilation": 1, "bias": false },
              { "type": "maxpool2d", "kernel": 2, "stride": 2, "padding": 1 }, { "type": "avgpool2d", "kernel": 2 }, { "type": "relu" },
              { "type": "flatten" }, { "type": "dropout", "probability": 0.25 }, { "type": "linear", "out_features": "classes" } ] }
            """);
        File.WriteAllText(Corpus("network", "smallest"), """{"layers":[{"type":"flatten"},{"type":"linear","out_features":3}]}""");
        byte[] images = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        byte[] labels = [0, 0, 8, 1, 0, 0, 0, 5, 0, 1, 2, 3, 9];
        File.WriteAllBytes(Corpus("idx", "images"), images);
        File.WriteAllBytes(Corpus("idx", "labels"), labels);
        File.WriteAllBytes(Corpus("gzip", "images"), Mutator.Gzip(images));
        File.WriteAllBytes(Corpus("gzip", "labels"), Mutator.Gzip(labels));
        foreach (var (name, type, alpha) in new[]
                 {
                     ("gray", SkiaSharp.SKColorType.Gray8, SkiaSharp.SKAlphaType.Opaque),
                     ("rgba", SkiaSharp.SKColorType.Rgba8888, SkiaSharp.SKAlphaType.Unpremul),
                 })
        {
            using SkiaSharp.SKBitmap picture = new(new SkiaSharp.SKImageInfo(9, 7, type, alpha));
            picture.Erase(new SkiaSharp.SKColor(200, 100, 50, 128));
            using var encoded = picture.Encode(SkiaSharp.SKEncodedImageFormat.Png, 100);
            File.WriteAllBytes(Corpus("png", name), encoded.ToArray());
        }
    }

    private static void Fuzz(string format, int bytesForOne, Func<Mutator, Func<byte[], byte[]>> mend, Action<string> read)
    {
        var random = Settings.Draw();
        var mutator = new Mutator(random);
        var repair = mend(mutator);
        var runs = Settings.Runs(format == "png" ? 4 : 1);
        var path = Path.Combine(s_folder, format);
        List<byte[]> seeds =
        [
            .. Directory.EnumerateFiles(Settings.InRepository($"tests/fuzz/corpus/{format}")).Order(StringComparer.Ordinal).Select(File.ReadAllBytes),
        ];
        var committed = seeds.Count;
        Assert.That(committed, Is.Positive, "files in the corpus");
        HashSet<string> met = [];
        var answers = 0;
        for (var run = 0; run < runs; run++)
        {
            // The corpus as it is, then changed, as are the changed files that were kept.
            var data = run < committed
                ? seeds[run]
                : repair(mutator.Mutate(seeds[random.Next(mutator.Coin() ? committed : seeds.Count)], seeds[random.Next(seeds.Count)]));
            File.WriteAllBytes(path, data);
            string outcome;
            var before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                read(path);
                outcome = "answer";
                answers++;
            }
            catch (Exception error)
            {
                outcome = error.Message;
                if (error is not InvalidDataException || !error.Message.Contains(path, StringComparison.Ordinal))
                {
                    Keep(format, data, run, error.ToString());
                }
            }
            var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            if (allocated > FixedBytes + ((long)bytesForOne * data.Length))
            {
                Keep(format, data, run, $"{allocated} bytes allocated for a file of {data.Length}: {outcome}");
            }
            if (data.Length < 4096 && seeds.Count < MostSeeds && met.Add(Kind(outcome)))
            {
                seeds.Add(data);
            }
        }
        TestContext.Out.WriteLine($"{format}: {runs} runs, {answers} answers, {met.Count} kinds of outcome");
        Assert.That(answers, Is.Positive, "nothing was read");
        Assert.That(met, Has.Count.GreaterThan(3), "the changes do not reach the checks");
    }

    private static void Keep(string format, byte[] data, int run, string what)
    {
        var kept = Path.Combine(Directory.CreateDirectory(Settings.InRepository("artifacts/fuzz")).FullName, $"{format}-{s_failures++}");
        File.WriteAllBytes(kept, data);
        Assert.Fail($"run {run}, kept in {kept}: {what}");
    }

    private static void CheckIdx(string path)
    {
        var array = IdxReader.Read(path);
        Assert.That(array.Data, Has.Length.EqualTo(array.Dims.Aggregate(1, (product, extent) => product * extent)));
    }

    private static Network TinyNetwork(ComputeContext context) =>
        new NetworkBuilder(1, 4, 4).Flatten().Dropout(0.5f).Linear(3).Build(context, 1, 1);

    private static string State(Network network, AdadeltaOptimizer optimizer)
    {
        var state = new StringBuilder();
        foreach (var parameter in network.Parameters)
        {
            state.Append(Convert.ToHexString(parameter.Value.ToBytes()));
        }
        for (var i = 0; i < optimizer.ParameterCount; i++)
        {
            var kept = optimizer.GetState(i);
            state.Append(Convert.ToHexString(kept.SquareAverage.ToBytes())).Append(Convert.ToHexString(kept.AccumulatedDelta.ToBytes()));
            state.Append(optimizer.GetStep(i));
        }
        return state.Append(network.Step).Append(optimizer.GetOptions()).ToString();
    }

    // A message without what it quotes: its words alone.
    private static string Kind(string message) => Value().Replace(Quoted().Replace(message, ""), "");

    [GeneratedRegex("'.*'|\".*\"|\\[.*\\]", RegexOptions.Singleline)]
    private static partial Regex Quoted();

    [GeneratedRegex("[^a-z ]|\\S*[0-9]\\S*")]
    private static partial Regex Value();
}
