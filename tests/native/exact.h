// The library against the reference on whole numbers, to the last bit.
#ifndef ADADELTA_TESTS_EXACT_H
#define ADADELTA_TESTS_EXACT_H

#include "reference.h"

namespace adadelta::test {

inline reference::Doubles widen(const Floats& data) { return {data.begin(), data.end()}; }

inline void load(reference::Network& expected, const Network& network) {
  const std::vector<Floats> values = network.values();
  const std::vector<reference::Doubles*> parameters = expected.parameters();
  ASSERT_EQ(parameters.size(), values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(parameters[i]->size(), values[i].size()) << network.name(i);
    *parameters[i] = widen(values[i]);
  }
}

inline void expect_shapes(reference::Network& expected, const Network& network) {
  ASSERT_EQ(expected.layers().size(), network.info().layer_count);
  for (size_t i = 0; i < expected.layers().size(); ++i) {
    const reference::Layer& layer = expected.layers()[i];
    const adn_layer_info info = network.layer(i);
    EXPECT_EQ(layer.spec.kind, info.kind);
    EXPECT_EQ(layer.out.channels, info.output_shape[0]) << info.name;
    EXPECT_EQ(layer.out.height, info.output_shape[1]) << info.name;
    EXPECT_EQ(layer.out.width, info.output_shape[2]) << info.name;
    EXPECT_EQ(layer.weight.size() + layer.bias.size(), info.parameter_elements) << info.name;
  }
}

// What the whole numbers of a case look like: small and sparse enough for exact sums in deep networks.
struct Draw {
  uint64_t bound = 3;
  double weight_density = 1, gradient_density = 1;
};

// Forward, activations, parameter gradients and input gradient without any rounding. False where float32 may round some sum of
// this draw, so that it proves nothing; nothing is compared then.
inline bool compare_exactly(const Layers& layers, uint64_t batch, int32_t instruction_set, const Draw& draw,
                            uint64_t seed, uint32_t threads, uint64_t max_batch_size) {
  SCOPED_TRACE(describe(layers) + "; batch " + std::to_string(batch) + ", seed " + std::to_string(seed) + ", " +
               std::to_string(threads) + " threads, " + instruction_set_name(instruction_set));
  const Context context = make_context(threads, instruction_set);
  NetworkSettings settings;
  settings.max_batch_size = max_batch_size;
  Network network(context.get(), layers, settings);
  reference::Network expected(layers);
  expect_shapes(expected, network);

  Random random(seed);
  for (uint64_t i = 0; i < network.parameter_count(); ++i) {
    const uint64_t count = read(network.value(i)).size();
    write(network.value(i), random.integers(count, 2, draw.weight_density));
  }
  load(expected, network);
  const Floats input = random.integers(batch * network.input_count(), draw.bound);
  const Floats gradient = random.integers(batch * network.info().output_count, 2, draw.gradient_density);

  const Floats output = network.forward(input);
  network.backward(gradient);
  expected.forward(widen(input));
  expected.backward(widen(gradient));
  // An average over 4 elements counts in quarters, forward and backward.
  double unit = 1;
  for (const adn_layer& layer : layers.list) {
    const auto area = static_cast<double>(layer.kernel[0] * layer.kernel[1]);
    unit *= layer.kind == ADN_LAYER_AVGPOOL2D ? area * area : 1;
  }
  if (!(expected.largest_magnitude() * unit < 0x1p24)) {
    return false;
  }

  expect_equal(expected.layers().back().output, output, "output");
  for (size_t i = 0; i < expected.layers().size(); ++i) {
    if (network.layer(i).has_activation) {
      expect_equal(expected.layers()[i].output, network.activation(i),
                   std::string("activation of ") + network.layer(i).name);
    }
  }
  const std::vector<Floats> gradients = network.gradients();
  for (size_t i = 0; i < gradients.size(); ++i) {
    expect_equal(*expected.gradients()[i], gradients[i], "gradient of " + network.name(i));
  }
  expect_equal(expected.input_gradient(), network.input_gradient(), "gradient of the input");
  return true;
}

inline void check_exactly(const Layers& layers, uint64_t batch, int32_t instruction_set, const Draw& draw = {},
                          uint64_t seed = 1, uint32_t threads = 2, uint64_t max_batch_size = 0) {
  EXPECT_TRUE(compare_exactly(layers, batch, instruction_set, draw, seed, threads,
                              max_batch_size == 0 ? batch : max_batch_size))
      << "the case does not prove that float32 is exact: " << describe(layers);
}

}  // namespace adadelta::test

#endif  // ADADELTA_TESTS_EXACT_H
