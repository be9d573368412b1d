// From layers to a flat list of operations on planned memory.
#pragma once

#include <string>
#include <vector>

#include "adadelta/backend.h"

namespace adn {

// Floats up to the next cache line.
inline uint64_t aligned(uint64_t floats) { return (floats + 15) / 16 * 16; }

struct Shape3 {
  uint64_t channels, height, width;
  bool flat;  // a vector: height and width are 1
  uint64_t count() const { return channels * height * width; }
};

struct PlannedLayer {
  adn_layer spec;  // its name is NULL: see name
  std::string name;
  Shape3 output;
  int64_t value;  // which value is this layer's output; -1 when it never leaves a fused operation
  uint64_t parameter_elements;
};

struct PlannedParameter {
  std::string name;
  uint64_t shape[4];
  uint32_t rank;
  uint64_t offset;  // in floats
  uint64_t count;
  uint64_t fan_in;
};

struct Plan {
  Shape3 input, output;
  std::vector<PlannedLayer> layers;
  std::vector<PlannedParameter> parameters;
  std::vector<adn_op> ops;
  std::vector<uint64_t> value_sizes;  // elements an image
  std::vector<uint64_t> value_offsets, gradient_offsets, parameter_offsets;
  uint64_t arena_floats = 0, parameter_floats = 0;
  adn_network_options options = {};

  // Gives every value its place in the arena.
  void place_values();
  adn_plan view() const;
  // The same layers, planned for another largest batch or for inference alone.
  Plan with(uint64_t max_batch_size, bool inference) const;
};

// Checks the layers against each other, fuses what can be fused and gives every value its place.
Plan make_plan(const std::vector<adn_layer>& layers, const adn_network_options& options);

// PyTorch's name of a layer kind, e.g. "Conv2d".
const char* layer_kind_name(int32_t kind);

}  // namespace adn
