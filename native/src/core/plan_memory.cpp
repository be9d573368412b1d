// Where a plan's values and gradients lie, and what a backend sees of it.
#include <algorithm>

#include "core/plan.h"

namespace adn {
void Plan::place_values() {
  const uint64_t batch = options.max_batch_size;
  value_sizes.push_back(input.count());
  for (const adn_op& op : ops) value_sizes.push_back(op.out_shape[0] * op.out_shape[1] * op.out_shape[2]);
  uint64_t place = 0;
  for (uint64_t size : value_sizes) {
    value_offsets.push_back(place);
    place += aligned(size * batch);
  }
  // In the backward pass an operation reads the gradient of its output and writes that of its input: two areas in turn are enough.
  uint64_t halves[2] = {0, 0};
  for (size_t i = options.inference != 0        ? value_sizes.size()
                  : options.input_gradient != 0 ? 0
                                                : 1;
       i < value_sizes.size(); ++i) {
    halves[i % 2] = std::max(halves[i % 2], aligned(value_sizes[i] * batch));
  }
  for (size_t i = 0; i < value_sizes.size(); ++i) gradient_offsets.push_back(place + (i % 2 == 0 ? 0 : halves[0]));
  arena_floats = place + halves[0] + halves[1];
  for (const PlannedParameter& parameter : parameters) parameter_offsets.push_back(parameter.offset);
}

Plan Plan::with(uint64_t max_batch_size, bool inference) const {
  std::vector<adn_layer> specs;
  for (const PlannedLayer& layer : layers) {
    specs.push_back(layer.spec);
    specs.back().name = layer.name.c_str();
  }
  adn_network_options changed = options;
  changed.max_batch_size = max_batch_size;
  changed.inference = inference;
  if (inference) changed.input_gradient = 0;
  return make_plan(specs, changed);
}

adn_plan Plan::view() const {
  adn_plan view = {};
  view.ops = ops.data();
  view.op_count = ops.size();
  view.value_offsets = value_offsets.data();
  view.gradient_offsets = gradient_offsets.data();
  view.arena_floats = arena_floats;
  view.parameter_offsets = parameter_offsets.data();
  view.parameter_count = parameters.size();
  view.max_batch_size = options.max_batch_size;
  view.seed = options.seed;
  view.reduction = options.reduction;
  view.input_gradient = options.input_gradient;
  view.inference = options.inference;
  return view;
}

}  // namespace adn
