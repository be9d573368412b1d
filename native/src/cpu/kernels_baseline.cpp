// Kernels for every CPU, through the compiler's vectors of 16 bytes: on x86-64 these are SSE2's.
#include "cpu/kernels.h"

namespace adn::cpu {
namespace {

constexpr int64_t kLanes = 4;
constexpr int kTileRows[] = {0, 8, 4};

typedef float V __attribute__((vector_size(16)));
typedef int32_t Integers __attribute__((vector_size(16)));
typedef uint8_t Bytes __attribute__((vector_size(4)));
typedef float UnalignedV __attribute__((vector_size(16), aligned(4), may_alias));

inline V load(const float* p) { return *reinterpret_cast<const UnalignedV*>(p); }
inline void store(float* p, V x) { *reinterpret_cast<UnalignedV*>(p) = x; }
inline V broadcast(float x) { return V{x, x, x, x}; }
inline V multiply_add(V a, V b, V c) { return a * b + c; }
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
