// A dense tensor: a shape, a type of element, and a place in a storage.
#pragma once

#include "core/context.h"

namespace adn {

uint64_t dtype_size(int32_t dtype);
const char* dtype_name(int32_t dtype);

class Tensor {
 public:
  Tensor(std::shared_ptr<Storage> storage, int32_t dtype, uint64_t offset_bytes, const uint64_t* shape, uint32_t rank);

  // A tensor of zeros on its own storage; use: as for Storage.
  static Tensor zeros(const std::shared_ptr<Context>& context, int32_t dtype, const uint64_t* shape, uint32_t rank,
                      UseFlag::Pointer use = std::make_shared<UseFlag>());
  // A tensor on the caller's memory.
  static Tensor external(const std::shared_ptr<Context>& context, void* data, int32_t dtype, const uint64_t* shape,
                         uint32_t rank, adn_release release, void* user);

  const std::shared_ptr<Storage>& storage() const { return storage_; }
  const Context& context() const { return *storage_->context(); }
  void* data() const { return storage_->data() + offset_; }
  int32_t dtype() const { return dtype_; }
  uint64_t count() const { return count_; }
  uint64_t bytes() const { return count_ * dtype_size(dtype_); }
  uint32_t rank() const { return rank_; }
  const uint64_t* shape() const { return shape_; }
  bool same_shape(const Tensor& other) const;
  bool overlaps(const Tensor& other) const;

  void read(float* data, uint64_t count) const;
  void write(const float* data, uint64_t count);
  // A run of its bytes, in the order of the elements.
  void read_bytes(void* data, uint64_t offset, uint64_t bytes) const;
  void write_bytes(const void* data, uint64_t offset, uint64_t bytes);
  void fill(float value);
  // From a tensor of as many bytes.
  void copy_from(const Tensor& from);

 private:
  std::shared_ptr<Storage> storage_;
  int32_t dtype_;
  uint32_t rank_;
  uint64_t offset_;  // in bytes
  uint64_t count_ = 1;
  uint64_t shape_[ADN_MAX_RANK] = {};
};

// The shape as text, e.g. "[32, 1, 5, 5]".
struct ShapeText {
  ShapeText(const uint64_t* shape, uint32_t rank);
  char text[192];
};

}  // namespace adn

struct adn_context {
  std::shared_ptr<adn::Context> impl;
};

struct adn_tensor {
  adn::Tensor impl;
};
