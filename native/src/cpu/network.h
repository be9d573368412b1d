// Executes a plan on the CPU. Values lie channels-last in the arena: [image][height][width][channels].
#pragma once

#include <optional>
#include <vector>

#include "adadelta/backend.h"
#include "cpu/conv.h"

namespace adn::cpu {

struct Dataset {
  std::vector<uint8_t> copy;  // empty where the caller's own pixels are read
  const uint8_t* pixels;
};

class Network {
 public:
  Network(ThreadPool& pool, const Kernels& kernels, const adn_plan& plan);

  uint64_t bytes() const;
  void forward(const adn_network_memory& memory, const adn_batch& batch, bool training, uint64_t step);
  float loss(const adn_network_memory& memory, const int32_t* labels, int64_t batch);
  void backward(const adn_network_memory& memory, const float* output_gradient, int64_t batch, uint64_t step);
  void read_value(float* host, const adn_network_memory& memory, uint64_t value, int64_t batch) const;
  void read_gradient(float* host, const adn_network_memory& memory, uint64_t value, int64_t batch) const;

 private:
  struct Op {
    adn_op op;
    std::optional<Conv> conv;
    int64_t in_size, out_size;  // elements an image
  };
  float* value(const adn_network_memory& memory, size_t index) const { return memory.arena + value_offsets_[index]; }
  float* gradient(const adn_network_memory& memory, size_t index) const {
    return memory.arena + gradient_offsets_[index];
  }
  const uint64_t* value_shape(size_t index) const {
    return index == 0 ? ops_[0].op.in_shape : ops_[index - 1].op.out_shape;
  }
  Conv::Scratch scratch() const;
  void read_input(const adn_network_memory& memory, const adn_batch& batch) const;
  void drop(const Op& op, float* to, const float* from, int64_t batch, uint64_t step) const;

  ThreadPool& pool_;
  const Kernels& kernels_;
  std::vector<Op> ops_;
  std::vector<uint64_t> value_offsets_, gradient_offsets_, parameter_offsets_;
  uint64_t seed_;
  bool mean_, input_gradient_;
  Floats thread_scratch_, shared_scratch_, losses_;
  uint64_t scratch_stride_ = 0;
  uint64_t packed_version_ = 0;   // of the parameters that the packed weights were made from
  bool packed_backward_ = false;  // those for backward too
};

}  // namespace adn::cpu
