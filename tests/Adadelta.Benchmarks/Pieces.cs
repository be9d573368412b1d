using Adadelta.Native;
using Adadelta.Training;
using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;

namespace Adadelta.Benchmarks;

/// <summary><c>pieces</c>: what single calls of the API take and allocate on the reference network, by BenchmarkDotNet.</summary>
[MemoryDiagnoser]
public class Pieces
{
    private const int Batch = 64;

    private readonly NetworkProblem _problem = (NetworkProblem)Problem.Find("reference-64");
    private readonly int[] _labels;
    private readonly uint[] _indices = [.. Enumerable.Range(0, Batch).Select(i => (uint)i)];
    private readonly float[] _images, _logits = new float[Batch * NetworkProblem.Classes], _weights = new float[512 * 1024];
    private readonly string _file = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName() + ".safetensors");
    private readonly ComputeContext _context = ComputeContext.Create(Device.Cpu);
    private readonly Network _network;
    private readonly AdadeltaOptimizer _optimizer;
    private readonly DeviceDataset _dataset;
    private readonly DeviceTensor _scalar, _matrix;

    public Pieces()
    {
        _network = OurWork.Build(_problem, _context);
        _optimizer = OurWork.Optimizer(_network.Parameters);
        _images = _problem.Images()[..(Batch * _problem.Input.Count)];
        _labels = _problem.Labels()[..Batch];
        byte[] pixels = [.. _images.Select(pixel => (byte)(255 * pixel))], labels = [.. _labels.Select(label => (byte)label)];
        _dataset = new DeviceDataset(_context, pixels, labels, new ImageShape(1, 28, 28));
        _scalar = new DeviceTensor(_context, 1);
        _matrix = new DeviceTensor(_context, 512, 1024);
    }

    public static void Run(string[] arguments)
    {
        // in this process: the project needs CMake's build, which BenchmarkDotNet's own projects do not know
        var config = DefaultConfig.Instance
            .AddJob(Job.ShortRun.WithToolchain(InProcessEmitToolchain.Instance))
            .WithArtifactsPath(Programs.Results);
        BenchmarkSwitcher.FromTypes([typeof(Pieces)]).Run(arguments is [] ? ["--filter", "*"] : arguments, config);
    }

    [GlobalCleanup]
    public void CleanUp()
    {
        File.Delete(_file);
        _matrix.Dispose();
        _scalar.Dispose();
        _dataset.Dispose();
        _optimizer.Dispose();
        _network.Dispose();
        _context.Dispose();
    }

    [Benchmark(Description = "a native call: DeviceTensor.Fill of one element")]
    public void Call() => _scalar.Fill(1);

    [Benchmark(Description = "DeviceTensor.Write, 2 MB")]
    public void Write() => _matrix.Write(_weights);

    [Benchmark(Description = "DeviceTensor.Read, 2 MB")]
    public void Read() => _matrix.Read(_weights);

    [Benchmark(Description = "Network.Forward, 64 images")]
    public void Forward() => _network.Forward(_images, _logits);

    [Benchmark(Description = "Network.Forward, 1 image")]
    public void ForwardOne() => _network.Forward(_images.AsSpan(0, _problem.Input.Count), _logits.AsSpan(0, NetworkProblem.Classes));

    [Benchmark(Description = "Network.TrainStep, 64 images as floats")]
    public float TrainStep() => _network.TrainStep(_optimizer, _images, _labels);

    [Benchmark(Description = "Network.TrainStep, 64 images of a DeviceDataset")]
    public float TrainStepFromDataset() => _network.TrainStep(_optimizer, _dataset, _indices);

    [Benchmark(Description = "AdadeltaOptimizer.Step, 582,026 parameters")]
    public void OptimizerStep() => _optimizer.Step();

    [Benchmark(Description = "NetworkBuilder.Build and Dispose")]
    public void Build()
    {
        using var network = OurWork.Build(_problem, _context);
    }

    [Benchmark(Description = "CheckpointFile.Save, 7 MB")]
    public void Save() => CheckpointFile.Save(_network, _optimizer, _file);
}
