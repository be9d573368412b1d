using Adadelta.Native;
using NUnit.Framework;

namespace Adadelta.Training.Tests;

/// <summary>Noisy 8x8 images of three classes, told apart by which third is bright, and a network that learns them.</summary>
internal static class TinyProblem
{
    public const int Classes = 3;

    public static ImageDataset Images(int count, int seed = 1)
    {
        var random = new Random(seed);
        var pixels = new byte[count * 64];
        var labels = new byte[count];
        random.NextBytes(pixels);
        for (var i = 0; i < count; i++)
        {
            labels[i] = (byte)random.Next(Classes);
            for (var pixel = 0; pixel < 64; pixel++)
            {
                var bright = pixel / 24 == labels[i];
                pixels[i * 64 + pixel] = (byte)(pixels[i * 64 + pixel] / 2 + (bright ? 128 : 0));
            }
        }
        return new ImageDataset("tiny", 1, 8, 8, Classes, pixels, labels);
    }

    public static NetworkBuilder Builder(bool dropout = false)
    {
        var builder = new NetworkBuilder(1, 8, 8).Conv2d(4, 3).MaxPool2d(2).ReLU().Flatten();
        return (dropout ? builder.Dropout(0.25f) : builder).Linear(Classes);
    }

    /// <summary>Everything that a run needs, disposed together.</summary>
    public sealed class Setup : IDisposable
    {
        public Setup(
            int threads = 0, ulong seed = 1, int maxBatchSize = 16, Reduction reduction = Reduction.Mean, bool dropout = false,
            double learningRate = 1, string device = "cpu")
        {
            Context = ContextOn(device, threads);
            Network = Builder(dropout).Build(Context, seed, maxBatchSize, reduction);
            Optimizer = new AdadeltaOptimizer(Network.Parameters, new AdadeltaOptions { LearningRate = learningRate });
        }

        public ComputeContext Context { get; }

        public Network Network { get; }

        public AdadeltaOptimizer Optimizer { get; }

        /// <summary>The bits of all parameters.</summary>
        public int[] Weights() =>
            [.. Network.Parameters.SelectMany(parameter => parameter.Value.ToArray()).Select(BitConverter.SingleToInt32Bits)];

        // "cpu" or "cuda": a GPU, or the simulator that ADADELTA_BACKEND_PATH names. The own kernels always give the same bits. A
        // test of what is not here is skipped with the reason.
        private static ComputeContext ContextOn(string device, int threads)
        {
            if (device == "cpu")
            {
                return ComputeContext.Create(Device.Cpu, threads);
            }
            if (NativeLibraryInfo.BackendReason("cuda") is { Length: > 0 } reason)
            {
                Assert.Ignore(reason);
            }
            return ComputeContext.Create(Device.Cuda(0), cuda: new CudaOptions { OwnKernelsOnly = true });
        }

        public void Dispose()
        {
            Optimizer.Dispose();
            Network.Dispose();
            Context.Dispose();
        }
    }
}

/// <summary>Calls back on the reporting thread, unlike <see cref="Progress{T}"/>.</summary>
internal sealed class ProgressAction(Action<TrainingProgress> report) : IProgress<TrainingProgress>
{
    public void Report(TrainingProgress value) => report(value);
}
