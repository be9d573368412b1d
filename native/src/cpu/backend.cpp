#include "cpu/backend.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>

#include "core/error.h"
#include "cpu/adadelta.h"
#include "cpu/features.h"
#include "cpu/network.h"

namespace adn {
namespace {

using cpu::Floats;
using cpu::Network;

struct Device {
  Device(int32_t set, uint32_t threads) : instruction_set(set), kernels(cpu::kernels_for(set)), pool(threads) {}
  int32_t instruction_set;
  const cpu::Kernels& kernels;
  cpu::ThreadPool pool;
};

Device& device_of(void* device) { return *static_cast<Device*>(device); }
Network& network_of(void* network) { return *static_cast<Network*>(network); }
cpu::Adadelta& optimizer_of(void* optimizer) { return *static_cast<cpu::Adadelta*>(optimizer); }

int32_t choose_instruction_set(int32_t wanted) {
  if (wanted != ADN_INSTRUCTION_SET_AUTO) {
    if (!cpu::has_instruction_set(wanted)) {
      fail(ADN_STATUS_UNSUPPORTED, "options.instruction_set: %d (%s): not offered by this CPU and build", wanted,
           cpu::instruction_set_name(wanted));
    }
    return wanted;
  }
  for (int32_t set = ADN_INSTRUCTION_SET_AVX512; set > ADN_INSTRUCTION_SET_BASELINE; --set) {
    if (cpu::has_instruction_set(set)) return set;
  }
  return ADN_INSTRUCTION_SET_BASELINE;
}

const char* reason() { return ""; }

adn_status device_create(void** device, const adn_context_options* options) {
  return guard([&] {
    if (options->device_index != 0) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "options.device_index: %d, expected 0 for the CPU", options->device_index);
    }
    const uint32_t threads =
        options->thread_count != 0 ? options->thread_count : std::min(cpu::available_cores(), 256u);
    *device = new Device(choose_instruction_set(options->instruction_set), threads);
  });
}

void device_destroy(void* device) { delete &device_of(device); }

adn_status device_info(adn_context_info* info, void* device) {
  info->device_type = ADN_DEVICE_CPU;
  info->device_index = 0;
  info->thread_count = device_of(device).pool.size();
  info->instruction_set = device_of(device).instruction_set;
  cpu::device_name(info->device_name, sizeof info->device_name);
  std::snprintf(info->instruction_set_name, sizeof info->instruction_set_name, "%s",
                cpu::instruction_set_name(info->instruction_set));
  return ADN_STATUS_OK;
}

adn_status allocate(void** memory, void*, uint64_t bytes) {
  return guard([&] { *memory = Floats((bytes + 3) / 4).release(); });
}

void release(void*, void* memory) { Floats::free(static_cast<float*>(memory)); }

adn_status read(void* host, void*, const void* memory, uint64_t bytes) {
  if (bytes != 0) std::memcpy(host, memory, bytes);
  return ADN_STATUS_OK;
}

adn_status write(void*, void* memory, const void* host, uint64_t bytes) {
  if (bytes != 0) std::memcpy(memory, host, bytes);
  return ADN_STATUS_OK;
}

adn_status copy(void*, void* to, const void* from, uint64_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
  return ADN_STATUS_OK;
}

// Memory for complex64 is aligned to its halves alone, so that elements are copied and not assigned.
template <class T>
void fill_with(void* memory, const void* element, uint64_t count) {
  auto* to = static_cast<unsigned char*>(memory);
  for (uint64_t i = 0; i < count; ++i) std::memcpy(to + i * sizeof(T), element, sizeof(T));
}

adn_status fill(void*, void* memory, const void* element, uint64_t element_bytes, uint64_t count) {
  switch (element_bytes) {
    case 2:
      fill_with<uint16_t>(memory, element, count);
      return ADN_STATUS_OK;
    case 4:
      fill_with<uint32_t>(memory, element, count);
      return ADN_STATUS_OK;
    case 8:
      fill_with<uint64_t>(memory, element, count);
      return ADN_STATUS_OK;
    default:
      set_error("fill: elements of %llu bytes, expected 2, 4 or 8", static_cast<unsigned long long>(element_bytes));
      return ADN_STATUS_INTERNAL_ERROR;
  }
}

adn_status check_external(void*, const void*, uint64_t) { return ADN_STATUS_OK; }

adn_status network_create(void** network, uint64_t* bytes, void* device, const adn_plan* plan) {
  return guard([&] {
    auto* created = new Network(device_of(device).pool, device_of(device).kernels, *plan);
    *bytes = created->bytes();
    *network = created;
  });
}

void network_destroy(void* network) { delete &network_of(network); }

adn_status network_forward(void* network, const adn_network_memory* memory, const adn_batch* batch, int32_t mode,
                           uint64_t step) {
  return guard([&] { network_of(network).forward(*memory, *batch, mode == ADN_MODE_TRAIN, step); });
}

adn_status network_read_value(float* host, void* network, const adn_network_memory* memory, uint64_t value,
                              uint64_t batch_size) {
  return guard([&] { network_of(network).read_value(host, *memory, value, static_cast<int64_t>(batch_size)); });
}

adn_status network_read_gradient(float* host, void* network, const adn_network_memory* memory, uint64_t value,
                                 uint64_t batch_size) {
  return guard([&] { network_of(network).read_gradient(host, *memory, value, static_cast<int64_t>(batch_size)); });
}

adn_status network_loss(float* loss, void* network, const adn_network_memory* memory, const int32_t* labels,
                        uint64_t batch_size) {
  return guard([&] { *loss = network_of(network).loss(*memory, labels, static_cast<int64_t>(batch_size)); });
}

adn_status network_backward(void* network, const adn_network_memory* memory, const float* output_gradient,
                            uint64_t batch_size, uint64_t step) {
  return guard([&] { network_of(network).backward(*memory, output_gradient, static_cast<int64_t>(batch_size), step); });
}

adn_status dataset_create(void** dataset, void*, const uint8_t* pixels, uint64_t count, uint64_t image_size,
                          int32_t external) {
  return guard([&] {
    auto made = std::make_unique<cpu::Dataset>();
    if (external == 0) made->copy.assign(pixels, pixels + count * image_size);
    made->pixels = external == 0 ? made->copy.data() : pixels;
    *dataset = made.release();
  });
}

void dataset_destroy(void* dataset) { delete static_cast<cpu::Dataset*>(dataset); }

adn_status adadelta_create(void** optimizer, void* device) {
  return guard([&] { *optimizer = new cpu::Adadelta(device_of(device).pool, device_of(device).kernels); });
}

void adadelta_destroy(void* optimizer) { delete &optimizer_of(optimizer); }

adn_status adadelta_prepare(void* optimizer, const adn_adadelta_piece* pieces, uint64_t piece_count,
                            uint64_t group_count) {
  return guard([&] { optimizer_of(optimizer).prepare(pieces, piece_count, group_count); });
}

adn_status adadelta_step(void* optimizer, const adn_adadelta_pass* pass) {
  return guard([&] { optimizer_of(optimizer).step(*pass); });
}

adn_status adadelta_result(adn_adadelta_result* result, void* optimizer) {
  *result = optimizer_of(optimizer).result();
  return ADN_STATUS_OK;
}

adn_status adadelta_vjp(double* lr_bar, void* device, const adn_adadelta_vjp* vjp, const adn_adadelta_group* group) {
  *lr_bar += device_of(device).kernels.adadelta_vjp(*vjp, group->decoupled_weight_decay,
                                                    cpu::group_numbers(*group, group->lr, 1.0, 1.0));
  return ADN_STATUS_OK;
}

constexpr adn_backend kBackend = {ADN_BACKEND_VERSION,
                                  ADN_DEVICE_CPU,
                                  "cpu",
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
                                  fill,
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
                                  adadelta_vjp,
                                  dataset_create,
                                  dataset_destroy,
                                  nullptr,   // synchronize: every call has finished when it returns
                                  nullptr,   // network_train_step
                                  nullptr};  // network_read_losses

}  // namespace

const adn_backend& cpu_backend() { return kBackend; }

}  // namespace adn
