// The context of a device that CUDA's runtime works in, and that every host which wants to share memory must use too.
#pragma once

#include <cuda_runtime_api.h>

namespace adn::cuda {

// The runtime neither puts back the context that a host had current nor tells which context memory belongs to, so the driver's own
// functions do. They are found through the runtime: nothing more is linked or opened.
class PrimaryContext {
 public:
  explicit PrimaryContext(int device);
  ~PrimaryContext();
  PrimaryContext(const PrimaryContext&) = delete;
  PrimaryContext& operator=(const PrimaryContext&) = delete;

  // Fails where the driver has not all that this needs.
  static void require_driver() { static_cast<void>(find_driver()); }

  // Above what is current in the calling thread, and off again.
  cudaError_t push() const { return driver_.push(context_); }
  void pop() const noexcept;
  // Whether memory belongs to another context. Memory of the driver's pools belongs to none.
  bool is_foreign(const void* memory) const;

 private:
  // A CUcontext and a CUdevice; the driver's statuses have the runtime's numbers.
  using Context = void*;
  struct Driver {
    cudaError_t (*get_device)(int* device, int ordinal);
    cudaError_t (*retain)(Context* context, int device);
    cudaError_t (*release)(int device);
    cudaError_t (*push)(Context context);
    cudaError_t (*pop)(Context* context);
    cudaError_t (*get_attribute)(void* value, int attribute, unsigned long long pointer);
  };

  static Driver find_driver();

  Driver driver_;
  int device_ = 0;
  Context context_ = nullptr;
};

}  // namespace adn::cuda
