// Kernels for AVX2 and FMA: 6 x 2 sums, 2 columns of B and a broadcast fill 15 of the 16 registers.
#include <immintrin.h>

#include "cpu/kernels.h"

namespace adn::cpu {
namespace {

constexpr int64_t kLanes = 8;
constexpr int kTileRows[] = {0, 12, 6};

using V = __m256;
typedef int32_t Integers __attribute__((vector_size(32)));

inline V load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, V x) { _mm256_storeu_ps(p, x); }
inline V broadcast(float x) { return _mm256_set1_ps(x); }
inline V multiply_add(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
inline void load_places(Integers& x, const uint8_t* p) {
  x = (Integers)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline void store_places(uint8_t* p, Integers x) {
  const __m256i i = (__m256i)x;
  const __m128i halves = _mm_packus_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(halves, halves));
}

}  // namespace
}  // namespace adn::cpu

#include "cpu/kernels.inl"

namespace adn::cpu {
const Kernels& avx2_kernels() { return kTable; }
}  // namespace adn::cpu
