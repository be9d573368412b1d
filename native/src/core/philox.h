// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011): a function from (key, counter) to four 32-bit words, so that every
// device, thread count and resumed run draws the same numbers. Taken by the host compiler and by nvcc.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define ADN_HOST_DEVICE __host__ __device__ __forceinline__
#elif defined(_MSC_VER)
#define ADN_HOST_DEVICE static __forceinline
#else
#define ADN_HOST_DEVICE static inline __attribute__((always_inline))
#endif

namespace adn {

struct PhiloxWords {
  uint32_t word[4];
};

// Words 4*block … 4*block+3 of the sequence (seed, stream): the key is the seed, the counter (block, stream).
ADN_HOST_DEVICE PhiloxWords philox(uint64_t seed, uint64_t stream, uint64_t block) {
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  PhiloxWords c = {{static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), static_cast<uint32_t>(stream),
                    static_cast<uint32_t>(stream >> 32)}};
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = 0xD2511F53ull * c.word[0], b = 0xCD9E8D57ull * c.word[2];
    c = {{static_cast<uint32_t>(b >> 32) ^ c.word[1] ^ k0, static_cast<uint32_t>(b),
          static_cast<uint32_t>(a >> 32) ^ c.word[3] ^ k1, static_cast<uint32_t>(a)}};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

// Uniform in [0, 1) with 24 bits, all of them exact in float32.
ADN_HOST_DEVICE float uniform01(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

// Streams of the library's own numbers have a tag in the top byte; a caller's are expected to be smaller.
ADN_HOST_DEVICE uint64_t init_stream(uint64_t parameter) { return 1ull << 56 | parameter; }
ADN_HOST_DEVICE uint64_t dropout_stream(uint64_t layer, uint64_t step) { return 2ull << 56 | layer << 40 | step; }

}  // namespace adn
