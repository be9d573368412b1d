using Adadelta.Native;
using NUnit.Framework;

namespace Adadelta.Training.Tests;

public class BatchSamplerTests
{
    private static IEnumerable<uint[]> Epoch(BatchSampler sampler, int epoch) =>
        Enumerable.Range(0, sampler.StepsPerEpoch).Select(step => sampler.GetBatch(epoch, step).ToArray());

    [Test]
    public void Each_epoch_is_the_Philox_permutation_of_seed_and_epoch()
    {
        var sampler = new BatchSampler(1000, 64, seed: 7);
        for (var epoch = 0; epoch < 3; epoch++)
        {
            Assert.That(
                Epoch(sampler, epoch).SelectMany(batch => batch), Is.EqualTo(Philox.Permutation(1000, 7, (1UL << 48) + (ulong)epoch)));
        }
    }

    [Test]
    public void Every_image_comes_once_an_epoch_in_an_order_of_its_own()
    {
        var orders = new List<uint[]>();
        foreach (var seed in new ulong[] { 1, 2 })
        {
            var sampler = new BatchSampler(300, 32, seed);
            orders.AddRange(Enumerable.Range(0, 2).Select(epoch => Epoch(sampler, epoch).SelectMany(batch => batch).ToArray()));
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
        var sampler = new BatchSampler(count, batchSize, seed: 1);
        Assert.That((sampler.Count, sampler.BatchSize, sampler.StepsPerEpoch), Is.EqualTo((count, batchSize, sizes.Length)));
        Assert.That(Epoch(sampler, 1).Select(batch => batch.Length), Is.EqualTo(sizes));
    }

    [TestCase(0, 5)]
    [TestCase(1, 0)]
    [TestCase(2, 9)]
    public void A_batch_is_the_same_whatever_was_taken_before_it(int epoch, int step)
    {
        var whole = new BatchSampler(100, 11, seed: 3);
        uint[] expected = [];
        for (var e = 0; e <= epoch; e++)
        {
            expected = Epoch(whole, e).ElementAt(step);
        }
        Assert.That(new BatchSampler(100, 11, seed: 3).GetBatch(epoch, step).ToArray(), Is.EqualTo(expected));
        _ = whole.GetBatch(epoch + 1, 0);
        Assert.That(whole.GetBatch(epoch, step).ToArray(), Is.EqualTo(expected));
    }

    [Test]
    public void A_batch_allocates_nothing()
    {
        var sampler = new BatchSampler(400, 4, seed: 1);
        _ = sampler.GetBatch(0, 0);
        _ = sampler.GetBatch(1, 0);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 10_000; i++)
        {
            _ = sampler.GetBatch(i / 100, i % 100);
        }
        // nor does an epoch
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    [Test]
    public void Arguments_out_of_bounds_are_refused()
    {
        var sampler = new BatchSampler(10, 4, 1);
        AssertRefused(() => _ = new BatchSampler(0, 4, 1), "count: 0, expected count >= 1");
        AssertRefused(() => _ = new BatchSampler(10, 0, 1), "batchSize: 0, expected batchSize >= 1");
        AssertRefused(() => sampler.GetBatch(-1, 0), "epoch: -1, expected epoch >= 0");
        AssertRefused(() => sampler.GetBatch(0, -1), "step: -1, expected 0 <= step < 3");
        AssertRefused(() => sampler.GetBatch(0, 3), "step: 3, expected 0 <= step < 3");

        static void AssertRefused(Action call, string message) =>
            Assert.That(() => call(), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.StartsWith(message));
    }
}
