#include "cuda/primary_context.h"

#include "core/error.h"
#include "cuda/device.h"

namespace adn::cuda {
namespace {

constexpr int kContextOfPointer = 1;  // CU_POINTER_ATTRIBUTE_CONTEXT

void require_success(cudaError_t error, const char* call) {
  if (error != cudaSuccess) fail_call(error, call);
}

template <class Function>
void find(Function& function, const char* name) {
  void* found = nullptr;
#if CUDART_VERSION >= 12050
  // By the version that gave the last of them its present form.
  const cudaError_t error = cudaGetDriverEntryPointByVersion(name, &found, 11000, cudaEnableDefault, nullptr);
#else
  const cudaError_t error = cudaGetDriverEntryPoint(name, &found, cudaEnableDefault);
#endif
  // Drivers older than the runtime answer so.
  if (error == cudaErrorInvalidValue || (error == cudaSuccess && found == nullptr)) {
    static_cast<void>(cudaGetLastError());
    fail(ADN_STATUS_UNSUPPORTED, "NVIDIA's driver has no %s that fits CUDA %d.%d", name, CUDART_VERSION / 1000,
         CUDART_VERSION % 1000 / 10);
  }
  require_success(error, "cudaGetDriverEntryPoint");
  function = reinterpret_cast<Function>(found);
}

}  // namespace

PrimaryContext::Driver PrimaryContext::find_driver() {
  Driver driver{};
  find(driver.get_device, "cuDeviceGet");
  find(driver.retain, "cuDevicePrimaryCtxRetain");
  find(driver.release, "cuDevicePrimaryCtxRelease");
  find(driver.push, "cuCtxPushCurrent");
  find(driver.pop, "cuCtxPopCurrent");
  find(driver.get_attribute, "cuPointerGetAttribute");
  return driver;
}

PrimaryContext::PrimaryContext(int device) : driver_(find_driver()) {
  require_success(driver_.get_device(&device_, device), "cuDeviceGet");
  require_success(driver_.retain(&context_, device_), "cuDevicePrimaryCtxRetain");
}

PrimaryContext::~PrimaryContext() { static_cast<void>(driver_.release(device_)); }

void PrimaryContext::pop() const noexcept {
  Context popped = nullptr;
  static_cast<void>(driver_.pop(&popped));
}

bool PrimaryContext::is_foreign(const void* memory) const {
  Context owner = nullptr;
  const auto pointer = reinterpret_cast<unsigned long long>(memory);
  const bool known = driver_.get_attribute(&owner, kContextOfPointer, pointer) == cudaSuccess;
  return known && owner != nullptr && owner != context_;
}

}  // namespace adn::cuda
