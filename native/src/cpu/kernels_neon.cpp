// Kernels for arm64, where NEON belongs to the architecture: 12 x 2 sums, 2 columns of B and a broadcast fill 27 of the 32 registers.
#include <arm_neon.h>

#include "cpu/kernels.h"

namespace adn::cpu {
namespace {

constexpr int64_t kLanes = 4;
constexpr int kTileRows[] = {0, 16, 12};

using V = float32x4_t;
typedef int32_t Integers __attribute__((vector_size(16)));
typedef uint8_t Bytes __attribute__((vector_size(4)));

inline V load(const float* p) { return vld1q_f32(p); }
inline void store(float* p, V x) { vst1q_f32(p, x); }
inline V broadcast(float x) { return vdupq_n_f32(x); }
inline V multiply_add(V a, V b, V c) { return vfmaq_f32(c, a, b); }
inline void load_places(Integers& x, const uint8_t* p) {
  Bytes bytes;
  __builtin_memcpy(&bytes, p, sizeof bytes);
  x = __builtin_convertvector(bytes, Integers);
}
inline void store_places(uint8_t* p, Integers x) {
  const Bytes bytes = __builtin_convertvector(x, Bytes);
  __builtin_memcpy(p, &bytes, sizeof bytes);
}

}  // namespace
}  // namespace adn::cpu

#include "cpu/kernels.inl"

namespace adn::cpu {
const Kernels& baseline_kernels() { return kTable; }
}  // namespace adn::cpu
