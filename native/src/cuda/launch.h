// What every kernel file begins with: how a kernel is launched, and how it asks for shared memory. With nvcc these are
// CUDA's own; without it, the simulator of tests/native/cudasim stands behind the same names.
#pragma once

#include <cuda_runtime.h>

#include "cuda/kernels.h"

namespace adn::cuda {

constexpr unsigned kThreads = 256;  // of a block, everywhere
constexpr unsigned kAllLanes = 0xFFFFFFFFu;

// Blocks of kThreads threads: x * y of them.
struct Grid {
  Grid(uint64_t x, uint64_t y = 1, const char* file = __builtin_FILE(), int line = __builtin_LINE())
      : x(x), y(y), file(file), line(line) {}
  uint64_t x, y;
  const char* file;  // where the launch stands, for the simulator's messages
  int line;
};

template <class T>
struct Same {
  using Type = T;
};

// The one place that launches.
template <class... Parameters>
Error launch(Stream stream, const Grid& grid, void (*kernel)(Parameters...),
             typename Same<Parameters>::Type... arguments) {
  if (grid.x > 0x7FFFFFFFu || grid.y > 65535) return cudaErrorInvalidConfiguration;
  const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y));
#if defined(__CUDACC__)
  static_cast<void>(cudaGetLastError());  // an error from before is not this launch's
  kernel<<<blocks, kThreads, 0, stream>>>(arguments...);
  return cudaGetLastError();
#else
  return cudasim::launch_kernel(stream, grid.file, grid.line, {blocks.x, blocks.y, 1}, {kThreads, 1, 1},
                                [=] { kernel(arguments...); });
#endif
}

// The block's shared memory for a T, uninitialised; the same in every thread.
template <class T>
__device__ __forceinline__ T& shared() {
#if defined(__CUDACC__)
  __shared__ T memory;
  return memory;
#else
  static const char key = 0;
  return *static_cast<T*>(cudasim::shared_memory(&key, sizeof(T), alignof(T)));
#endif
}

// Elements of an even share for each thread of a grid: grid-stride loops begin at first_index() and go on by
// index_step().
__device__ __forceinline__ uint64_t first_index() { return uint64_t{blockIdx.x} * kThreads + threadIdx.x; }
__device__ __forceinline__ uint64_t index_step() { return uint64_t{gridDim.x} * kThreads; }

constexpr uint64_t ceil_div(uint64_t a, uint64_t b) { return a / b + (a % b != 0); }

// Blocks for `count` threads' worth of work in a grid-stride loop: enough to fill any GPU many times over.
inline Grid grid_for(uint64_t count, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const uint64_t blocks = ceil_div(count, kThreads), most = 1u << 16;
  return Grid(blocks < most ? blocks : most, 1, file, line);
}

inline bool aligned_to_16(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

// n / divisor and n % divisor for 32-bit numbers below 2^31 without a division (Granlund and Montgomery, PLDI 1994).
struct Divider {
  explicit Divider(uint32_t d) : divisor(d), multiplier(0), shift(0) {
    while (shift < 32 && (uint64_t{1} << shift) < d) ++shift;
    multiplier = static_cast<uint32_t>(((uint64_t{1} << 32) * ((uint64_t{1} << shift) - d)) / d + 1);
  }
  __host__ __device__ __forceinline__ uint32_t quotient(uint32_t n) const {
    return (static_cast<uint32_t>(uint64_t{n} * multiplier >> 32) + n) >> shift;
  }
  uint32_t divisor, multiplier, shift;
};

}  // namespace adn::cuda
