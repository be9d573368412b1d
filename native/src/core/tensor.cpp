#include "core/tensor.h"

#include <algorithm>
#include <cstdio>

namespace adn {
namespace {

// The largest tensor: its bytes still fit a signed 64-bit offset.
constexpr uint64_t kMaxElements = uint64_t{1} << 60;

uint64_t element_count(const uint64_t* shape, uint32_t rank) {
  uint64_t count = 1;
  for (uint32_t i = 0; i < rank; ++i) {
    if (shape[i] == 0 || shape[i] > kMaxElements / count) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "shape[%u]: %llu, expected >= 1 and at most 2^60 elements in all", i,
           static_cast<unsigned long long>(shape[i]));
    }
    count *= shape[i];
  }
  return count;
}

void check_count(uint64_t count, const Tensor& tensor) {
  if (count != tensor.count()) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "count: %llu, expected %llu, the elements of a tensor of shape %s",
         static_cast<unsigned long long>(count), static_cast<unsigned long long>(tensor.count()),
         ShapeText(tensor.shape(), tensor.rank()).text);
  }
}

}  // namespace

Tensor::Tensor(std::shared_ptr<Storage> storage, uint64_t offset, const uint64_t* shape, uint32_t rank)
    : storage_(std::move(storage)), offset_(offset), count_(element_count(shape, rank)), rank_(rank) {
  std::copy_n(shape, rank, shape_);
}

Tensor Tensor::zeros(const std::shared_ptr<Context>& context, const uint64_t* shape, uint32_t rank) {
  return Tensor(std::make_shared<Storage>(context, element_count(shape, rank)), 0, shape, rank);
}

bool Tensor::same_shape(const Tensor& other) const {
  return rank_ == other.rank_ && std::equal(shape_, shape_ + rank_, other.shape_);
}

void Tensor::read(float* data, uint64_t count) const {
  check_count(count, *this);
  context().call(&adn_backend::read, data, context().device(), static_cast<const float*>(this->data()), count);
}

void Tensor::write(const float* data, uint64_t count) {
  check_count(count, *this);
  context().call(&adn_backend::write, context().device(), this->data(), data, count);
  storage_->touch();
}

void Tensor::fill(float value) {
  context().call(&adn_backend::fill, context().device(), this->data(), value, count_);
  storage_->touch();
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
