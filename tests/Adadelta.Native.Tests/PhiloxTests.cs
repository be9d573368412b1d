using NUnit.Framework;

namespace Adadelta.Native.Tests;

internal sealed class PhiloxTests
{
    // Random123's published answers for philox4x32-10 (kat_vectors): counter, key, result.
    private static readonly TestCaseData[] s_knownAnswers =
    [
        new(new uint[] { 0, 0, 0, 0 }, new uint[] { 0, 0 }, new uint[] { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 }),
        new(
            new uint[] { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff }, new uint[] { 0xffffffff, 0xffffffff },
            new uint[] { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd }),
        new(
            new uint[] { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, new uint[] { 0xa4093822, 0x299f31d0 },
            new uint[] { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 }),
    ];

    [TestCaseSource(nameof(s_knownAnswers))]
    public void The_reference_gives_the_published_answers(uint[] counter, uint[] key, uint[] expected) =>
        Assert.That(Reference(counter, key), Is.EqualTo(expected));

    [Test]
    public void The_library_gives_the_published_answer()
    {
        var bits = new uint[4];
        Philox.Bits(bits, seed: 0, stream: 0);
        Assert.That(bits, Is.EqualTo(s_knownAnswers[0].Arguments[2]));
    }

    // The other two published counters are beyond the last place of a sequence, so the library is held against the
    // reference, which reproduces all three. The key is the seed; the counter is the block of four, then the stream.
    [TestCase(0xa4093822299f31d0ul, 0x0370734413198a2eul, 0ul)]
    [TestCase(0xfffffffffffffffful, 0xfffffffffffffffful, 0xfffffffffffffff0ul)]
    [TestCase(1ul, 2ul, 0x0000000400000000ul)]
    [TestCase(42ul, 7ul, 12ul)]
    public void The_library_agrees_with_the_reference(ulong seed, ulong stream, ulong offset)
    {
        var bits = new uint[12];
        Philox.Bits(bits, seed, stream, offset);
        for (var i = 0; i < bits.Length; i += 4)
        {
            var block = (offset + (ulong)i) / 4;
            var expected = Reference(
                [(uint)block, (uint)(block >> 32), (uint)stream, (uint)(stream >> 32)], [(uint)seed, (uint)(seed >> 32)]);
            Assert.That(bits[i..(i + 4)], Is.EqualTo(expected));
        }
    }

    [Test]
    public void A_sequence_may_be_read_from_anywhere()
    {
        var whole = new uint[41];
        Philox.Bits(whole, seed: 5, stream: 6);
        for (var offset = 0; offset < 10; offset++)
        {
            var part = new uint[whole.Length - offset];
            Philox.Bits(part, seed: 5, stream: 6, (ulong)offset);
            Assert.That(part, Is.EqualTo(whole[offset..]));
        }
    }

    [Test]
    public void No_words_are_fine() => Assert.That(() => Philox.Bits([], 1, 2), Throws.Nothing);

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(2)]
    [TestCase(1000)]
    public void A_permutation_holds_every_number_once(int count)
    {
        var order = Philox.Permutation(count, seed: 1, stream: 2);
        Assert.That(order.Order(), Is.EqualTo(Enumerable.Range(0, count).Select(i => (uint)i)));
    }

    [Test]
    public void Permutations_depend_on_seed_and_stream_alone()
    {
        var order = Philox.Permutation(100, seed: 1, stream: 2);
        var again = new uint[100];
        Philox.Permutation(again, seed: 1, stream: 2);
        Assert.That(again, Is.EqualTo(order));
        Assert.That(Philox.Permutation(100, seed: 1, stream: 3), Is.Not.EqualTo(order));
        Assert.That(Philox.Permutation(100, seed: 2, stream: 2), Is.Not.EqualTo(order));
    }

    // Each of the 24 orders of 4 numbers is drawn about 1,000 times: chi-squared with 23 degrees of freedom exceeds 49.7 once in 1,000 seeds.
    [Test]
    public void Every_order_is_as_likely()
    {
        var drawn = new Dictionary<string, int>();
        for (var stream = 0ul; stream < 24_000; stream++)
        {
            var order = string.Join(',', Philox.Permutation(4, seed: 1, stream));
            drawn[order] = drawn.GetValueOrDefault(order) + 1;
        }
        Assert.That(drawn, Has.Count.EqualTo(24));
        Assert.That(drawn.Values.Sum(count => Math.Pow(count - 1000, 2) / 1000), Is.LessThan(49.7));
    }

    [Test]
    public void A_negative_count_is_refused() => Assert.That(
        () => Philox.Permutation(-1, 0, 0),
        Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("count: -1, expected 0 <= count"));

    private static uint[] Reference(uint[] counter, uint[] key)
    {
        uint[] c = [.. counter], k = [.. key];
        for (var round = 0; round < 10; round++)
        {
            var a = (ulong)c[0] * 0xD2511F53;
            var b = (ulong)c[2] * 0xCD9E8D57;
            c = [(uint)(b >> 32) ^ c[1] ^ k[0], (uint)b, (uint)(a >> 32) ^ c[3] ^ k[1], (uint)a];
            k[0] = unchecked(k[0] + 0x9E3779B9);
            k[1] = unchecked(k[1] + 0xBB67AE85);
        }
        return c;
    }
}
