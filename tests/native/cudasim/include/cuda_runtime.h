// The part of CUDA's language and runtime that this project uses, for the simulator: see ../simulator.h and
// ../runtime.h. Names, values and meanings are those of CUDA 11.8; only what is used is here.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#include "../simulator.h"

#define CUDASIM 1
#define CUDART_VERSION 11080

// ---- Language ---------------------------------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  unsigned x, y, z;
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

// Vectors are read from and written to arrays of their elements.
struct __attribute__((may_alias, aligned(16))) float4 {
  float x, y, z, w;
};
struct __attribute__((may_alias, aligned(16))) double2 {
  double x, y;
};
struct __attribute__((may_alias, aligned(16))) uint4 {
  unsigned x, y, z, w;
};
struct __attribute__((may_alias, aligned(8))) uint2 {
  unsigned x, y;
};
struct __attribute__((may_alias, aligned(4))) uchar4 {
  unsigned char x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uchar4 make_uchar4(unsigned char x, unsigned char y, unsigned char z, unsigned char w) { return {x, y, z, w}; }

// ---- Meetings of threads ------------------------------------------------------------------------------------------------

inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  cudasim::meet_block(cudasim::Meeting::kBarrier, 0, file, line);
}
inline int __syncthreads_or(int predicate, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return static_cast<int>(cudasim::meet_block(cudasim::Meeting::kBarrierOr, predicate != 0, file, line));
}
inline int __syncthreads_and(int predicate, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return static_cast<int>(cudasim::meet_block(cudasim::Meeting::kBarrierAnd, predicate != 0, file, line));
}
inline int __syncthreads_count(int predicate, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return static_cast<int>(cudasim::meet_block(cudasim::Meeting::kBarrierCount, predicate != 0, file, line));
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  cudasim::meet_warp(mask, file, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, const char* file = __builtin_FILE(),
                              int line = __builtin_LINE()) {
  return cudasim::vote(mask, predicate != 0, file, line);
}
inline int __any_sync(unsigned mask, int predicate, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return cudasim::vote(mask, predicate != 0, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return cudasim::vote(mask, predicate != 0, file, line) == mask;
}

namespace cudasim {

template <class T>
T shuffle_value(unsigned mask, T value, unsigned source, const char* file, int line) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = shuffle(mask, bits, source, file, line);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace cudasim

// A lane whose source would lie beyond its segment of `width` lanes gets its own value back.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, const char* file = __builtin_FILE(),
              int line = __builtin_LINE()) {
  const unsigned lane = cudasim::lane(), w = static_cast<unsigned>(width);
  return cudasim::shuffle_value(mask, value, lane / w * w + static_cast<unsigned>(source) % w, file, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, const char* file = __builtin_FILE(),
                   int line = __builtin_LINE()) {
  const unsigned lane = cudasim::lane(), w = static_cast<unsigned>(width);
  return cudasim::shuffle_value(mask, value, lane % w + delta < w ? lane + delta : lane, file, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, const char* file = __builtin_FILE(),
                 int line = __builtin_LINE()) {
  const unsigned lane = cudasim::lane(), w = static_cast<unsigned>(width);
  return cudasim::shuffle_value(mask, value, lane % w >= delta ? lane - delta : lane, file, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
  const unsigned lane = cudasim::lane(), w = static_cast<unsigned>(width);
  const unsigned source = lane ^ static_cast<unsigned>(lane_mask);
  return cudasim::shuffle_value(mask, value, source / w <= lane / w ? source : lane, file, line);
}

// ---- Atomics and fences: threads only change where they meet, so plain operations are atomic ------------------------------

template <class T>
T atomicAdd(T* place, std::common_type_t<T> value) {
  const T old = *place;
  *place = static_cast<T>(old + value);
  return old;
}
template <class T>
T atomicMax(T* place, std::common_type_t<T> value) {
  const T old = *place;
  if (old < value) *place = value;
  return old;
}
template <class T>
T atomicOr(T* place, std::common_type_t<T> value) {
  const T old = *place;
  *place = old | value;
  return old;
}
template <class T>
T atomicExch(T* place, std::common_type_t<T> value) {
  const T old = *place;
  *place = value;
  return old;
}
inline void __threadfence() {}

// ---- Arithmetic -------------------------------------------------------------------------------------------------------------

template <class T>
T __ldg(const T* place) {
  return *place;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }
inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// ---- Runtime ------------------------------------------------------------------------------------------------------------------

#include "cuda_runtime_api.h"

namespace cudasim {

cudaError_t launch_kernel(cudaStream_t stream, const char* file, int line, Extent grid, Extent block,
                          std::function<void()> body);

}  // namespace cudasim
