// Sequences of random numbers for the host: see philox.h for the generator.
#pragma once

#include <cstdint>

namespace adn {

void random_bits(uint32_t* bits, uint64_t count, uint64_t seed, uint64_t stream, uint64_t offset);
void random_permutation(uint32_t* order, uint64_t count, uint64_t seed, uint64_t stream);
// Uniform in [-bound, bound).
void random_uniform(float* values, uint64_t count, float bound, uint64_t seed, uint64_t stream);

}  // namespace adn
