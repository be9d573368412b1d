// What the kernels' tests share: arrays in device memory, a stream, and all orders of threads.
#ifndef ADADELTA_TESTS_CUDASIM_DEVICE_H
#define ADADELTA_TESTS_CUDASIM_DEVICE_H

#include <vector>

#include "cuda/kernels.h"
#include "runtime.h"
#include "support.h"

namespace adadelta::test {

inline void check_cuda(int error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorName(static_cast<cudaError_t>(error)));
}

// Exactly as large as its elements, so that ASan sees the first access beyond them. offset moves it off its alignment.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count, size_t offset = 0) : count_(count), offset_(offset) {
    void* memory = nullptr;
    check_cuda(cudaMalloc(&memory, (count + offset) * sizeof(T)));
    memory_ = static_cast<T*>(memory);
  }
  explicit DeviceArray(const std::vector<T>& data, size_t offset = 0) : DeviceArray(data.size(), offset) {
    write(data);
  }
  DeviceArray(DeviceArray&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)), count_(other.count_), offset_(other.offset_) {}
  DeviceArray& operator=(DeviceArray&&) = delete;
  ~DeviceArray() { cudaFree(memory_); }

  T* get() const { return memory_ + offset_; }
  void write(const std::vector<T>& data) {
    check_cuda(cudaMemcpy(get(), data.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  std::vector<T> read() const {
    std::vector<T> data(count_);
    check_cuda(cudaMemcpy(data.data(), get(), count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return data;
  }

 private:
  T* memory_;
  size_t count_, offset_;
};

// Calls body with a stream, in each order of threads and blocks, and waits for what it put there.
template <class Body>
void in_each_order(const Body& body) {
  for (const cudasim::Order order : {cudasim::Order::kForward, cudasim::Order::kBackward, cudasim::Order::kShuffled}) {
    SCOPED_TRACE(std::string("threads in the order ") + cudasim::order_name(order));
    cudasim::set_order(order);
    cudaStream_t stream = nullptr;
    check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    body(stream);
    check_cuda(cudaStreamDestroy(stream));
  }
}

inline void wait(cudaStream_t stream) { check_cuda(cudaStreamSynchronize(stream)); }

}  // namespace adadelta::test

#endif  // ADADELTA_TESTS_CUDASIM_DEVICE_H
