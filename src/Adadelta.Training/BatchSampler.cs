using Adadelta.Native;

namespace Adadelta.Training;

/// <summary>Which images each step of an epoch takes: each image once an epoch, in an order drawn for it.</summary>
/// <remarks>
/// <para>
/// The images of epoch e (from 0) come in the order of the Philox permutation of (seed, stream 2^48 + e): it depends on the seed
/// and the epoch alone, so that a run can be taken up at any (epoch, step). The streams below 2^48 are left to the data sets and
/// those from 2^56 on to the native library.
/// </para>
/// <para>
/// Memory: the order of one epoch. A step allocates nothing; the first of an epoch draws the order. One object must not be used by
/// two threads at once.
/// </para>
/// </remarks>
/// <example>
/// <code>
/// using var images = mnist.Train.ToDevice(context);
/// var sampler = new BatchSampler(images.Count, batchSize: 64, seed: 1);
/// for (var step = 0; step &lt; sampler.StepsPerEpoch; step++)
/// {
///     var loss = network.TrainStep(optimizer, images, sampler.GetBatch(epoch, step));
/// }
/// </code>
/// </example>
public sealed class BatchSampler
{
    private const ulong ShuffleStream = 1UL << 48;

    private readonly uint[] _order;
    private readonly ulong _seed;

    // that _order is of
    private int _epoch = -1;

    /// <summary>Makes a sampler.</summary>
    /// <param name="count">Images of the data set, at least 1.</param>
    /// <param name="batchSize">Images a batch, at least 1; the last batch of an epoch has those that are left.</param>
    /// <param name="seed">Seed of the order.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of its bounds.</exception>
    public BatchSampler(int count, int batchSize, ulong seed)
    {
        Require.That(count >= 1, nameof(count), count, "count >= 1");
        Require.That(batchSize >= 1, nameof(batchSize), batchSize, "batchSize >= 1");
        _order = new uint[count];
        _seed = seed;
        BatchSize = batchSize;
        StepsPerEpoch = CountSteps(count, batchSize);
    }

    /// <summary>Images of the data set.</summary>
    public int Count => _order.Length;

    /// <summary>Images a batch, but for the last of an epoch.</summary>
    public int BatchSize { get; }

    /// <summary>Batches of an epoch, the last short one included.</summary>
    public int StepsPerEpoch { get; }

    /// <summary>The places in the data set of a batch's images.</summary>
    /// <param name="epoch">The epoch, from 0.</param>
    /// <param name="step">The batch's place in its epoch, from 0 and below <see cref="StepsPerEpoch"/>.</param>
    /// <returns>The places, as they are until a batch of another epoch is taken.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of its bounds.</exception>
    public ReadOnlySpan<uint> GetBatch(int epoch, int step)
    {
        Require.That(epoch >= 0, nameof(epoch), epoch, "epoch >= 0");
        Require.That(step >= 0 && step < StepsPerEpoch, nameof(step), step, $"0 <= step < {StepsPerEpoch}");
        if (epoch != _epoch)
        {
            Philox.Permutation(_order, _seed, ShuffleStream + (ulong)epoch);
            _epoch = epoch;
        }
        var first = step * BatchSize;
        return _order.AsSpan(first, Math.Min(BatchSize, Count - first));
    }

    /// <summary>Batches of an epoch over <paramref name="count"/> images, the last short one included.</summary>
    internal static int CountSteps(int count, int batchSize) => (int)(((long)count + batchSize - 1) / batchSize);
}
