// Sums over the threads of a block, in a fixed order.
#pragma once

#include "cuda/launch.h"

namespace adn::cuda {

// The sum over the warp's lanes, in every lane: lanes 16 apart are added first, then 8, 4, 2 and 1.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

// The sum over the block's threads, right in thread 0: warps' sums first. All threads must come.
template <class T>
__device__ __forceinline__ T block_sum(T value) {
  struct Sums {
    T warp[kThreads / 32];
  };
  Sums& sums = shared<Sums>();
  value = warp_sum(value);
  __syncthreads();  // an earlier sum has been read
  if (threadIdx.x % 32 == 0) sums.warp[threadIdx.x / 32] = value;
  __syncthreads();
  T total = 0;
  for (unsigned i = 0; i < kThreads / 32; ++i) total += sums.warp[i];
  return total;
}

}  // namespace adn::cuda
