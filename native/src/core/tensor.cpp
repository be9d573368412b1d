#include "core/tensor.h"

#include <algorithm>
#include <cstdio>

#include "core/float16.h"

namespace adn {
namespace {

// The largest tensor: its bytes still fit a signed 64-bit offset.
constexpr uint64_t kMaxElements = uint64_t{1} << 59;

uint64_t element_count(const uint64_t* shape, uint32_t rank) {
  uint64_t count = 1;
  for (uint32_t i = 0; i < rank; ++i) {
    if (shape[i] == 0 || shape[i] > kMaxElements / count) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "shape[%u]: %llu, expected >= 1 and at most 2^59 elements in all", i,
           static_cast<unsigned long long>(shape[i]));
    }
    count *= shape[i];
  }
  return count;
}

void check_count(uint64_t count, const Tensor& tensor) {
  if (tensor.dtype() != ADN_DTYPE_FLOAT32) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "tensor: of type %s, expected float32; its bytes are read and written",
         dtype_name(tensor.dtype()));
  }
  if (count != tensor.count()) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "count: %llu, expected %llu, the elements of a tensor of shape %s",
         static_cast<unsigned long long>(count), static_cast<unsigned long long>(tensor.count()),
         ShapeText(tensor.shape(), tensor.rank()).text);
  }
}

void check_bytes(uint64_t offset, uint64_t bytes, const Tensor& tensor) {
  using ull = unsigned long long;
  if (offset > tensor.bytes()) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "byte_offset: %llu, expected at most %llu, the bytes of a %s tensor of shape %s",
         static_cast<ull>(offset), static_cast<ull>(tensor.bytes()), dtype_name(tensor.dtype()),
         ShapeText(tensor.shape(), tensor.rank()).text);
  }
  if (bytes > tensor.bytes() - offset) {
    fail(ADN_STATUS_INVALID_ARGUMENT,
         "byte_count: %llu, expected at most %llu, the bytes from %llu on of a %s tensor of shape %s",
         static_cast<ull>(bytes), static_cast<ull>(tensor.bytes() - offset), static_cast<ull>(offset),
         dtype_name(tensor.dtype()), ShapeText(tensor.shape(), tensor.rank()).text);
  }
}

void check_dtype(int32_t dtype) {
  if (dtype < ADN_DTYPE_FLOAT32 || dtype > ADN_DTYPE_COMPLEX64) {
    fail(ADN_STATUS_INVALID_ARGUMENT,
         "dtype: %d, expected 0 (float32), 1 (float64), 2 (float16), 3 (bfloat16) or 4 (complex64)", dtype);
  }
}

struct Type {
  const char* name;
  uint64_t size;
};
constexpr Type kTypes[] = {{"float32", 4}, {"float64", 8}, {"float16", 2}, {"bfloat16", 2}, {"complex64", 8}};

}  // namespace

uint64_t dtype_size(int32_t dtype) { return kTypes[dtype].size; }
const char* dtype_name(int32_t dtype) { return kTypes[dtype].name; }

Tensor::Tensor(std::shared_ptr<Storage> storage, int32_t dtype, uint64_t offset_bytes, const uint64_t* shape,
               uint32_t rank)
    : storage_(std::move(storage)),
      dtype_(dtype),
      rank_(rank),
      offset_(offset_bytes),
      count_(element_count(shape, rank)) {
  std::copy_n(shape, rank, shape_);
}

Tensor Tensor::zeros(const std::shared_ptr<Context>& context, int32_t dtype, const uint64_t* shape, uint32_t rank,
                     UseFlag::Pointer use) {
  check_dtype(dtype);
  const uint64_t bytes = element_count(shape, rank) * dtype_size(dtype);
  return Tensor(std::make_shared<Storage>(context, bytes, std::move(use)), dtype, 0, shape, rank);
}

Tensor Tensor::external(const std::shared_ptr<Context>& context, void* data, int32_t dtype, const uint64_t* shape,
                        uint32_t rank, adn_release release, void* user) {
  check_dtype(dtype);
  const uint64_t bytes = element_count(shape, rank) * dtype_size(dtype);
  const uint64_t alignment = dtype == ADN_DTYPE_COMPLEX64 ? sizeof(float) : dtype_size(dtype);
  if (reinterpret_cast<uintptr_t>(data) % alignment != 0) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "data: %p, expected a multiple of %llu, the alignment of %s", data,
         static_cast<unsigned long long>(alignment), dtype_name(dtype));
  }
  Tensor tensor(nullptr, dtype, 0, shape, rank);
  tensor.storage_ = std::make_shared<Storage>(context, data, bytes, release, user);
  return tensor;
}

bool Tensor::same_shape(const Tensor& other) const {
  return rank_ == other.rank_ && std::equal(shape_, shape_ + rank_, other.shape_);
}

bool Tensor::overlaps(const Tensor& other) const {
  const auto begin = reinterpret_cast<uintptr_t>(data()), other_begin = reinterpret_cast<uintptr_t>(other.data());
  return begin < other_begin + other.bytes() && other_begin < begin + bytes();
}

void Tensor::read(float* data, uint64_t count) const {
  check_count(count, *this);
  read_bytes(data, 0, bytes());
}

void Tensor::write(const float* data, uint64_t count) {
  check_count(count, *this);
  write_bytes(data, 0, bytes());
}

void Tensor::read_bytes(void* data, uint64_t offset, uint64_t bytes) const {
  check_bytes(offset, bytes, *this);
  const void* from = static_cast<const unsigned char*>(this->data()) + offset;
  context().call(&adn_backend::read, data, context().device(), from, bytes);
}

void Tensor::write_bytes(const void* data, uint64_t offset, uint64_t bytes) {
  check_bytes(offset, bytes, *this);
  void* to = static_cast<unsigned char*>(this->data()) + offset;
  storage_->touch();
  context().call(&adn_backend::write, context().device(), to, data, bytes);
}

void Tensor::fill(float value) {
  union {
    float float32;
    double float64;
    Half float16;
    BFloat16 bfloat16;
    float complex64[2];
  } element;
  switch (dtype_) {
    case ADN_DTYPE_FLOAT64:
      element.float64 = value;
      break;
    case ADN_DTYPE_FLOAT16:
      from_float(element.float16, value);
      break;
    case ADN_DTYPE_BFLOAT16:
      from_float(element.bfloat16, value);
      break;
    case ADN_DTYPE_COMPLEX64:
      element.complex64[0] = value;
      element.complex64[1] = 0;
      break;
    default:
      element.float32 = value;
  }
  storage_->touch();
  context().call(&adn_backend::fill, context().device(), this->data(), static_cast<const void*>(&element),
                 dtype_size(dtype_), count_);
}

void Tensor::copy_from(const Tensor& from) {
  storage_->touch();
  context().call(&adn_backend::copy, context().device(), data(), static_cast<const void*>(from.data()), from.bytes());
}

ShapeText::ShapeText(const uint64_t* shape, uint32_t rank) {
  int length = std::snprintf(text, sizeof text, "[");
  for (uint32_t i = 0; i < rank; ++i) {
    length += std::snprintf(text + length, sizeof text - static_cast<size_t>(length), i == 0 ? "%llu" : ", %llu",
                            static_cast<unsigned long long>(shape[i]));
  }
  std::snprintf(text + length, sizeof text - static_cast<size_t>(length), "]");
}

}  // namespace adn
