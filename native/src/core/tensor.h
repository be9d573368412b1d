// A dense float32 tensor: a shape and a place in a storage.
#pragma once

#include "core/context.h"

namespace adn {

class Tensor {
 public:
  Tensor(std::shared_ptr<Storage> storage, uint64_t offset, const uint64_t* shape, uint32_t rank);

  // A tensor of zeros on its own storage.
  static Tensor zeros(const std::shared_ptr<Context>& context, const uint64_t* shape, uint32_t rank);

  const std::shared_ptr<Storage>& storage() const { return storage_; }
  const Context& context() const { return *storage_->context(); }
  float* data() const { return storage_->data() + offset_; }
  uint64_t offset() const { return offset_; }
  uint64_t count() const { return count_; }
  uint32_t rank() const { return rank_; }
  const uint64_t* shape() const { return shape_; }
  bool same_shape(const Tensor& other) const;

  void read(float* data, uint64_t count) const;
  void write(const float* data, uint64_t count);
  void fill(float value);

 private:
  std::shared_ptr<Storage> storage_;
  uint64_t offset_;
  uint64_t count_ = 1;
  uint32_t rank_;
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
