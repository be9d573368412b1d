// Random networks against the double-precision reference, on whole numbers, where both must be equal (see layers_test.cpp).
#include <algorithm>
#include <cstdio>
#include <random>

#include "exact.h"

namespace adadelta::test {
namespace {

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::strtoull(text, nullptr, 10);
}

// One to three stages of a convolution with what may follow it, then up to two dense layers. Small enough for the reference,
// which is as slow as plain loops are.
Layers random_layers(Random& random, bool large_image) {
  const auto size = [&](uint64_t low, uint64_t high) {
    return Size(random.integer(low, high), random.integer(low, high));
  };
  const Size image = large_image ? size(16, 40) : size(1, 16);
  Layers layers({random.integer(1, large_image ? 4 : 20), image.height, image.width});
  const auto shape = [&] {
    return layers.list.empty() ? layers.input : reference::Network(layers).layers().back().out;
  };
  const auto pool = [&](bool average) {
    const Shape in = shape();
    // The area of an average is a power of two, so that its division is exact.
    const auto extent = [&](uint64_t limit) {
      return average ? std::min<uint64_t>(limit, uint64_t{1} << random.integer(0, 1))
                     : random.integer(1, std::min<uint64_t>(3, limit));
    };
    const Size window(extent(in.height), extent(in.width));
    const Size padding =
        random.chance(0.3) ? Size(random.integer(0, window.height / 2), random.integer(0, window.width / 2)) : Size(0);
    const Size stride = size(0, 4);
    average ? layers.avg_pool(window, stride, padding) : layers.max_pool(window, stride, padding);
  };
  const auto conv = [&] {
    const Shape in = shape();
    const Size padding = random.chance(0.5) ? Size(0) : size(0, 3);
    const Size dilation = size(1, 2);
    // Its reach, dilation * (kernel - 1) + 1, fits the padded image.
    const auto kernel = [&](uint64_t extent, uint64_t pad, uint64_t spread) {
      return random.integer(1, std::min<uint64_t>(4, (extent + 2 * pad - 1) / spread + 1));
    };
    const Size window(kernel(in.height, padding.height, dilation.height),
                      kernel(in.width, padding.width, dilation.width));
    layers.conv(random.integer(1, random.chance(0.3) ? 40 : 8), window, size(1, 3), padding, dilation,
                random.chance(0.8));
  };
  for (uint64_t stage = random.integer(0, 3); stage > 0; --stage) {
    conv();
    for (uint64_t more = random.integer(0, 2); more > 0; --more) {
      switch (random.integer(0, 3)) {
        case 0:
          pool(false);
          break;
        case 1:
          pool(true);
          break;
        case 2:
          layers.dropout(0);
          break;
        default:
          layers.relu();
      }
    }
  }
  if (layers.list.empty() || random.chance(0.6)) {
    layers.flatten();
    for (uint64_t dense = random.integer(layers.list.size() == 1 ? 1 : 0, 2); dense > 0; --dense) {
      layers.linear(random.integer(1, 40), random.chance(0.8));
      if (random.chance(0.5)) {
        layers.relu();
      }
    }
  }
  return layers;
}

// ADADELTA_NETWORKS and ADADELTA_SEED say how many and which; ADADELTA_LONG=1 makes it 100,000. A failure's trace says the
// network, and ADADELTA_SEED with the number of the network alone gives it again.
TEST(Differential, RandomNetworksEqualReference) {
  const bool long_form = from_environment("ADADELTA_LONG", 0) == 1;
  const uint64_t count = from_environment("ADADELTA_NETWORKS", long_form ? 100000 : small_scale() ? 100 : 1000);
  const uint64_t first = from_environment("ADADELTA_SEED", std::random_device()());
  std::printf("ADADELTA_SEED=%llu ADADELTA_NETWORKS=%llu\n", static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(count));
  const std::vector<int32_t> sets = instruction_sets();
  uint64_t compared = 0, rounded = 0, layers_compared = 0;
  for (uint64_t seed = first; compared < count && !HasFailure(); ++seed) {
    SCOPED_TRACE("ADADELTA_SEED=" + std::to_string(seed));
    Random random(seed);
    const bool large_batch = random.chance(0.3), large_image = !large_batch && random.chance(0.2);
    const uint64_t batch = large_batch ? random.integer(6, 40) : random.integer(1, 5);
    const Layers layers = random_layers(random, large_image);
    const uint64_t max_batch_size = batch + random.integer(0, 3);
    const auto threads = static_cast<uint32_t>(random.chance(0.8) ? 1 : random.integer(2, 4));
    const int32_t set = sets[random.integer(0, sets.size() - 1)];
    // Sparse weights keep the sums of deep networks below the bound.
    const double density = layers.list.size() > 8 ? 0.5 : 1;
    if (compare_exactly(layers, batch, set, {2, density, 0.5}, seed, threads, max_batch_size)) {
      ++compared;
      layers_compared += layers.list.size();
    } else {
      ++rounded;
      ASSERT_LT(rounded, count) << "most draws are too large to be exact";
    }
  }
  std::printf("%llu networks of %llu layers were equal; %llu draws were left out, since float32 may round them\n",
              static_cast<unsigned long long>(compared), static_cast<unsigned long long>(layers_compared),
              static_cast<unsigned long long>(rounded));
}

}  // namespace
}  // namespace adadelta::test
