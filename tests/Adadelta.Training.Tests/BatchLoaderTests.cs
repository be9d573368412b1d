using Adadelta.Native;
using NUnit.Framework;

namespace Adadelta.Training.Tests;

public class BatchLoaderTests
{
    // every image carries its place in the data set in its first two pixels
    private static ImageDataset Numbered(int count)
    {
        var pixels = new byte[count * 6];
        for (var i = 0; i < count; i++)
        {
            (pixels[i * 6], pixels[i * 6 + 1], pixels[i * 6 + 5]) = ((byte)i, (byte)(i >> 8), 255);
        }
        return new ImageDataset("numbered", 1, 2, 3, 10, pixels, [.. Enumerable.Range(0, count).Select(i => (byte)(i % 10))]);
    }

    private static int Place(ReadOnlySpan<float> images, int index) =>
        (int)MathF.Round(images[index * 6] * 255) | (int)MathF.Round(images[index * 6 + 1] * 255) << 8;

    private sealed record Taken(int Epoch, int Step, int[] Places);

    private static List<Taken> TakeAll(BatchLoader loader)
    {
        var all = new List<Taken>();
        while (loader.TryTake(out var batch))
        {
            all.Add(Copy(batch));
        }
        return all;
    }

    private static Taken Copy(BatchLoader.Batch batch)
    {
        var places = new int[batch.Labels.Length];
        Assert.That(batch.Images.Length, Is.EqualTo(places.Length * 6));
        for (var i = 0; i < places.Length; i++)
        {
            places[i] = Place(batch.Images, i);
            Assert.That(batch.Labels[i], Is.EqualTo(places[i] % 10));
            Assert.That(batch.Images[i * 6 + 5], Is.EqualTo(1f));
        }
        return new Taken(batch.Epoch, batch.Step, places);
    }

    [Test]
    public void Each_epoch_is_the_Philox_permutation_of_seed_and_epoch()
    {
        using var loader = new BatchLoader(Numbered(1000), 64, seed: 7, epochs: 3);
        var all = TakeAll(loader);
        for (var epoch = 0; epoch < 3; epoch++)
        {
            var places = all.Where(batch => batch.Epoch == epoch).SelectMany(batch => batch.Places);
            Assert.That(places, Is.EqualTo(Philox.Permutation(1000, 7, (1UL << 48) + (ulong)epoch)));
        }
    }

    [Test]
    public void Every_image_comes_once_an_epoch_in_an_order_of_its_own()
    {
        var orders = new List<int[]>();
        foreach (var seed in new ulong[] { 1, 2 })
        {
            using var loader = new BatchLoader(Numbered(300), 32, seed, epochs: 2);
            var all = TakeAll(loader);
            orders.AddRange(all.GroupBy(batch => batch.Epoch).Select(epoch => epoch.SelectMany(batch => batch.Places).ToArray()));
        }
        Assert.That(orders, Has.Count.EqualTo(4).And.Unique);
        Assert.That(orders, Has.All.EquivalentTo(Enumerable.Range(0, 300)));
    }

    [TestCase(10, 4, new[] { 4, 4, 2 })]
    [TestCase(8, 4, new[] { 4, 4 })]
    [TestCase(3, 4, new[] { 3 })]
    [TestCase(1, 1, new[] { 1 })]
    [TestCase(5, int.MaxValue, new[] { 5 })]
    public void The_last_short_batch_is_kept(int count, int batchSize, int[] sizes)
    {
        using var loader = new BatchLoader(Numbered(count), batchSize, seed: 1, epochs: 2);
        var all = TakeAll(loader);
        Assert.That(loader.StepsPerEpoch, Is.EqualTo(sizes.Length));
        Assert.That(all.Select(batch => batch.Places.Length), Is.EqualTo(sizes.Concat(sizes)));
        Assert.That(all.Select(batch => batch.Epoch * sizes.Length + batch.Step),
            Is.EqualTo(Enumerable.Range(0, 2 * sizes.Length)));
    }

    [TestCase(0, 5)]
    [TestCase(1, 0)]
    [TestCase(2, 9)]
    public void A_run_is_taken_up_at_any_epoch_and_step(int epoch, int step)
    {
        var data = Numbered(100);
        using var whole = new BatchLoader(data, 11, seed: 3, epochs: 3);
        using var rest = new BatchLoader(data, 11, seed: 3, epochs: 3, epoch, step);
        var expected = TakeAll(whole).Skip(epoch * whole.StepsPerEpoch + step);
        Assert.That(TakeAll(rest).Select(Describe), Is.EqualTo(expected.Select(Describe)));

        static string Describe(Taken batch) => $"{batch.Epoch}.{batch.Step}: {string.Join(' ', batch.Places)}";
    }

    [TestCase(0, 0)]
    [TestCase(3, 3)]
    public void No_epochs_are_an_empty_sequence(int epochs, int epoch)
    {
        using var loader = new BatchLoader(Numbered(10), 4, seed: 1, epochs, epoch);
        Assert.That(loader.TryTake(out var batch), Is.False);
        Assert.That(batch.Labels.IsEmpty && batch.Images.IsEmpty, Is.True);
        Assert.That(loader.TryTake(out _), Is.False);
    }

    [Test]
    public void A_batch_stays_as_it_is_until_the_next_one_is_taken()
    {
        using var loader = new BatchLoader(Numbered(200), 8, seed: 5, epochs: 1);
        var expected = Philox.Permutation(200, 5, 1UL << 48).Select(place => (int)place).Chunk(8).GetEnumerator();
        while (loader.TryTake(out var batch))
        {
            expected.MoveNext();
            // long enough for the thread to fill what it may fill
            Thread.Sleep(1);
            Assert.That(Copy(batch).Places, Is.EqualTo(expected.Current));
        }
    }

    [Test]
    public void An_exception_of_the_thread_comes_out_after_the_batches_before_it()
    {
        static void FailInSecondEpoch(Span<uint> order, int epoch)
        {
            if (epoch == 1)
            {
                throw new IOException("the disk is gone");
            }
            for (var i = 0; i < order.Length; i++)
            {
                order[i] = (uint)i;
            }
        }

        using var loader = new BatchLoader(Numbered(20), 4, epochs: 2, epoch: 0, step: 0, FailInSecondEpoch);
        for (var step = 0; step < 5; step++)
        {
            Assert.That(loader.TryTake(out var batch), Is.True);
            Assert.That(batch.Step, Is.EqualTo(step));
        }
        for (var i = 0; i < 2; i++)
        {
            Assert.That(() => loader.TryTake(out _), Throws.TypeOf<IOException>().With.Message.EqualTo("the disk is gone"));
        }
    }

    [Test]
    public void Disposal_at_any_time_ends_the_thread()
    {
        for (var taken = 0; taken < 6; taken++)
        {
            var loader = new BatchLoader(Numbered(100), 4, seed: 1, epochs: 1000);
            for (var i = 0; i < taken; i++)
            {
                loader.TryTake(out _);
            }
            loader.Dispose();
            loader.Dispose();
            Assert.That(() => loader.TryTake(out _), Throws.TypeOf<ObjectDisposedException>());
        }
    }

    [Test]
    public void Disposal_wakes_whoever_waits_for_a_batch()
    {
        using var shuffle = new ManualResetEventSlim();
        var loader = new BatchLoader(Numbered(20), 4, epochs: 1, epoch: 0, step: 0, (_, _) => shuffle.Wait());
        var taker = Task.Factory.StartNew(
            () => loader.TryTake(out _), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        var disposer = Task.Factory.StartNew(
            loader.Dispose, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        Assert.That(() => taker.GetAwaiter().GetResult(), Throws.TypeOf<ObjectDisposedException>());
        shuffle.Set();
        disposer.Wait();
    }

    [Test]
    public void A_batch_allocates_nothing()
    {
        const int Batches = 20_000, Rounds = 5;
        using var loader = new BatchLoader(Numbered(400), 4, seed: 1, epochs: Rounds * Batches / 100 + 2);
        for (var i = 0; i < 100; i++)
        {
            loader.TryTake(out _);
        }
        // The count is the whole process's: the test host sends results of earlier tests meanwhile, which can only add. So the
        // least of some rounds tells.
        var least = long.MaxValue;
        for (var round = 0; round < Rounds; round++)
        {
            var before = GC.GetTotalAllocatedBytes(precise: true);
            for (var i = 0; i < Batches; i++)
            {
                loader.TryTake(out _);
            }
            least = Math.Min(least, GC.GetTotalAllocatedBytes(precise: true) - before);
        }
        // the smallest object has 24 bytes
        Assert.That(least, Is.LessThan(24 * Batches / 2));
    }

    [Test]
    public void Arguments_out_of_bounds_are_refused()
    {
        var data = Numbered(10);
        Assert.That(() => new BatchLoader(null!, 4, 1, 1), Throws.ArgumentNullException);
        AssertRefused(() => new BatchLoader(data, 0, 1, 1), "batchSize: 0, expected batchSize >= 1");
        AssertRefused(() => new BatchLoader(data, 4, 1, -1), "epochs: -1, expected epochs >= 0");
        AssertRefused(() => new BatchLoader(data, 4, 1, 2, 3), "epoch: 3, expected 0 <= epoch <= 2");
        AssertRefused(() => new BatchLoader(data, 4, 1, 2, -1), "epoch: -1, expected 0 <= epoch <= 2");
        AssertRefused(() => new BatchLoader(data, 4, 1, 2, 0, 3), "step: 3, expected 0 <= step < 3");

        static void AssertRefused(Func<BatchLoader> create, string message) =>
            Assert.That(() => create(), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.StartsWith(message));
    }
}
