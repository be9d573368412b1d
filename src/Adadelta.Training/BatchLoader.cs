using System.Runtime.ExceptionServices;
using Adadelta.Native;

namespace Adadelta.Training;

/// <summary>
/// Shuffled training batches, prepared on a background thread while the network trains on the one before.
/// </summary>
/// <remarks>
/// <para>
/// The images of epoch e (from 0) come in the order of the Philox permutation of (seed, stream 2^48 + e): it depends on the seed
/// and the epoch alone, so that a run can be taken up at any (epoch, step). The streams below 2^48 are left to the data sets and
/// those from 2^56 on to the native library.
/// </para>
/// <para>
/// Memory: <see cref="RingSize"/> batches of floats and labels and one order of the data set; nothing is allocated per batch.
/// One thread may call <see cref="TryTake"/> at a time.
/// </para>
/// </remarks>
public sealed class BatchLoader : IDisposable
{
    /// <summary>Batches held at once: one in use, two ready, so that a late start of the thread is never noticed.</summary>
    public const int RingSize = 3;

    private const ulong ShuffleStream = 1UL << 48;

    /// <summary>Fills <paramref name="order"/> with the places in the data set of an epoch's images.</summary>
    internal delegate void EpochOrder(Span<uint> order, int epoch);

    private sealed class Slot(int batchSize, int imageLength)
    {
        public readonly float[] Images = new float[batchSize * imageLength];
        public readonly int[] Labels = new int[batchSize];
        public int Count, Epoch, Step;
    }

    private readonly ImageDataset _data;
    private readonly EpochOrder _order;
    private readonly int _epochs, _firstEpoch, _firstStep, _imageLength;
    private readonly Slot[] _ring;
    private readonly Thread _thread;

    // guards everything below; Monitor.Wait sleeps without spinning and allocates nothing
    private readonly object _gate = new();
    private int _next, _ready;
    private bool _taken, _finished, _disposed;
    private ExceptionDispatchInfo? _error;

    /// <summary>Starts to prepare batches.</summary>
    /// <param name="data">The images.</param>
    /// <param name="batchSize">Images a batch, at least 1; the last batch of an epoch has those that are left.</param>
    /// <param name="seed">Seed of the order.</param>
    /// <param name="epochs">The epoch to stop before, at least 0.</param>
    /// <param name="epoch">The epoch to start with, from 0 and at most <paramref name="epochs"/>.</param>
    /// <param name="step">The batch of that epoch to start with, from 0 and below the batches of an epoch.</param>
    /// <exception cref="ArgumentException">An argument is out of its bounds.</exception>
    public BatchLoader(ImageDataset data, int batchSize, ulong seed, int epochs, int epoch = 0, int step = 0)
        : this(data, batchSize, epochs, epoch, step, (order, e) => Philox.Permutation(order, seed, ShuffleStream + (ulong)e))
    {
    }

    internal BatchLoader(ImageDataset data, int batchSize, int epochs, int epoch, int step, EpochOrder order)
    {
        ArgumentNullException.ThrowIfNull(data);
        Require.That(batchSize >= 1, nameof(batchSize), batchSize, "batchSize >= 1");
        Require.That(epochs >= 0, nameof(epochs), epochs, "epochs >= 0");
        Require.That(epoch >= 0 && epoch <= epochs, nameof(epoch), epoch, $"0 <= epoch <= {epochs}");
        StepsPerEpoch = CountSteps(data.Count, batchSize);
        Require.That(step >= 0 && step < StepsPerEpoch, nameof(step), step, $"0 <= step < {StepsPerEpoch}");
        BatchSize = batchSize;

        (_data, _order, _epochs, _firstEpoch, _firstStep) = (data, order, epochs, epoch, step);
        _imageLength = data.Shape.Count;
        var largest = Math.Min(batchSize, data.Count);
        _ring = new Slot[RingSize];
        for (var i = 0; i < RingSize; i++)
        {
            _ring[i] = new Slot(largest, _imageLength);
        }
        _thread = new Thread(Prepare) { IsBackground = true, Name = "Adadelta batches" };
        _thread.Start();
    }

    /// <summary>Images a batch, but for the last of an epoch.</summary>
    public int BatchSize { get; }

    /// <summary>Batches of a whole epoch, the last short one included.</summary>
    public int StepsPerEpoch { get; }

    /// <summary>Batches of an epoch over <paramref name="count"/> images, the last short one included.</summary>
    internal static int CountSteps(int count, int batchSize) => (int)(((long)count + batchSize - 1) / batchSize);

    /// <summary>A batch, valid until the loader's next <see cref="TryTake"/> or <see cref="Dispose"/>.</summary>
    public readonly ref struct Batch
    {
        internal Batch(ReadOnlySpan<float> images, ReadOnlySpan<int> labels, int epoch, int step)
        {
            Images = images;
            Labels = labels;
            Epoch = epoch;
            Step = step;
        }

        /// <summary>[images, C, H, W], row-major, pixels scaled to [0, 1].</summary>
        public ReadOnlySpan<float> Images { get; }

        /// <summary>The class of each image.</summary>
        public ReadOnlySpan<int> Labels { get; }

        /// <summary>The epoch, from 0.</summary>
        public int Epoch { get; }

        /// <summary>The batch's place in its epoch, from 0.</summary>
        public int Step { get; }
    }

    /// <summary>Takes the next batch and gives the one before back to the loader; waits when none is ready.</summary>
    /// <param name="batch">The batch, or an empty one at the end.</param>
    /// <returns>False when all epochs are through.</returns>
    /// <exception cref="ObjectDisposedException">The loader is disposed, now or while this waits.</exception>
    /// <remarks>An exception of the background thread is thrown here, after the batches that were ready before it.</remarks>
    public bool TryTake(out Batch batch)
    {
        lock (_gate)
        {
            if (_taken)
            {
                _taken = false;
                _next = (_next + 1) % RingSize;
                _ready--;
                Monitor.PulseAll(_gate);
            }
            while (_ready == 0 && !_finished && !_disposed)
            {
                Monitor.Wait(_gate);
            }
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_ready == 0)
            {
                _error?.Throw();
                batch = default;
                return false;
            }
            _taken = true;
            var slot = _ring[_next];
            var images = slot.Images.AsSpan(0, slot.Count * _imageLength);
            batch = new Batch(images, slot.Labels.AsSpan(0, slot.Count), slot.Epoch, slot.Step);
            return true;
        }
    }

    /// <summary>Stops the background thread and waits for it: no longer than one batch or one shuffle.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            Monitor.PulseAll(_gate);
        }
        _thread.Join();
    }

    private void Prepare()
    {
        try
        {
            uint[] order = new uint[_data.Count];
            var free = 0;
            for (var epoch = _firstEpoch; epoch < _epochs; epoch++)
            {
                _order(order, epoch);
                for (var step = epoch == _firstEpoch ? _firstStep : 0; step < StepsPerEpoch; step++)
                {
                    if (!WaitForFreeSlot())
                    {
                        return;
                    }
                    Fill(_ring[free], order, epoch, step);
                    free = (free + 1) % RingSize;
                    lock (_gate)
                    {
                        _ready++;
                        Monitor.PulseAll(_gate);
                    }
                }
            }
            Finish(null);
        }
        catch (Exception error)
        {
            // an exception that leaves a thread ends the process: it belongs to whoever takes the batches
            Finish(ExceptionDispatchInfo.Capture(error));
        }
    }

    private bool WaitForFreeSlot()
    {
        lock (_gate)
        {
            while (_ready == RingSize && !_disposed)
            {
                Monitor.Wait(_gate);
            }
            return !_disposed;
        }
    }

    private void Finish(ExceptionDispatchInfo? error)
    {
        lock (_gate)
        {
            _error = error;
            _finished = true;
            Monitor.PulseAll(_gate);
        }
    }

    private void Fill(Slot slot, uint[] order, int epoch, int step)
    {
        var first = step * BatchSize;
        var count = Math.Min(BatchSize, _data.Count - first);
        var labels = _data.Labels.Span;
        for (var i = 0; i < count; i++)
        {
            var image = (int)order[first + i];
            Pixels.Scale(_data.Image(image), slot.Images.AsSpan(i * _imageLength, _imageLength));
            slot.Labels[i] = labels[image];
        }
        (slot.Count, slot.Epoch, slot.Step) = (count, epoch, step);
    }
}
