// The reference itself: every gradient against central finite differences in double.
#include "reference.h"

#include <functional>

namespace adadelta::test {
namespace {

using reference::Doubles;

Doubles random_doubles(Random& random, size_t count, double scale) {
  Doubles data(count);
  for (double& value : data) {
    value = scale * random.real(-1, 1);
  }
  return data;
}

// A step of 1e-5 leaves an error of about h^2 = 1e-10 from the curvature and 1e-16/h = 1e-11 from rounding; the losses and
// gradients here are of the order of 1. The network must stay clear of kinks by more than a step can move it.
constexpr double step = 1e-5, tolerance = 1e-8, clearance = 1e-3;

void expect_derivative(const std::function<double()>& loss, Doubles& variable, const Doubles& gradient,
                       const std::string& what) {
  ASSERT_EQ(variable.size(), gradient.size()) << what;
  for (size_t i = 0; i < variable.size(); ++i) {
    const double value = variable[i];
    variable[i] = value + step;
    const double above = loss();
    variable[i] = value - step;
    const double below = loss();
    variable[i] = value;
    EXPECT_NEAR((above - below) / (2 * step), gradient[i], tolerance) << what << "[" << i << "]";
  }
}

void check_gradients(const Layers& layers, int32_t reduction = ADN_REDUCTION_MEAN) {
  SCOPED_TRACE(describe(layers));
  constexpr uint64_t batch = 3;
  for (uint64_t seed = 1;; ++seed) {
    ASSERT_LE(seed, 200u) << "no draw stays clear of the kinks";
    Random random(seed);
    reference::Network network(layers, reduction);
    for (Doubles* parameter : network.parameters()) {
      *parameter = random_doubles(random, parameter->size(), 0.5);
    }
    for (reference::Layer& layer : network.layers()) {
      if (layer.spec.kind == ADN_LAYER_DROPOUT) {
        layer.mask.resize(batch * layer.out.count());
        for (double& factor : layer.mask) {
          factor = random.chance(0.5) ? 2 : 0;
        }
      }
    }
    Doubles input = random_doubles(random, batch * layers.input.count(), 1);
    const std::vector<int32_t> labels = random.labels(batch, network.output_count());
    network.forward(input);
    if (network.kink_distance() < clearance) {
      continue;
    }
    network.loss(labels);
    network.backward();

    const auto loss = [&] {
      network.forward(input);
      return network.loss(labels);
    };
    expect_derivative(loss, input, network.input_gradient(), "input");
    const std::vector<const Doubles*> gradients = network.gradients();
    const std::vector<Doubles*> parameters = network.parameters();
    for (size_t i = 0; i < parameters.size(); ++i) {
      const Doubles gradient = *gradients[i];
      expect_derivative(loss, *parameters[i], gradient, "parameter " + std::to_string(i));
    }
    return;
  }
}

TEST(Reference, Conv2dGradients) {
  check_gradients(Layers({2, 5, 4}).conv(3, 3));
  check_gradients(Layers({2, 7, 6}).conv(2, {3, 2}, {2, 3}, {1, 2}, {2, 1}));
  check_gradients(Layers({1, 4, 4}).conv(2, 2, 1, 0, 1, 0));
}

TEST(Reference, MaxPoolGradients) {
  check_gradients(Layers({2, 6, 5}).max_pool(2));
  check_gradients(Layers({1, 5, 5}).max_pool(3, 1));
  check_gradients(Layers({1, 5, 6}).max_pool({3, 2}, 2, 1));
}

TEST(Reference, AvgPoolGradients) {
  check_gradients(Layers({2, 6, 5}).avg_pool(2));
  check_gradients(Layers({1, 5, 6}).avg_pool(3, {1, 2}, 1));
}

TEST(Reference, ReluFlattenLinearGradients) {
  check_gradients(Layers({2, 2, 3}).relu().flatten().linear(5).relu().linear(4));
  check_gradients(Layers({3, 1, 1}).flatten().linear(3, 0), ADN_REDUCTION_SUM);
}

TEST(Reference, DropoutGradients) { check_gradients(Layers({1, 3, 3}).flatten().linear(8).dropout(0.5f).linear(3)); }

TEST(Reference, WholeNetworkGradients) {
  check_gradients(Layers({1, 8, 8}).conv(2, 3).max_pool(2).relu().flatten().linear(5).relu().linear(4));
}

// Worked out on paper: sums and means of 1 ... 9 in a 3 x 3 image.
TEST(Reference, KnownValues) {
  const Doubles image = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  reference::Network conv(Layers({1, 3, 3}).conv(1, 2));
  *conv.parameters()[0] = {1, 10, 100, 1000};
  *conv.parameters()[1] = {0.5};
  EXPECT_EQ((Doubles{5421.5, 6532.5, 8754.5, 9865.5}), conv.forward(image));
  EXPECT_EQ((Doubles{5, 6, 8, 9}), reference::Network(Layers({1, 3, 3}).max_pool(2, 1)).forward(image));
  EXPECT_EQ((Doubles{3, 4, 6, 7}), reference::Network(Layers({1, 3, 3}).avg_pool(2, 1)).forward(image));
  EXPECT_EQ((Doubles{0.25, 1.25, 2.75, 7}), reference::Network(Layers({1, 3, 3}).avg_pool(2, 2, 1)).forward(image));

  // Equal logits: log 2 for every image, and softmax - target = -1/2, 1/2.
  reference::Network logits(Layers({2, 1, 1}).flatten(), ADN_REDUCTION_SUM);
  logits.forward({3, 3, -1, -1});
  EXPECT_DOUBLE_EQ(2 * std::log(2.0), logits.loss({0, 1}));
  logits.backward();
  EXPECT_EQ((Doubles{-0.5, 0.5, 0.5, -0.5}), logits.input_gradient());
}

}  // namespace
}  // namespace adadelta::test
