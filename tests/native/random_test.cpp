// Philox4x32-10 and what is drawn with it.
#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <set>

#include "support.h"

namespace adadelta::test {
namespace {

using Words = std::array<uint32_t, 4>;

// The generator as its paper has it, written apart from the library's.
Words philox4x32_10(Words counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xD2511F53} * counter[0], second = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(second >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(second),
               static_cast<uint32_t>(first >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(first)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

std::vector<uint32_t> bits(uint64_t count, uint64_t seed, uint64_t stream, uint64_t offset = 0) {
  std::vector<uint32_t> words(count);
  check(adn_random_bits(words.data(), count, seed, stream, offset));
  return words;
}

std::vector<uint32_t> permutation(uint64_t count, uint64_t seed, uint64_t stream) {
  std::vector<uint32_t> order(count);
  check(adn_random_permutation(order.data(), count, seed, stream));
  return order;
}

// kat_vectors of Random123, "philox4x32 10".
TEST(Philox, KnownAnswersOfTheIndependentForm) {
  EXPECT_EQ((Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}), philox4x32_10({0, 0, 0, 0}, {0, 0}));
  EXPECT_EQ((Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}), philox4x32_10({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}));
  EXPECT_EQ((Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}),
            philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}));
}

TEST(Philox, KnownAnswerOfTheLibrary) {
  EXPECT_EQ((std::vector<uint32_t>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}), bits(4, 0, 0));
}

// The key is the seed; the counter is the place / 4 and the stream.
TEST(Philox, EveryWordEqualsTheIndependentForm) {
  Random random(1);
  for (int i = 0; i < 200; ++i) {
    const uint64_t seed = random.integer(0, ~0ull - 1), stream = random.integer(0, ~0ull - 1);
    const uint64_t offset = random.integer(0, 1ull << random.integer(0, 62));
    const std::vector<uint32_t> words = bits(9, seed, stream, offset);
    for (uint64_t j = 0; j < words.size(); ++j) {
      const uint64_t place = offset + j, block = place / 4;
      const Words expected = philox4x32_10({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                                            static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
                                           {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
      ASSERT_EQ(expected[place % 4], words[j]) << seed << " " << stream << " " << offset << " + " << j;
    }
  }
}

TEST(Philox, AnyPartEqualsThatPartOfTheWhole) {
  const std::vector<uint32_t> whole = bits(100, 7, 9);
  for (uint64_t offset = 0; offset < 20; ++offset) {
    for (uint64_t count = 0; count < 20; ++count) {
      const std::vector<uint32_t> part = bits(count, 7, 9, offset);
      ASSERT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + static_cast<ptrdiff_t>(offset)));
    }
  }
}

TEST(Philox, NothingMayBeAskedForWithNull) {
  check(adn_random_bits(nullptr, 0, 1, 2, 3));
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_random_bits(nullptr, 1, 1, 2, 3), {"bits", "NULL"});
  check(adn_random_permutation(nullptr, 0, 1, 2));
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_random_permutation(nullptr, 1, 1, 2), {"order", "NULL"});
}

TEST(Permutation, HoldsEveryNumberOnce) {
  for (uint64_t count : {1, 2, 3, 4, 5, 64, 1000, 60000}) {
    std::vector<uint32_t> order = permutation(count, 1, count);
    std::sort(order.begin(), order.end());
    for (uint64_t i = 0; i < count; ++i) {
      ASSERT_EQ(i, order[i]);
    }
  }
}

TEST(Permutation, DependsOnSeedAndStreamAlone) {
  EXPECT_EQ(permutation(100, 1, 2), permutation(100, 1, 2));
  EXPECT_NE(permutation(100, 1, 2), permutation(100, 1, 3));
  EXPECT_NE(permutation(100, 1, 2), permutation(100, 2, 2));
}

// Pearson's statistic over all 24 orders of 4: 23 degrees of freedom, 59.6 is passed by chance once in 25,000 draws.
TEST(Permutation, EveryOrderIsEquallyLikely) {
  std::map<std::vector<uint32_t>, int> seen;
  constexpr int draws = 24000;
  for (int stream = 0; stream < draws; ++stream) {
    ++seen[permutation(4, 11, static_cast<uint64_t>(stream))];
  }
  EXPECT_EQ(24u, seen.size());
  double statistic = 0;
  for (const auto& [order, count] : seen) {
    statistic += (count - draws / 24.0) * (count - draws / 24.0) / (draws / 24.0);
  }
  EXPECT_LT(statistic, 59.6);
}

TEST(Permutation, RefusesMoreThan32BitsCanNumber) {
  uint32_t order = 7;
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_random_permutation(&order, 1ull << 32, 1, 2),
                 {"count", "4294967296", "4294967295"});
  EXPECT_EQ(7u, order);
}

// ---- Initial weights ----

class Initialisation : public testing::Test {
 protected:
  // Conv2d with fan_in 75 and Linear with fan_in 4000.
  static Layers layers() { return Layers({3, 24, 24}).conv(40, 5).relu().avg_pool(2).flatten().linear(30); }
  static std::vector<Floats> draw(uint64_t seed, uint32_t threads = 1, int32_t set = ADN_INSTRUCTION_SET_AUTO) {
    const Context context = make_context(threads, set);
    NetworkSettings settings;
    settings.seed = seed;
    settings.max_batch_size = 2;
    return Network(context.get(), layers(), settings).values();
  }
};

// PyTorch's kaiming_uniform(a = sqrt 5) and its bias: U(-b, b) with b = 1/sqrt(fan_in).
TEST_F(Initialisation, IsUniformBetweenItsBounds) {
  const std::vector<Floats> values = draw(1);
  const double bounds[] = {1 / std::sqrt(75.0), 1 / std::sqrt(75.0), 1 / std::sqrt(4000.0), 1 / std::sqrt(4000.0)};
  ASSERT_EQ(4u, values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    SCOPED_TRACE(i);
    const double bound = bounds[i];
    const auto count = static_cast<double>(values[i].size());
    double sum = 0, squares = 0;
    std::array<int, 10> histogram{};
    for (float value : values[i]) {
      ASSERT_LE(std::fabs(value), bound * (1 + 0x1p-23));
      sum += value;
      squares += static_cast<double>(value) * value;
      ++histogram[std::clamp(static_cast<int>((value / bound + 1) * 5), 0, 9)];
    }
    // Five standard deviations of the mean (b/sqrt(3n)) and of the mean square (b^2 * sqrt(4/(45n))).
    EXPECT_NEAR(0, sum / count, 5 * bound / std::sqrt(3 * count));
    EXPECT_NEAR(bound * bound / 3, squares / count, 5 * bound * bound * std::sqrt(4 / (45 * count)));
    double statistic = 0;
    for (int n : histogram) {
      statistic += (n - count / 10) * (n - count / 10) / (count / 10);
    }
    EXPECT_LT(statistic, 37.7) << "9 degrees of freedom: by chance once in 50,000 draws";
  }
}

TEST_F(Initialisation, DependsOnTheSeedAlone) {
  const std::vector<Floats> expected = draw(1);
  for (int32_t set : instruction_sets()) {
    for (uint32_t threads : {1u, 2u, 3u}) {
      expect_same_bits(expected, draw(1, threads, set), instruction_set_name(set));
    }
  }
  const std::vector<Floats> other = draw(2);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NE(expected[i], other[i]);
  }
}

TEST_F(Initialisation, LayersOfOneShapeDiffer) {
  const Context context = make_context();
  const Network network(context.get(), Layers({8, 1, 1}).flatten().linear(8).linear(8));
  EXPECT_NE(network.values()[0], network.values()[2]);
  EXPECT_NE(network.values()[1], network.values()[3]);
}

TEST_F(Initialisation, GradientsAndStateAreZero) {
  const Context context = make_context();
  const Network network(context.get(), layers());
  for (const Floats& gradient : network.gradients()) {
    EXPECT_EQ(Floats(gradient.size()), gradient);
  }
  const OptimizerHandle optimizer = make_optimizer(context.get(), network);
  for (uint64_t i = 0; i < network.parameter_count(); ++i) {
    adn_tensor* square_avg = nullptr;
    adn_tensor* acc_delta = nullptr;
    check(adn_adadelta_get_state(&square_avg, &acc_delta, optimizer.get(), i));
    const Tensor v(square_avg), u(acc_delta);
    EXPECT_EQ(Floats(read(v.get()).size()), read(v.get()));
    EXPECT_EQ(Floats(read(u.get()).size()), read(u.get()));
  }
}

}  // namespace
}  // namespace adadelta::test
