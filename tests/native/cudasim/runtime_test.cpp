// The runtime's stand-in: it must be late, strict and forgetful where a GPU is, else it would hide a host's mistakes.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "device.h"

namespace adadelta::test {
namespace {

using cudasim::counts;

cudaStream_t make_stream() {
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}

void fill_with(cudaStream_t stream, const DeviceArray<float>& array, size_t count, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  check_cuda(adn::cuda::fill(stream, array.get(), bits, 4, count));
}

class Runtime : public testing::Test {
 protected:
  void TearDown() override {
    cudasim::fail_call(0, cudaSuccess);
    cudasim::set_device_count(1);
    static_cast<void>(cudaGetLastError());
  }
};

TEST_F(Runtime, SaysThatThereIsNoDeviceAndLeavesTheCountAlone) {
  cudasim::set_device_count(0);
  int count = 4711;
  EXPECT_EQ(cudaErrorNoDevice, cudaGetDeviceCount(&count));
  EXPECT_EQ(4711, count);
}

TEST_F(Runtime, MemoryBeginsAsNan) {
  const DeviceArray<float> array(3);
  for (const float x : array.read()) EXPECT_TRUE(std::isnan(x));
}

TEST_F(Runtime, CountsWhatIsAlive) {
  const cudasim::Counts before = counts();
  {
    const DeviceArray<float> array(100);
    EXPECT_EQ(before.device_allocations + 1, counts().device_allocations);
    EXPECT_EQ(before.device_bytes + 400, counts().device_bytes);
  }
  EXPECT_EQ(before.device_allocations, counts().device_allocations);
  EXPECT_EQ(before.device_bytes, counts().device_bytes);
}

TEST_F(Runtime, WorkOnAStreamWaitsForASynchronisation) {
  const cudaStream_t stream = make_stream();
  const DeviceArray<float> array(4);
  fill_with(stream, array, 4, 1);
  EXPECT_TRUE(std::isnan(array.read()[0]));  // the legacy stream does not wait for a non-blocking one
  check_cuda(cudaStreamSynchronize(stream));
  EXPECT_EQ(1, array.read()[0]);
  check_cuda(cudaStreamDestroy(stream));
}

TEST_F(Runtime, AnEventOrdersTwoStreams) {
  const cudaStream_t first = make_stream(), second = make_stream();
  const DeviceArray<float> array(1);
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  fill_with(first, array, 1, 1);
  check_cuda(cudaEventRecord(event, first));
  check_cuda(cudaStreamWaitEvent(second, event));
  fill_with(second, array, 1, 2);
  check_cuda(cudaStreamSynchronize(second));
  EXPECT_EQ(2, array.read()[0]);
  check_cuda(cudaEventDestroy(event));
  check_cuda(cudaStreamDestroy(first));
  check_cuda(cudaStreamDestroy(second));
}

TEST_F(Runtime, RefusesCopiesThatLeaveTheirAllocation) {
  const DeviceArray<float> array(4);
  float host[8] = {};
  EXPECT_EQ(cudaErrorInvalidValue, cudaMemcpy(array.get(), host, 20, cudaMemcpyHostToDevice));
  EXPECT_EQ(cudaErrorInvalidValue, cudaMemcpy(host, array.get() + 1, 16, cudaMemcpyDeviceToHost));
  EXPECT_EQ(cudaErrorInvalidValue, cudaMemcpy(host, host + 4, 16, cudaMemcpyHostToDevice));
  EXPECT_EQ(cudaErrorInvalidValue, cudaMemset(array.get(), 0, 17));
  EXPECT_EQ(cudaSuccess, cudaMemcpy(host, array.get() + 1, 12, cudaMemcpyDefault));
}

TEST_F(Runtime, TellsPointersApart) {
  const DeviceArray<float> array(4);
  float* pinned = nullptr;
  check_cuda(cudaMallocHost(&pinned, 4));
  float plain = 0;
  cudaPointerAttributes attributes;
  check_cuda(cudaPointerGetAttributes(&attributes, array.get() + 3));
  EXPECT_EQ(cudaMemoryTypeDevice, attributes.type);
  check_cuda(cudaPointerGetAttributes(&attributes, pinned));
  EXPECT_EQ(cudaMemoryTypeHost, attributes.type);
  check_cuda(cudaPointerGetAttributes(&attributes, &plain));
  EXPECT_EQ(cudaMemoryTypeUnregistered, attributes.type);
  check_cuda(cudaFreeHost(pinned));
}

TEST_F(Runtime, AGraphRunsItsWorkAtEachLaunch) {
  const cudaStream_t stream = make_stream();
  const DeviceArray<float> array(1);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  const uint64_t launches = counts().kernel_launches;
  check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  fill_with(stream, array, 1, 5);
  check_cuda(cudaStreamEndCapture(stream, &graph));
  check_cuda(cudaStreamSynchronize(stream));
  EXPECT_TRUE(std::isnan(array.read()[0]));  // captured, not run
  size_t nodes = 0;
  check_cuda(cudaGraphGetNodes(graph, nullptr, &nodes));
  EXPECT_EQ(1u, nodes);
  check_cuda(cudaGraphInstantiateWithFlags(&exec, graph, 0));
  check_cuda(cudaGraphDestroy(graph));
  for (int i = 0; i < 2; ++i) {
    check_cuda(cudaMemset(array.get(), 0, 4));
    check_cuda(cudaGraphLaunch(exec, stream));
    check_cuda(cudaStreamSynchronize(stream));
    EXPECT_EQ(5, array.read()[0]);
  }
  EXPECT_EQ(launches + 2, counts().kernel_launches);
  check_cuda(cudaGraphExecDestroy(exec));
  check_cuda(cudaStreamDestroy(stream));
}

TEST_F(Runtime, ACaptureRefusesWhatWouldWaitOrAllocate) {
  const cudaStream_t stream = make_stream();
  for (const bool allocate : {false, true}) {
    check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    void* memory = nullptr;
    EXPECT_EQ(cudaErrorStreamCaptureUnsupported, allocate ? cudaMalloc(&memory, 4) : cudaStreamSynchronize(stream));
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(stream, &graph));
    EXPECT_EQ(nullptr, graph);
  }
  check_cuda(cudaStreamDestroy(stream));
}

TEST_F(Runtime, FailsTheCallThatATestNames) {
  cudasim::fail_call(2, cudaErrorMemoryAllocation);
  void* memory = nullptr;
  check_cuda(cudaMalloc(&memory, 4));
  check_cuda(cudaGetLastError());
  EXPECT_EQ(cudaErrorMemoryAllocation, cudaMemset(memory, 0, 4));
  EXPECT_STREQ("cudaMemset", cudasim::failed_call());
  EXPECT_EQ(cudaErrorMemoryAllocation, cudaGetLastError());
  EXPECT_EQ(cudaSuccess, cudaGetLastError());
  check_cuda(cudaMemset(memory, 0, 4));
  check_cuda(cudaFree(memory));
}

TEST_F(Runtime, FailsALaunch) {
  const DeviceArray<float> array(1);
  cudasim::fail_call(1, cudaErrorLaunchFailure);
  EXPECT_EQ(cudaErrorLaunchFailure, adn::cuda::fill(nullptr, array.get(), 0, 4, 1));
  EXPECT_STREQ("cudaLaunchKernel", cudasim::failed_call());
}

#if defined(__SANITIZE_ADDRESS__)
TEST_F(Runtime, TheHostCannotTouchDeviceMemory) {
  const DeviceArray<float> array(4);
  EXPECT_DEATH(*const_cast<volatile float*>(array.get()) = 1, "use-after-poison");
}

TEST_F(Runtime, AKernelCannotLeaveItsMemory) {
  const DeviceArray<float> array(4);
  EXPECT_DEATH(static_cast<void>(adn::cuda::fill(nullptr, array.get(), 0, 4, 5)), "heap-buffer-overflow");
}
#endif

}  // namespace
}  // namespace adadelta::test
