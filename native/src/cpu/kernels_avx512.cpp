// Kernels for AVX-512: 14 x 2 sums, 2 columns of B and a broadcast fill 31 of the 32 registers.
#include <immintrin.h>

#include "cpu/kernels.h"

namespace adn::cpu {
namespace {

constexpr int64_t kLanes = 16;
constexpr int kTileRows[] = {0, 14, 14};

using V = __m512;
typedef int32_t Integers __attribute__((vector_size(64)));

inline V load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, V x) { _mm512_storeu_ps(p, x); }
inline V broadcast(float x) { return _mm512_set1_ps(x); }
inline V multiply_add(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
// Masked, since GCC 12 warns of an uninitialised value in the plain forms.
inline void load_places(Integers& x, const uint8_t* p) {
  x = (Integers)_mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline void store_places(uint8_t* p, Integers x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)x));
}

}  // namespace
}  // namespace adn::cpu

#include "cpu/kernels.inl"

namespace adn::cpu {
const Kernels& avx512_kernels() { return kTable; }
}  // namespace adn::cpu
