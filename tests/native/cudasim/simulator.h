// Runs CUDA kernels on the CPU, to check them where there is no GPU. A kernel's own source is compiled as plain C++
// against the headers in include/: blocks run one after another, the threads of a block as fibers that switch where
// they meet, at barriers, shuffles and votes. It ends the program, with a message that names kernel, block, threads and
// source lines, on
//   - a barrier that not all threads of the block reach, or that they reach at different places,
//   - a shuffle, vote or __syncwarp whose mask names a lane that does not come, or leaves out one that does,
//   - a launch beyond the limits of sm_70, or shared memory beyond 48 KiB.
// Accesses out of bounds and misaligned vectors are found by ASan and UBSan, and what depends on the order of threads
// by running in several orders. Shared memory is filled with NaN before each block, so that reading it unwritten shows.
// It cannot see races that no order of whole runs between two meetings shows, errors of the memory model, limits of
// registers, or the GPU's own rounding (fused multiply-add, expf, logf).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace cudasim {

// In which order the threads of a block, and the blocks of a grid, take their turns.
enum class Order { kForward, kBackward, kShuffled };

// For all launches from now on; the default is the environment's ADADELTA_CUDASIM_ORDER ("forward", "backward" or
// "shuffled") or forward. The seed is that of the shuffled order.
void set_order(Order order, uint64_t seed = 1);
Order order();
const char* order_name(Order order);

struct Extent {
  uint32_t x, y, z;
};

// Runs a grid to its end on this thread; file and line, where it was launched, name it in messages. Launches from
// several threads take turns.
void run_grid(const char* file, int line, Extent grid, Extent block, const std::function<void()>& body);

// Threads run so far, by all launches.
uint64_t threads_run();

// ---- What a kernel calls, through include/cuda_runtime.h --------------------------------------------------------------

enum class Meeting : uint8_t { kBarrier, kBarrierOr, kBarrierAnd, kBarrierCount, kWarp, kVote, kShuffle };

// Waits for the block's other threads. The value goes into the three voting kinds, and their result is returned.
uint32_t meet_block(Meeting kind, uint32_t value, const char* file, int line);
// Waits for the lanes of the mask.
void meet_warp(uint32_t mask, const char* file, int line);
// The mask of the lanes whose predicate is not 0.
uint32_t vote(uint32_t mask, bool predicate, const char* file, int line);
// The value that the lane `source` brought; noise when that lane is not in the mask. source < 32.
uint64_t shuffle(uint32_t mask, uint64_t value, uint32_t source, const char* file, int line);
uint32_t lane();

// The block's own memory for one type, known by its key; the same for all threads of the block.
void* shared_memory(const void* key, size_t bytes, size_t alignment);

[[noreturn]] void stop(const std::string& message);

}  // namespace cudasim
