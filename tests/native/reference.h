// Every layer in double, as plain loops over N x C x H x W: what the library is measured against.
// It is itself checked against finite differences in reference_test.cpp.
#ifndef ADADELTA_TESTS_REFERENCE_H
#define ADADELTA_TESTS_REFERENCE_H

#include <cstdint>
#include <vector>

#include "support.h"

namespace adadelta::test::reference {

using Doubles = std::vector<double>;

struct Layer {
  adn_layer spec;
  Shape in, out;
  Doubles weight, bias;
  Doubles weight_gradient, bias_gradient;
  Doubles mask;    // Dropout: the factor of every element, 0 or 1/(1-p); empty is the identity
  Doubles output;  // of the last forward pass
};

class Network {
 public:
  // Weights and biases are zero.
  explicit Network(const Layers& layers, int32_t reduction = ADN_REDUCTION_MEAN);

  std::vector<Layer>& layers() { return layers_; }
  uint64_t output_count() const { return layers_.empty() ? input_shape_.count() : layers_.back().out.count(); }
  // Weight before bias, in the order of the layers.
  std::vector<Doubles*> parameters();
  std::vector<const Doubles*> gradients() const;

  const Doubles& forward(const Doubles& input);
  double loss(const std::vector<int32_t>& labels);
  void backward();  // from the last loss
  void backward(const Doubles& output_gradient);
  const Doubles& input_gradient() const { return input_gradient_; }

  // The largest sum of |a*b| over all dot products so far. While it stays below 2^24 of the numbers' common unit, float32
  // computes these dot products exactly, in whatever order.
  double largest_magnitude() const { return largest_magnitude_; }

  // How far the last forward pass stayed from a kink, relative to the largest value there: the smallest distance of a ReLU's
  // input from 0, and of a window's maximum from its runner-up. Below float32's error the gradients are not comparable.
  double kink_distance() const { return kink_distance_; }

  // Bound for float32's relative error (norm over norm) of a pass through all layers. The rounding errors of a sum of K
  // products walk at random: they reach about sqrt(K/6) * eps of a result that itself grew as sqrt(K), eps = 2^-24. Four
  // times that for each layer leaves room for blocked orders and cancellation; a fixed part covers softmax and scaling.
  double forward_tolerance() const;
  double backward_tolerance() const;

 private:
  Shape input_shape_;
  int32_t reduction_;
  std::vector<Layer> layers_;
  uint64_t batch_ = 0;
  Doubles input_, logits_gradient_, input_gradient_;
  double largest_magnitude_ = 0, kink_distance_ = 0;
};

// One step of torch.optim.Adadelta on p with state v (square_avg) and u (acc_delta).
void adadelta_step(Doubles& p, Doubles& v, Doubles& u, const Doubles& gradient, const AdadeltaSettings& settings);

}  // namespace adadelta::test::reference

#endif  // ADADELTA_TESTS_REFERENCE_H
