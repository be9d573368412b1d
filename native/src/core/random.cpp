#include "core/random.h"

#include "core/error.h"
#include "core/philox.h"

namespace adn {
namespace {

// Reads one sequence word by word, computing each block of four once.
class Words {
 public:
  Words(uint64_t seed, uint64_t stream, uint64_t offset) : seed_(seed), stream_(stream), place_(offset) {
    block_ = philox(seed_, stream_, place_ / 4);
  }
  uint32_t next() {
    const uint32_t word = block_.word[place_ % 4];
    if (++place_ % 4 == 0) block_ = philox(seed_, stream_, place_ / 4);
    return word;
  }

 private:
  uint64_t seed_, stream_, place_;
  PhiloxWords block_;
};

}  // namespace

void random_bits(uint32_t* bits, uint64_t count, uint64_t seed, uint64_t stream, uint64_t offset) {
  Words words(seed, stream, offset);
  for (uint64_t i = 0; i < count; ++i) bits[i] = words.next();
}

void random_permutation(uint32_t* order, uint64_t count, uint64_t seed, uint64_t stream) {
  Words words(seed, stream, 0);
  for (uint64_t i = 0; i < count; ++i) order[i] = static_cast<uint32_t>(i);
  for (uint64_t i = count; i > 1; --i) {
    // Lemire's multiply-shift with rejection, "Fast random integer generation in an interval", 2019: unbiased.
    const uint32_t bound = static_cast<uint32_t>(i);
    uint64_t product = static_cast<uint64_t>(words.next()) * bound;
    if (static_cast<uint32_t>(product) < bound) {
      const uint32_t threshold = (0u - bound) % bound;
      while (static_cast<uint32_t>(product) < threshold) product = static_cast<uint64_t>(words.next()) * bound;
    }
    const uint32_t j = static_cast<uint32_t>(product >> 32), last = bound - 1, kept = order[last];
    order[last] = order[j];
    order[j] = kept;
  }
}

void random_uniform(float* values, uint64_t count, float bound, uint64_t seed, uint64_t stream) {
  Words words(seed, stream, 0);
  for (uint64_t i = 0; i < count; ++i) values[i] = bound * (2.0f * uniform01(words.next()) - 1.0f);
}

}  // namespace adn
