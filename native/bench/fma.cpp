#include "fma.h"

#include "adadelta/adadelta.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bench {
namespace {

// Enough independent chains to hide a latency of up to 6 cycles on two pipes.
constexpr int kChains = 12;

// The result goes where the compiler cannot see that nobody reads it.
volatile float sink;

// V: a vector of floats; Step: one multiply-add of it. Always inlined, to take on the caller's instruction set.
#define BENCH_CHAINS(V, set1, step, first)                                \
  V sums[kChains];                                                        \
  for (V & sum : sums) sum = set1(0.5f);                                  \
  const V factor = set1(0.999f), term = set1(0.001f);                     \
  for (int64_t i = 0; i < repeats; ++i) {                                 \
    for (V & sum : sums) sum = step(sum, factor, term);                   \
  }                                                                       \
  V total = sums[0];                                                      \
  for (int c = 1; c < kChains; ++c) total = step(total, factor, sums[c]); \
  sink = first(total);                                                    \
  return 2.0 * kChains * (sizeof(V) / sizeof(float)) * static_cast<double>(repeats)

#if defined(__x86_64__)

__attribute__((target("avx512f"))) double avx512(int64_t repeats) {
  BENCH_CHAINS(__m512, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_cvtss_f32);
}

__attribute__((target("avx2,fma"))) double avx2(int64_t repeats) {
  BENCH_CHAINS(__m256, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_cvtss_f32);
}

__m128 multiply_add(__m128 a, __m128 b, __m128 c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }

double baseline(int64_t repeats) { BENCH_CHAINS(__m128, _mm_set1_ps, multiply_add, _mm_cvtss_f32); }

#endif

}  // namespace

double run_fma([[maybe_unused]] int32_t instruction_set, [[maybe_unused]] int64_t repeats) {
#if defined(__x86_64__)
  if (instruction_set == ADN_INSTRUCTION_SET_AVX512) return avx512(repeats);
  if (instruction_set == ADN_INSTRUCTION_SET_AVX2) return avx2(repeats);
  return baseline(repeats);
#else
  return 0;
#endif
}

}  // namespace bench
