using FsCheck;
using NUnit.Framework;
using static Adadelta.Training.Tests.TinyProblem;

// FsCheck supplies the arguments.
#pragma warning disable NUnit1027

namespace Adadelta.Training.Tests;

/// <summary>
/// Whatever a file holds, a reader gives a result or says in an exception of files what is wrong, and asks for no more memory than a
/// multiple of the file's size: arbitrary bytes, and files of each kind with some bytes changed and the end cut off.
/// </summary>
internal sealed class ReaderProperties
{
    // Buffers of streams, and what is made once.
    private const long Base = 1 << 20;

    // JSON is held as text and as tokens, numbers and names as objects.
    private const long JsonFactor = 200;

    // As far as deflate can grow.
    private const long GzipFactor = 1032 + JsonFactor;

    private readonly TemporaryFolder _folder = new();
    private readonly Setup _setup = new();
    private readonly ImageDataset _train = Images(20);
    private byte[] _tensors = null!, _idx = null!, _gzip = null!, _network = null!, _checkpoint = null!, _steps = null!;

    private string FileName => _folder["file"];

    [OneTimeSetUp]
    public void SetUp()
    {
        _tensors = Saved(path => SafeTensors.Write(
            path, [new("conv1.weight", [2, 3], new float[6]), new("b", [], [1])], new Dictionary<string, string> { ["k"] = "v" }));
        _idx = IdxFile.Counting([2, 3, 4]);
        _gzip = IdxFile.Gzip(_idx);
        _network = "{\"input\":[1,8,8],\"layers\":[{\"type\":\"conv2d\",\"out_channels\":4,\"kernel\":[3,3],\"padding\":1,\"bias\":true},{\"type\":\"dropout\",\"probability\":0.5},{\"type\":\"flatten\"},{\"type\":\"linear\",\"name\":\"fc\",\"out_features\":\"classes\"}]}"u8.ToArray();
        using var saved = new Setup();
        LossHistory history = null!;
        _checkpoint = Saved(path => history = new Trainer(saved.Network, saved.Optimizer) { CheckpointPath = path }.Fit(_train, 1));
        _steps = Saved(history.WriteStepsCsv);

        byte[] Saved(Action<string> save)
        {
            save(FileName);
            var bytes = File.ReadAllBytes(FileName);
            // Without the checksum, which would refuse every change before the reader looks at it.
            var key = bytes.AsSpan().IndexOf("adadelta.checksum"u8);
            if (key >= 0)
            {
                bytes[key] = (byte)'A';
            }
            return bytes;
        }
    }

    [OneTimeTearDown]
    public void TearDown()
    {
        _setup.Dispose();
        _folder.Dispose();
    }

    [FsCheck.NUnit.Property(MaxTest = 150, QuietOnSuccess = true)]
    public void Arbitrary_bytes(byte[] bytes)
    {
        ReadTensors(bytes);
        ReadIdx(bytes);
        ReadIdx(IdxFile.Gzip(bytes));
        ReadNetwork(bytes);
        Resume(bytes);
        ReadSteps(bytes);
        // Behind what is looked at first.
        ReadTensors([(byte)Math.Min(bytes.Length, 255), 0, 0, 0, 0, 0, 0, 0, .. bytes]);
        ReadIdx([0, 0, 8, .. bytes]);
    }

    [FsCheck.NUnit.Property(MaxTest = 500, QuietOnSuccess = true)]
    public void A_safetensors_file_with_changes(DoNotSize<uint>[] changes, DoNotSize<uint> end) =>
        ReadTensors(Change(_tensors, changes, end));

    [FsCheck.NUnit.Property(MaxTest = 500, QuietOnSuccess = true)]
    public void An_IDX_file_with_changes(DoNotSize<uint>[] changes, DoNotSize<uint> end) =>
        ReadIdx(Change(_idx, changes, end));

    [FsCheck.NUnit.Property(MaxTest = 500, QuietOnSuccess = true)]
    public void A_gzip_file_with_changes(DoNotSize<uint>[] changes, DoNotSize<uint> end) =>
        ReadIdx(Change(_gzip, changes, end));

    [FsCheck.NUnit.Property(MaxTest = 500, QuietOnSuccess = true)]
    public void A_network_with_changes(DoNotSize<uint>[] changes, DoNotSize<uint> end) =>
        ReadNetwork(Change(_network, changes, end));

    [FsCheck.NUnit.Property(MaxTest = 500, QuietOnSuccess = true)]
    public void A_checkpoint_with_changes(DoNotSize<uint>[] changes, DoNotSize<uint> end) =>
        Resume(Change(_checkpoint, changes, end));

    [FsCheck.NUnit.Property(MaxTest = 300, QuietOnSuccess = true)]
    public void A_history_with_changes(DoNotSize<uint>[] changes, DoNotSize<uint> end) =>
        ReadSteps(Change(_steps, changes, end));

    /// <summary>A file with a few bytes changed, in half of the cases cut off.</summary>
    private static byte[] Change(byte[] file, DoNotSize<uint>[] changes, DoNotSize<uint> end)
    {
        byte[] bytes = [.. file];
        foreach (var change in changes.Take(8))
        {
            // Digits of numbers change the most in a text.
            var value = change.Item & 0xff;
            bytes[(change.Item >> 9) % bytes.Length] = (change.Item & 0x100) == 0 ? (byte)value : (byte)('0' + value % 10);
        }
        return (end.Item & 1) == 0 ? bytes : bytes[..(int)((end.Item >> 1) % bytes.Length)];
    }

    private void ReadTensors(byte[] bytes) => Read(bytes, JsonFactor, path => SafeTensors.Read(path));

    private void ReadIdx(byte[] bytes) => Read(bytes, GzipFactor, path =>
    {
        var array = IdxReader.Read(path);
        Assert.That(array.Data, Has.Length.EqualTo(array.Dims.Aggregate(1L, (product, extent) => product * extent)));
    });

    private void ReadNetwork(byte[] bytes) => Read(bytes, JsonFactor, path => NetworkDefinition.Load(path).ToJson());

    private void ReadSteps(byte[] bytes) => Read(bytes, JsonFactor, path => LossHistory.ReadCsv(path));

    private void Resume(byte[] bytes)
    {
        var before = _setup.Weights();
        var read = Read(bytes, JsonFactor, path => new Trainer(_setup.Network, _setup.Optimizer).Resume(path));
        if (!read)
        {
            Assert.That(_setup.Weights(), Is.EqualTo(before), "what is refused changes nothing");
        }
    }

    private bool Read(byte[] bytes, long factor, Action<string> read)
    {
        File.WriteAllBytes(FileName, bytes);
        var before = GC.GetAllocatedBytesForCurrentThread();
        var whole = true;
        try
        {
            read(FileName);
        }
        catch (Exception error) when (error is InvalidDataException or IOException)
        {
            Assert.That(error.Message, Does.StartWith(FileName));
            whole = false;
        }
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(Base + factor * bytes.Length));
        return whole;
    }
}
