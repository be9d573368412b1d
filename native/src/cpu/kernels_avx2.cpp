// Kernels for AVX2 and FMA: 6 x 2 sums, 2 columns of B and a broadcast fill 15 of the 16 registers.
#include <immintrin.h>

#include "cpu/kernels.h"

namespace adn::cpu {
namespace {

constexpr int64_t kLanes = 8;
constexpr int kTileRows[] = {0, 12, 6};

using V = __m256;

inline V load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, V x) { _mm256_storeu_ps(p, x); }
inline V broadcast(float x) { return _mm256_set1_ps(x); }
inline V multiply_add(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }

}  // namespace
}  // namespace adn::cpu

#include "cpu/kernels.inl"

namespace adn::cpu {
const Kernels& avx2_kernels() { return kTable; }
}  // namespace adn::cpu
