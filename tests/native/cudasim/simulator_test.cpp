// The simulator itself: what it gives to kernels and what it stops them for. Built a second time with the portable way
// of switching stacks.
#include "simulator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "include/cuda_runtime.h"

namespace adadelta::test {
namespace {

using cudasim::Order;

template <class Body>
void run(unsigned blocks, unsigned threads, const Body& body) {
  cudasim::run_grid("simulator_test.cpp", 1, {blocks, 1, 1}, {threads, 1, 1}, body);
}

template <class T>
T& shared() {
  static const char key = 0;
  return *static_cast<T*>(cudasim::shared_memory(&key, sizeof(T), alignof(T)));
}

class Simulator : public testing::TestWithParam<Order> {
 protected:
  void SetUp() override { cudasim::set_order(GetParam()); }
  void TearDown() override { cudasim::set_order(Order::kForward); }
};

INSTANTIATE_TEST_SUITE_P(Orders, Simulator, testing::Values(Order::kForward, Order::kBackward, Order::kShuffled),
                         [](const auto& info) { return std::string(cudasim::order_name(info.param)); });

TEST_P(Simulator, RunsEveryThreadOfEveryBlockOnce) {
  std::vector<int> runs(2 * 3 * 4 * 5 * 6);
  const uint64_t before = cudasim::threads_run();
  cudasim::run_grid("here", 1, {2, 3, 4}, {5, 6, 1}, [&] {
    const unsigned block = (blockIdx.z * 3 + blockIdx.y) * 2 + blockIdx.x;
    ++runs[block * 30 + threadIdx.y * 5 + threadIdx.x];
  });
  EXPECT_EQ(std::vector<int>(runs.size(), 1), runs);
  EXPECT_EQ(before + runs.size(), cudasim::threads_run());
}

TEST_P(Simulator, HoldsThreadsAtBarriers) {
  std::vector<unsigned> seen(3 * 256);
  run(3, 256, [&] {
    struct Places {
      unsigned of[256];
    };
    Places& places = shared<Places>();
    places.of[threadIdx.x] = threadIdx.x * 3;
    __syncthreads();
    seen[blockIdx.x * 256 + threadIdx.x] = places.of[255 - threadIdx.x];
  });
  for (unsigned i = 0; i < seen.size(); ++i) ASSERT_EQ((255 - i % 256) * 3, seen[i]);
}

TEST_P(Simulator, CountsVotesOfTheBlock) {
  run(2, 96, [] {
    ASSERT_EQ(32, __syncthreads_count(threadIdx.x < 32));
    ASSERT_EQ(1, __syncthreads_or(threadIdx.x == 95));
    ASSERT_EQ(0, __syncthreads_or(0));
    ASSERT_EQ(0, __syncthreads_and(threadIdx.x != 40));
    ASSERT_EQ(1, __syncthreads_and(1));
  });
}

TEST_P(Simulator, ShufflesAndVotesAmongLanes) {
  run(1, 64, [] {
    const int lane = static_cast<int>(threadIdx.x % 32), value = static_cast<int>(threadIdx.x) * 10;
    const int first = static_cast<int>(threadIdx.x) / 32 * 320;
    ASSERT_EQ(first + 70, __shfl_sync(~0u, value, 7));
    ASSERT_EQ(first + (lane ^ 16) * 10, __shfl_xor_sync(~0u, value, 16));
    ASSERT_EQ(first + (lane < 31 ? lane + 1 : lane) * 10, __shfl_down_sync(~0u, value, 1));
    ASSERT_EQ(first + (lane > 1 ? lane - 2 : lane) * 10, __shfl_up_sync(~0u, value, 2));
    ASSERT_EQ(first + (lane / 8 * 8 + 3) * 10, __shfl_sync(~0u, value, 3, 8));
    ASSERT_EQ(lane * 0.5, __shfl_xor_sync(~0u, lane * 0.5, 0));
    ASSERT_EQ(0x0000FFFFu, __ballot_sync(~0u, lane < 16));
    ASSERT_TRUE(__any_sync(~0u, lane == 3));
    ASSERT_FALSE(__all_sync(~0u, lane == 3));
    // Each half on its own, at the same place.
    const unsigned half = lane < 16 ? 0x0000FFFFu : 0xFFFF0000u;
    ASSERT_EQ(half, __ballot_sync(half, 1));
    __syncwarp(half);
  });
}

TEST_P(Simulator, AddsAtomically) {
  unsigned sum = 0;
  std::vector<unsigned> tickets(4 * 128);
  run(4, 128, [&] { tickets[atomicAdd(&sum, 1u)] = 1; });
  EXPECT_EQ(512u, sum);
  EXPECT_EQ(512u, std::accumulate(tickets.begin(), tickets.end(), 0u));
}

TEST_P(Simulator, MixesSharedMemoryUpBetweenBlocks) {
  run(3, 32, [] {
    float& value = shared<float>();
    ASSERT_TRUE(value != value);  // NaN, not what the block before left
    __syncthreads();
    value = 1;
  });
}

TEST(SimulatorOrders, DifferWhereThreadsDoNotMeet) {
  const auto ends = [](Order order) {
    cudasim::set_order(order);
    std::vector<unsigned> order_of_ends;
    run(2, 8, [&] { order_of_ends.push_back(blockIdx.x * 8 + threadIdx.x); });
    cudasim::set_order(Order::kForward);
    return order_of_ends;
  };
  std::vector<unsigned> forward(16);
  std::iota(forward.begin(), forward.end(), 0u);
  EXPECT_EQ(forward, ends(Order::kForward));
  const std::vector<unsigned> backward(forward.rbegin(), forward.rend());
  EXPECT_EQ(backward, ends(Order::kBackward));
  std::vector<unsigned> shuffled = ends(Order::kShuffled);
  EXPECT_NE(forward, shuffled);
  EXPECT_NE(backward, shuffled);
  std::sort(shuffled.begin(), shuffled.end());
  EXPECT_EQ(forward, shuffled);
}

// ---- What a kernel is stopped for -------------------------------------------------------------------------------------

class SimulatorStops : public Simulator {};
INSTANTIATE_TEST_SUITE_P(Orders, SimulatorStops, testing::Values(Order::kForward, Order::kBackward, Order::kShuffled),
                         [](const auto& info) { return std::string(cudasim::order_name(info.param)); });

TEST_P(SimulatorStops, ABarrierThatSomeThreadsDoNotReach) {
  const auto body = [] {
    if (threadIdx.x != 17) __syncthreads();
  };
  EXPECT_DEATH(run(1, 32, body), "simulator_test.cpp:1, block \\(0, 0, 0\\): its threads wait for each other");
}

TEST_P(SimulatorStops, BarriersAtDifferentPlaces) {
  const auto body = [] {
    if (threadIdx.x < 16) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  };
  EXPECT_DEATH(run(1, 32, body), "wait for each other at different places");
}

TEST_P(SimulatorStops, AShuffleWhoseMaskNamesALaneThatIsNotThere) {
  const auto body = [] {
    if (threadIdx.x < 16) __shfl_xor_sync(0xFFFFFFFFu, 1.0f, 1);
  };
  EXPECT_DEATH(run(1, 32, body), "a shuffle with mask 0xffffffff");
}

TEST_P(SimulatorStops, AMaskThatLeavesOutACaller) {
  EXPECT_DEATH(run(1, 32, [] { __ballot_sync(0x7FFFFFFFu, 1); }), "a vote with mask 0x7fffffff");
}

TEST_P(SimulatorStops, TooMuchSharedMemory) {
  struct Large {
    char bytes[49153];
  };
  EXPECT_DEATH(run(1, 32, [] { shared<Large>(); }), "49153 bytes of shared memory, expected at most 49152");
}

TEST(SimulatorStops, CallsOutsideOfAKernel) {
  EXPECT_DEATH(__syncthreads(), "outside of a launch");
  EXPECT_DEATH(shared<int>(), "outside of a launch");
}

}  // namespace
}  // namespace adadelta::test
