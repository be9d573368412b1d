// Tensors and random numbers of the C ABI.
#include "core/tensor.h"

#include "core/random.h"

using namespace adn;

namespace {

void check_rank(const uint64_t* shape, uint32_t rank) {
  if (rank > ADN_MAX_RANK) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "rank: %u, expected 0 <= rank <= %d", rank, ADN_MAX_RANK);
  }
  if (rank != 0) require(shape, "shape");
}

}  // namespace

extern "C" {

adn_status adn_random_bits(uint32_t* bits, uint64_t count, uint64_t seed, uint64_t stream, uint64_t offset) noexcept {
  return guard([&] {
    if (count != 0) require(bits, "bits");
    if (count != 0 && offset > UINT64_MAX - (count - 1)) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "offset: %llu, expected offset <= %llu, for %llu words before 2^64",
           static_cast<unsigned long long>(offset), static_cast<unsigned long long>(UINT64_MAX - (count - 1)),
           static_cast<unsigned long long>(count));
    }
    random_bits(bits, count, seed, stream, offset);
  });
}

adn_status adn_random_permutation(uint32_t* order, uint64_t count, uint64_t seed, uint64_t stream) noexcept {
  return guard([&] {
    if (count != 0) require(order, "order");
    if (count > UINT32_MAX) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "count: %llu, expected count <= 4294967295",
           static_cast<unsigned long long>(count));
    }
    random_permutation(order, count, seed, stream);
  });
}

adn_status adn_tensor_create(adn_tensor** tensor, adn_context* context, const uint64_t* shape, uint32_t rank) noexcept {
  return adn_tensor_create_typed(tensor, context, ADN_DTYPE_FLOAT32, shape, rank);
}

adn_status adn_tensor_create_typed(adn_tensor** tensor, adn_context* context, int32_t dtype, const uint64_t* shape,
                                   uint32_t rank) noexcept {
  return guard([&] {
    require(tensor, "tensor");
    require(context, "context");
    check_rank(shape, rank);
    *tensor = new adn_tensor{Tensor::zeros(context->impl, dtype, shape, rank)};
  });
}

adn_status adn_tensor_create_external(adn_tensor** tensor, adn_context* context, void* data, int32_t dtype,
                                      const uint64_t* shape, uint32_t rank, adn_release release, void* user) noexcept {
  return guard([&] {
    require(tensor, "tensor");
    require(context, "context");
    require(data, "data");
    check_rank(shape, rank);
    // The handle is made first, so that nothing can fail once the memory is taken.
    auto handle = std::make_unique<adn_tensor>(adn_tensor{Tensor(nullptr, ADN_DTYPE_FLOAT32, 0, nullptr, 0)});
    handle->impl = Tensor::external(context->impl, data, dtype, shape, rank, release, user);
    *tensor = handle.release();
  });
}

void adn_tensor_destroy(adn_tensor* tensor) noexcept { delete tensor; }

adn_status adn_tensor_get_shape(uint32_t* rank, uint64_t* shape, const adn_tensor* tensor) noexcept {
  return guard([&] {
    require(rank, "rank");
    require(shape, "shape");
    require(tensor, "tensor");
    *rank = tensor->impl.rank();
    for (uint32_t i = 0; i < tensor->impl.rank(); ++i) shape[i] = tensor->impl.shape()[i];
  });
}

adn_status adn_tensor_read(float* data, uint64_t count, const adn_tensor* tensor) noexcept {
  return guard([&] {
    require(tensor, "tensor");
    const Use use(tensor->impl.storage()->use(), "tensor");
    if (count != 0) require(data, "data");
    tensor->impl.read(data, count);
  });
}

adn_status adn_tensor_write(adn_tensor* tensor, const float* data, uint64_t count) noexcept {
  return guard([&] {
    require(tensor, "tensor");
    const Use use(tensor->impl.storage()->use(), "tensor");
    if (count != 0) require(data, "data");
    tensor->impl.write(data, count);
  });
}

adn_status adn_tensor_get_dtype(int32_t* dtype, const adn_tensor* tensor) noexcept {
  return guard([&] {
    require(dtype, "dtype");
    require(tensor, "tensor");
    *dtype = tensor->impl.dtype();
  });
}

adn_status adn_tensor_read_bytes(void* data, uint64_t byte_offset, uint64_t byte_count,
                                 const adn_tensor* tensor) noexcept {
  return guard([&] {
    require(tensor, "tensor");
    const Use use(tensor->impl.storage()->use(), "tensor");
    if (byte_count != 0) require(data, "data");
    tensor->impl.read_bytes(data, byte_offset, byte_count);
  });
}

adn_status adn_tensor_write_bytes(adn_tensor* tensor, const void* data, uint64_t byte_offset,
                                  uint64_t byte_count) noexcept {
  return guard([&] {
    require(tensor, "tensor");
    const Use use(tensor->impl.storage()->use(), "tensor");
    if (byte_count != 0) require(data, "data");
    tensor->impl.write_bytes(data, byte_offset, byte_count);
  });
}

adn_status adn_tensor_fill(adn_tensor* tensor, float value) noexcept {
  return guard([&] {
    require(tensor, "tensor");
    const Use use(tensor->impl.storage()->use(), "tensor");
    tensor->impl.fill(value);
  });
}

}  // extern "C"
