using Adadelta.Native;
using NUnit.Framework;

namespace Adadelta.Training.Tests;

public class NetworkFileTests
{
    private TemporaryFolder _folder = null!;
    private ComputeContext _context = null!;

    private string FileName => _folder["model.safetensors"];

    [SetUp]
    public void SetUp() => (_folder, _context) = (new(), ComputeContext.Create(Device.Cpu, threads: 1));

    [TearDown]
    public void TearDown()
    {
        _context.Dispose();
        _folder.Dispose();
    }

    private Network Build(ulong seed) => new NetworkBuilder(1, 6, 6).Conv2d(2, 3).ReLU().Flatten().Linear(3).Build(_context, seed);

    private static float[][] Values(Network network) => [.. network.Parameters.Select(p => p.Value.ToArray())];

    [Test]
    public void Saves_under_PyTorch_s_names_and_shapes()
    {
        using var network = Build(1);
        NetworkFile.Save(network, FileName, new Dictionary<string, string> { ["epoch"] = "3" });
        var file = SafeTensors.Read(FileName);
        Assert.That(file.Tensors.Select(t => $"{t.Name} {string.Join('x', t.Shape)}"),
            Is.EqualTo(new[] { "conv1.weight 2x1x3x3", "conv1.bias 2", "fc1.weight 3x32", "fc1.bias 3" }));
        Assert.That(file.Tensors.Select(t => t.Data), Is.EqualTo(Values(network)));
        Assert.That(file.Metadata, Is.EqualTo(new Dictionary<string, string> { ["epoch"] = "3" }));
    }

    [Test]
    public void Load_brings_the_saved_network_back()
    {
        using var saved = Build(1);
        using var loaded = Build(2);
        Assert.That(Values(loaded), Is.Not.EqualTo(Values(saved)));
        NetworkFile.Save(saved, FileName, new Dictionary<string, string> { ["epoch"] = "3" });
        Assert.That(NetworkFile.Load(loaded, FileName)["epoch"], Is.EqualTo("3"));
        Assert.That(Values(loaded), Is.EqualTo(Values(saved)));
        var input = Enumerable.Range(0, 36).Select(i => i / 36f).ToArray();
        float[] expected = new float[3], actual = new float[3];
        saved.Forward(input, expected);
        loaded.Forward(input, actual);
        Assert.That(actual, Is.EqualTo(expected));
    }

    private static IEnumerable<TestCaseData> Misfits()
    {
        yield return Case(ts => ts.RemoveAt(1), "'conv1.bias' is missing");
        yield return Case(ts => ts.Add(new("conv2.weight", [1], [0])), "'conv2.weight' is not a parameter of the network");
        yield return Case(ts => ts[0] = ts[0] with { Name = "Conv1.weight" }, "'conv1.weight' is missing; 'Conv1.weight' is not a parameter");
        yield return Case(ts => ts[3] = new("fc1.bias", [4], new float[4]), "'fc1.bias' has shape [4], expected [3]");
        yield return Case(ts => ts[2] = ts[2] with { Shape = [32, 3] }, "'fc1.weight' has shape [32, 3], expected [3, 32]");
        yield return Case(ts => ts[3] = SafeTensor.FromDoubles("fc1.bias", [3], new double[3]), "'fc1.bias' has dtype F64, expected F32");
        yield return Case(ts => ts[0] = ts[0] with { Shape = [18] }, "'conv1.weight' has shape [18], expected [2, 1, 3, 3]");
        yield return Case(ts => ts[3] = new("fc1.bias", [3], [0, float.NaN, 0]), "'fc1.bias' is NaN at element 1, expected finite numbers");
        yield return Case(ts => ts[3] = new("fc1.bias", [3], [0, 0, float.NegativeInfinity]), "'fc1.bias' is -Infinity at element 2, expected finite numbers");

        static TestCaseData Case(Action<List<SafeTensor>> change, string message) => new TestCaseData(change, message).SetArgDisplayNames(message);
    }

    [TestCaseSource(nameof(Misfits))]
    public void Load_refuses_what_does_not_fit_and_changes_nothing(Action<List<SafeTensor>> change, string message)
    {
        using var other = Build(1);
        using var network = Build(2);
        NetworkFile.Save(other, FileName);
        List<SafeTensor> tensors = [.. SafeTensors.Read(FileName).Tensors];
        change(tensors);
        SafeTensors.Write(FileName, tensors);
        var before = Values(network);
        Assert.That(() => NetworkFile.Load(network, FileName),
            Throws.TypeOf<InvalidDataException>().With.Message.StartsWith(FileName).And.Message.Contains(message));
        Assert.That(Values(network), Is.EqualTo(before));
    }

    [Test]
    public void Save_refuses_weights_that_could_not_be_loaded_and_leaves_the_old_file()
    {
        using var network = Build(1);
        NetworkFile.Save(network, FileName);
        var before = File.ReadAllBytes(FileName);
        network.GetParameter("fc1.bias").Value.Write([0, float.PositiveInfinity, 0]);
        Assert.That(() => NetworkFile.Save(network, FileName), Throws.InstanceOf<InvalidOperationException>().With.Message.EqualTo(
            "not saved, since it could not be loaded: 'fc1.bias' is Infinity at element 1, expected finite numbers"));
        Assert.That(File.ReadAllBytes(FileName), Is.EqualTo(before));
    }

    // As PyTorch and others write them: no metadata, so no checksum either.
    [Test]
    public void Load_takes_a_file_without_a_checksum()
    {
        using Network saved = Build(1), loaded = Build(2);
        NetworkFile.Save(saved, FileName);
        SafeTensorsTests.WriteAsOthersDo(FileName, SafeTensors.Read(FileName).Tensors);
        NetworkFile.Load(loaded, FileName);
        Assert.That(Values(loaded), Is.EqualTo(Values(saved)));
    }

    // Beyond what a span or an array can hold: it is written and read in pieces.
    [Test]
    [Explicit("needs 8 GiB of memory and 2.3 GiB of disk")]
    public void A_parameter_beyond_2_GiB_is_saved_and_loaded()
    {
        using var network = new NetworkBuilder(1, 24, 1024).Flatten().Linear(24_576, bias: false).Build(_context, seed: 1, maxBatchSize: 1);
        var weights = network.Parameters[0].Value;
        Assert.That(weights.ByteCount, Is.GreaterThan(1L << 31));
        byte[] start = new byte[64], end = new byte[64];
        weights.ReadBytes(start);
        weights.ReadBytes(end, weights.ByteCount - end.Length);
        NetworkFile.Save(network, FileName);
        Assert.That(new FileInfo(FileName).Length, Is.GreaterThan(weights.ByteCount));
        weights.Fill(0);
        NetworkFile.Load(network, FileName);
        byte[] startAgain = new byte[64], endAgain = new byte[64];
        weights.ReadBytes(startAgain);
        weights.ReadBytes(endAgain, weights.ByteCount - endAgain.Length);
        Assert.That((startAgain, endAgain), Is.EqualTo((start, end)));
    }

    [Test]
    public void A_disposed_network_is_refused()
    {
        var network = Build(1);
        network.Dispose();
        Assert.That(() => NetworkFile.Save(network, FileName), Throws.TypeOf<ObjectDisposedException>());
        Assert.That(File.Exists(FileName), Is.False);
    }
}
