// The backend's table: what libadadelta_native_cuda exports.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "core/error.h"
#include "cuda/network.h"

namespace adn::cuda {
namespace {

Device& device_of(void* device) { return *static_cast<Device*>(device); }
Network& network_of(void* network) { return *static_cast<Network*>(network); }
Optimizer& optimizer_of(void* optimizer) { return *static_cast<Optimizer*>(optimizer); }

// A data set and what it stands on, since only its own address comes back.
struct OwnedDataset : Dataset {
  Device* device;
};

// Runs the body of a function with the device locked and current.
template <class Body>
adn_status on(Device& device, const Body& body) {
  return guard([&] {
    const Device::Use use(device);
    body();
  });
}

// What the device still works on must not be taken from under it.
template <class T>
void destroy_on(Device& device, T* object) {
  const Device::Use use(device, true);
  static_cast<void>(cudaStreamSynchronize(device.stream()));
  delete object;
}

// Fails where there is a device but none that the backend can use.
void require_usable_device(int count) {
  int newest = 0;
  for (int i = 0; i < count; ++i) newest = std::max(newest, architecture_of(i));
  require_architecture(newest);
  PrimaryContext::require_driver();
}

const char* reason() {
  static thread_local char text[256];
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  text[0] = '\0';
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    std::snprintf(text, sizeof text, "no CUDA device was found");
  } else if (error == cudaErrorInsufficientDriver) {
    std::snprintf(text, sizeof text, "no NVIDIA driver was found, or one older than CUDA %d.%d", CUDART_VERSION / 1000,
                  CUDART_VERSION % 1000 / 10);
  } else if (error != cudaSuccess) {
    std::snprintf(text, sizeof text, "cudaGetDeviceCount: %s (%s, %d)", cudaGetErrorString(error),
                  cudaGetErrorName(error), static_cast<int>(error));
  } else if (guard([&] { require_usable_device(count); }) != ADN_STATUS_OK) {
    std::snprintf(text, sizeof text, "%s", last_error());
  }
  if (error != cudaSuccess) static_cast<void>(cudaGetLastError());
  return text;
}

adn_status device_create(void** device, const adn_context_options* options) {
  return guard([&] { *device = new Device(*options); });
}

void device_destroy(void* device) { delete &device_of(device); }

adn_status device_info(adn_context_info* info, void* device) {
  return guard([&] {
    const Device::Use use(device_of(device), true);
    device_of(device).info(*info);
  });
}

adn_status allocate(void** memory, void* device, uint64_t bytes) {
  Device& d = device_of(device);
  return on(d, [&] {
    void* made = d.pool().allocate(bytes);
    try {
      d.clear(made, bytes);
    } catch (...) {
      d.pool().release(made);
      throw;
    }
    *memory = made;
  });
}

void release(void* device, void* memory) {
  const Device::Use use(device_of(device), true);
  device_of(device).pool().release(memory);
}

adn_status read(void* host, void* device, const void* memory, uint64_t bytes) {
  return on(device_of(device), [&] { device_of(device).read(host, memory, bytes); });
}

adn_status write(void* device, void* memory, const void* host, uint64_t bytes) {
  return on(device_of(device), [&] { device_of(device).write(memory, host, bytes); });
}

adn_status copy(void* device, void* to, const void* from, uint64_t bytes) {
  return on(device_of(device), [&] { device_of(device).copy(to, from, bytes); });
}

adn_status fill_memory(void* device, void* memory, const void* element, uint64_t element_bytes, uint64_t count) {
  Device& d = device_of(device);
  return on(d, [&] {
    uint64_t bits = 0;
    std::memcpy(&bits, element, element_bytes);
    d.check_launch(fill(d.stream(), memory, bits, element_bytes, count), "fill");
  });
}

adn_status check_external(void* device, const void* memory, uint64_t bytes) {
  return on(device_of(device), [&] { device_of(device).check_external(memory, bytes); });
}

adn_status network_create(void** network, uint64_t* bytes, void* device, const adn_plan* plan) {
  Device& d = device_of(device);
  return on(d, [&] {
    auto* created = new Network(d, *plan);
    *bytes = created->bytes();
    *network = created;
  });
}

void network_destroy(void* network) { destroy_on(network_of(network).device(), &network_of(network)); }

adn_status network_forward(void* network, const adn_network_memory* memory, const adn_batch* batch, int32_t mode,
                           uint64_t step) {
  Network& n = network_of(network);
  return on(n.device(), [&] { n.forward(*memory, *batch, mode == ADN_MODE_TRAIN, step); });
}

adn_status network_read_value(float* host, void* network, const adn_network_memory* memory, uint64_t value,
                              uint64_t batch_size) {
  Network& n = network_of(network);
  return on(n.device(), [&] { n.read_value(host, *memory, value, batch_size); });
}

adn_status network_read_gradient(float* host, void* network, const adn_network_memory* memory, uint64_t value,
                                 uint64_t batch_size) {
  Network& n = network_of(network);
  return on(n.device(), [&] { n.read_gradient(host, *memory, value, batch_size); });
}

adn_status network_loss(float* loss, void* network, const adn_network_memory* memory, const int32_t* labels,
                        uint64_t batch_size) {
  Network& n = network_of(network);
  return on(n.device(), [&] { *loss = n.loss(*memory, labels, batch_size); });
}

adn_status network_backward(void* network, const adn_network_memory* memory, const float* output_gradient,
                            uint64_t batch_size, uint64_t step) {
  Network& n = network_of(network);
  return on(n.device(), [&] { n.backward(*memory, output_gradient, batch_size, step); });
}

adn_status network_train_step(float* loss, void* network, const adn_network_memory* memory, const adn_batch* batch,
                              uint64_t step, void* optimizer, const adn_adadelta_pass* pass) {
  Network& n = network_of(network);
  return on(n.device(), [&] { n.train_step(loss, *memory, *batch, step, static_cast<Optimizer*>(optimizer), pass); });
}

adn_status network_read_losses(float* losses, void* network, uint64_t count) {
  Network& n = network_of(network);
  return on(n.device(), [&] { n.read_losses(losses, count); });
}

adn_status adadelta_create(void** optimizer, void* device) {
  Device& d = device_of(device);
  return on(d, [&] { *optimizer = new Optimizer(d); });
}

void adadelta_destroy(void* optimizer) { destroy_on(optimizer_of(optimizer).device(), &optimizer_of(optimizer)); }

adn_status adadelta_prepare(void* optimizer, const adn_adadelta_piece* pieces, uint64_t piece_count,
                            uint64_t group_count) {
  Optimizer& o = optimizer_of(optimizer);
  return on(o.device(), [&] { o.prepare(pieces, piece_count, group_count); });
}

adn_status adadelta_step(void* optimizer, const adn_adadelta_pass* pass) {
  Optimizer& o = optimizer_of(optimizer);
  return on(o.device(), [&] {
    o.upload(*pass);
    o.launch();
  });
}

adn_status adadelta_result(adn_adadelta_result* result, void* optimizer) {
  Optimizer& o = optimizer_of(optimizer);
  return on(o.device(), [&] { *result = o.result(); });
}

adn_status step_gradient(double* lr_bar, void* device, const adn_adadelta_vjp* vjp, const adn_adadelta_group* group) {
  return on(device_of(device), [&] { adadelta_vjp(lr_bar, device_of(device), *vjp, *group); });
}

adn_status dataset_create(void** dataset, void* device, const uint8_t* pixels, uint64_t count, uint64_t image_size,
                          int32_t /* external: a copy is taken in any case */) {
  Device& d = device_of(device);
  return on(d, [&] {
    auto made = std::make_unique<OwnedDataset>(OwnedDataset{{Memory(d, count * image_size)}, &d});
    d.write(made->pixels.as<void>(), pixels, count * image_size);
    *dataset = static_cast<Dataset*>(made.release());
  });
}

void dataset_destroy(void* dataset) {
  auto* made = static_cast<OwnedDataset*>(static_cast<Dataset*>(dataset));
  if (made != nullptr) destroy_on(*made->device, made);
}

adn_status synchronize(void* device) {
  return on(device_of(device), [&] { device_of(device).synchronize(); });
}

constexpr adn_backend kBackend = {ADN_BACKEND_VERSION,
                                  ADN_DEVICE_CUDA,
                                  "cuda",
                                  last_error,
                                  reason,
                                  device_create,
                                  device_destroy,
                                  device_info,
                                  allocate,
                                  release,
                                  read,
                                  write,
                                  copy,
                                  fill_memory,
                                  check_external,
                                  network_create,
                                  network_destroy,
                                  network_forward,
                                  network_read_value,
                                  network_read_gradient,
                                  network_loss,
                                  network_backward,
                                  adadelta_create,
                                  adadelta_destroy,
                                  adadelta_prepare,
                                  adadelta_step,
                                  adadelta_result,
                                  step_gradient,
                                  dataset_create,
                                  dataset_destroy,
                                  synchronize,
                                  network_train_step,
                                  network_read_losses};

}  // namespace
}  // namespace adn::cuda

const adn_backend* adn_backend_get(void) noexcept { return &adn::cuda::kBackend; }
