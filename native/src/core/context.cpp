#include "core/context.h"

#include <algorithm>

#include "core/options.h"

namespace adn {
Context::Context(const adn_context_options& options) : backend_(nullptr) {
  if (options.device_type < ADN_DEVICE_AUTO || options.device_type > ADN_DEVICE_CUDA) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "options.device_type: %d, expected 0 (auto), 1 (CPU) or 2 (CUDA)",
         options.device_type);
  }
  if (options.device_index < 0) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "options.device_index: %d, expected >= 0", options.device_index);
  }
  if (options.thread_count > 256) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "options.thread_count: %u, expected 0 <= thread_count <= 256",
         options.thread_count);
  }
  if (options.instruction_set < ADN_INSTRUCTION_SET_AUTO || options.instruction_set > ADN_INSTRUCTION_SET_AVX512) {
    fail(ADN_STATUS_INVALID_ARGUMENT,
         "options.instruction_set: %d, expected 0 (auto), 1 (baseline), 2 (AVX2) or 3 (AVX-512)",
         options.instruction_set);
  }
  if (options.reserved != 0) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "options.reserved: %u, expected 0", options.reserved);
  }
  if (options.reserved2 != 0) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "options.reserved2: %u, expected 0", options.reserved2);
  }
  check_flag(options.cuda_tf32, "options", "cuda_tf32");
  check_flag(options.cuda_deterministic, "options", "cuda_deterministic");
  check_flag(options.cuda_search, "options", "cuda_search");
  check_flag(options.cuda_own_kernels, "options", "cuda_own_kernels");
  check_flag(options.cuda_no_graph, "options", "cuda_no_graph");
  backend_ = &find_backend(options.device_type);
  call(&adn_backend::device_create, &device_, &options);
}

Context::~Context() {
  if (device_ != nullptr) backend_->device_destroy(device_);
}

void Context::rethrow(adn_status status) const {
  // A backend linked into this library has left its message in our own buffer.
  if (backend_->last_error() != last_error()) set_error("%s", backend_->last_error());
  throw Error{status};
}

void Context::synchronize() const {
  if (backend_->synchronize != nullptr) call(&adn_backend::synchronize, device_);
}

Dataset::Dataset(std::shared_ptr<Context> context, const uint8_t* pixels, const uint8_t* labels, uint64_t count,
                 const uint64_t* shape, bool external)
    : context_(std::move(context)), count_(count), labels_(labels, labels + count) {
  std::copy_n(shape, 3, shape_);
  context_->call(&adn_backend::dataset_create, &data_, context_->device(), pixels, count,
                 shape[0] * shape[1] * shape[2], int32_t{external});
}

Dataset::~Dataset() { context_->backend().dataset_destroy(data_); }

Storage::Storage(std::shared_ptr<Context> context, uint64_t bytes, UseFlag::Pointer use)
    : context_(std::move(context)), bytes_(bytes), own_(true), use_(std::move(use)) {
  void* memory = nullptr;
  context_->call(&adn_backend::allocate, &memory, context_->device(), bytes);
  data_ = static_cast<unsigned char*>(memory);
}

Storage::Storage(std::shared_ptr<Context> context, void* external, uint64_t bytes, adn_release release, void* user)
    : context_(std::move(context)),
      data_(static_cast<unsigned char*>(external)),
      bytes_(bytes),
      own_(false),
      use_(std::make_shared<UseFlag>()) {
  context_->call(&adn_backend::check_external, context_->device(), static_cast<const void*>(external), bytes);
  release_ = release;
  user_ = user;
}

Storage::~Storage() {
  if (own_) context_->backend().release(context_->device(), data_);
  if (release_ != nullptr) release_(user_);
}

}  // namespace adn
