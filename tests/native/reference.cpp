#include "reference.h"

#include <algorithm>
#include <limits>

namespace adadelta::test::reference {
namespace {

uint64_t window_count(uint64_t in, uint64_t kernel, uint64_t stride, uint64_t padding, uint64_t dilation) {
  return (in + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
}

Shape output_shape(const adn_layer& layer, const Shape& in) {
  const auto windows = [&](uint64_t channels) {
    return Shape{channels,
                 window_count(in.height, layer.kernel[0], layer.stride[0], layer.padding[0], layer.dilation[0]),
                 window_count(in.width, layer.kernel[1], layer.stride[1], layer.padding[1], layer.dilation[1])};
  };
  switch (layer.kind) {
    case ADN_LAYER_CONV2D:
      return windows(layer.out_features);
    case ADN_LAYER_MAXPOOL2D:
    case ADN_LAYER_AVGPOOL2D:
      return windows(in.channels);
    case ADN_LAYER_FLATTEN:
      return {in.count(), 1, 1};
    case ADN_LAYER_LINEAR:
      return {layer.out_features, 1, 1};
    default:
      return in;
  }
}

uint64_t place(const Shape& shape, uint64_t n, uint64_t c, uint64_t y, uint64_t x) {
  return ((n * shape.channels + c) * shape.height + y) * shape.width + x;
}

// Calls visit(index) for every element of the input that window (oy, ox) of channel c covers, in row-major order; padding is
// left out. kernel_index is the place in the window.
template <class Visit>
void for_each_in_window(const Layer& layer, uint64_t n, uint64_t c, uint64_t oy, uint64_t ox, Visit visit) {
  const adn_layer& spec = layer.spec;
  for (uint64_t ky = 0; ky < spec.kernel[0]; ++ky) {
    // Unsigned arithmetic wraps above the padding to a number that the bound refuses.
    const uint64_t y = oy * spec.stride[0] + ky * spec.dilation[0] - spec.padding[0];
    for (uint64_t kx = 0; kx < spec.kernel[1]; ++kx) {
      const uint64_t x = ox * spec.stride[1] + kx * spec.dilation[1] - spec.padding[1];
      if (y < layer.in.height && x < layer.in.width) {
        visit(place(layer.in, n, c, y, x), ky * spec.kernel[1] + kx);
      }
    }
  }
}

template <class Visit>
void for_each_window(const Layer& layer, uint64_t batch, Visit visit) {
  for (uint64_t n = 0; n < batch; ++n) {
    for (uint64_t c = 0; c < layer.out.channels; ++c) {
      for (uint64_t oy = 0; oy < layer.out.height; ++oy) {
        for (uint64_t ox = 0; ox < layer.out.width; ++ox) {
          visit(n, c, oy, ox, place(layer.out, n, c, oy, ox));
        }
      }
    }
  }
}

// A sum that also keeps the sum of the absolute values.
struct Sum {
  double value = 0, magnitude = 0;
  void add(double term) {
    value += term;
    magnitude += std::fabs(term);
  }
};

using Sums = std::vector<Sum>;

Doubles values(const Sums& sums, double& largest) {
  Doubles result(sums.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    result[i] = sums[i].value;
    largest = std::max(largest, sums[i].magnitude);
  }
  return result;
}

// ---- Conv2d ----

Doubles conv_forward(const Layer& layer, const Doubles& input, uint64_t batch, double& largest) {
  Sums output(batch * layer.out.count());
  const uint64_t area = layer.spec.kernel[0] * layer.spec.kernel[1];
  for_each_window(layer, batch, [&](uint64_t n, uint64_t oc, uint64_t oy, uint64_t ox, uint64_t o) {
    if (layer.spec.bias) {
      output[o].add(layer.bias[oc]);
    }
    for (uint64_t ic = 0; ic < layer.in.channels; ++ic) {
      const double* weight = &layer.weight[(oc * layer.in.channels + ic) * area];
      for_each_in_window(layer, n, ic, oy, ox, [&](uint64_t i, uint64_t k) { output[o].add(weight[k] * input[i]); });
    }
  });
  return values(output, largest);
}

Doubles conv_backward(Layer& layer, const Doubles& input, const Doubles& gradient, uint64_t batch, double& largest) {
  Sums by_input(input.size()), by_weight(layer.weight.size()), by_bias(layer.bias.size());
  const uint64_t area = layer.spec.kernel[0] * layer.spec.kernel[1];
  for_each_window(layer, batch, [&](uint64_t n, uint64_t oc, uint64_t oy, uint64_t ox, uint64_t o) {
    const double g = gradient[o];
    if (g == 0) {
      return;
    }
    if (layer.spec.bias) {
      by_bias[oc].add(g);
    }
    for (uint64_t ic = 0; ic < layer.in.channels; ++ic) {
      const uint64_t first = (oc * layer.in.channels + ic) * area;
      for_each_in_window(layer, n, ic, oy, ox, [&](uint64_t i, uint64_t k) {
        by_input[i].add(layer.weight[first + k] * g);
        by_weight[first + k].add(input[i] * g);
      });
    }
  });
  layer.weight_gradient = values(by_weight, largest);
  layer.bias_gradient = values(by_bias, largest);
  return values(by_input, largest);
}

// ---- Linear ----

Doubles linear_forward(const Layer& layer, const Doubles& input, uint64_t batch, double& largest) {
  const uint64_t in = layer.in.count(), out = layer.out.count();
  Sums output(batch * out);
  for (uint64_t n = 0; n < batch; ++n) {
    for (uint64_t o = 0; o < out; ++o) {
      Sum& sum = output[n * out + o];
      if (layer.spec.bias) {
        sum.add(layer.bias[o]);
      }
      for (uint64_t i = 0; i < in; ++i) {
        sum.add(layer.weight[o * in + i] * input[n * in + i]);
      }
    }
  }
  return values(output, largest);
}

Doubles linear_backward(Layer& layer, const Doubles& input, const Doubles& gradient, uint64_t batch, double& largest) {
  const uint64_t in = layer.in.count(), out = layer.out.count();
  Sums by_input(input.size()), by_weight(layer.weight.size()), by_bias(layer.bias.size());
  for (uint64_t n = 0; n < batch; ++n) {
    for (uint64_t o = 0; o < out; ++o) {
      const double g = gradient[n * out + o];
      if (layer.spec.bias) {
        by_bias[o].add(g);
      }
      for (uint64_t i = 0; i < in; ++i) {
        by_input[n * in + i].add(layer.weight[o * in + i] * g);
        by_weight[o * in + i].add(input[n * in + i] * g);
      }
    }
  }
  layer.weight_gradient = values(by_weight, largest);
  layer.bias_gradient = values(by_bias, largest);
  return values(by_input, largest);
}

// ---- Pooling ----

// Index of a window's maximum: the first in row-major order, and the last NaN where there is one, as PyTorch has it.
uint64_t window_maximum(const Layer& layer, const Doubles& input, uint64_t n, uint64_t c, uint64_t oy, uint64_t ox,
                        double* runner_up = nullptr) {
  constexpr uint64_t none = std::numeric_limits<uint64_t>::max();
  uint64_t best = none;
  for_each_in_window(layer, n, c, oy, ox, [&](uint64_t i, uint64_t) {
    if (best == none || input[i] > input[best] || std::isnan(input[i])) {
      best = i;
    }
  });
  if (runner_up != nullptr) {
    *runner_up = -std::numeric_limits<double>::infinity();
    for_each_in_window(layer, n, c, oy, ox, [&](uint64_t i, uint64_t) {
      if (i != best) {
        *runner_up = std::max(*runner_up, input[i]);
      }
    });
  }
  return best;
}

Doubles max_pool_forward(const Layer& layer, const Doubles& input, uint64_t batch, double& smallest_gap) {
  Doubles output(batch * layer.out.count());
  for_each_window(layer, batch, [&](uint64_t n, uint64_t c, uint64_t oy, uint64_t ox, uint64_t o) {
    double runner_up;
    output[o] = input[window_maximum(layer, input, n, c, oy, ox, &runner_up)];
    smallest_gap = std::min(smallest_gap, output[o] - runner_up);
  });
  return output;
}

Doubles max_pool_backward(const Layer& layer, const Doubles& input, const Doubles& gradient, uint64_t batch,
                          double& largest) {
  Sums by_input(input.size());
  for_each_window(layer, batch, [&](uint64_t n, uint64_t c, uint64_t oy, uint64_t ox, uint64_t o) {
    by_input[window_maximum(layer, input, n, c, oy, ox)].add(gradient[o]);
  });
  return values(by_input, largest);
}

// Padding counts in the mean.
Doubles avg_pool_forward(const Layer& layer, const Doubles& input, uint64_t batch) {
  Doubles output(batch * layer.out.count());
  const auto area = static_cast<double>(layer.spec.kernel[0] * layer.spec.kernel[1]);
  for_each_window(layer, batch, [&](uint64_t n, uint64_t c, uint64_t oy, uint64_t ox, uint64_t o) {
    for_each_in_window(layer, n, c, oy, ox, [&](uint64_t i, uint64_t) { output[o] += input[i]; });
    output[o] /= area;
  });
  return output;
}

Doubles avg_pool_backward(const Layer& layer, const Doubles& input, const Doubles& gradient, uint64_t batch) {
  Doubles by_input(input.size());
  const auto area = static_cast<double>(layer.spec.kernel[0] * layer.spec.kernel[1]);
  for_each_window(layer, batch, [&](uint64_t n, uint64_t c, uint64_t oy, uint64_t ox, uint64_t o) {
    for_each_in_window(layer, n, c, oy, ox, [&](uint64_t i, uint64_t) { by_input[i] += gradient[o] / area; });
  });
  return by_input;
}

double largest_absolute(const Doubles& data) {
  double largest = 0;
  for (double value : data) {
    largest = std::max(largest, std::fabs(value));
  }
  return largest;
}

constexpr double float_eps = 0x1p-24;

}  // namespace

Network::Network(const Layers& layers, int32_t reduction) : input_shape_(layers.input), reduction_(reduction) {
  Shape shape = layers.input;
  for (adn_layer spec : layers.list) {
    const bool pool = spec.kind == ADN_LAYER_MAXPOOL2D || spec.kind == ADN_LAYER_AVGPOOL2D;
    for (int axis = 0; pool && axis < 2; ++axis) {
      spec.stride[axis] = spec.stride[axis] == 0 ? spec.kernel[axis] : spec.stride[axis];
    }
    Layer layer{};
    layer.spec = spec;
    layer.in = shape;
    layer.out = output_shape(spec, shape);
    if (spec.kind == ADN_LAYER_CONV2D || spec.kind == ADN_LAYER_LINEAR) {
      const uint64_t fan_in =
          spec.kind == ADN_LAYER_LINEAR ? shape.count() : shape.channels * spec.kernel[0] * spec.kernel[1];
      layer.weight.resize(spec.out_features * fan_in);
      layer.bias.resize(spec.bias ? spec.out_features : 0);
    }
    shape = layer.out;
    layers_.push_back(layer);
  }
}

std::vector<Doubles*> Network::parameters() {
  std::vector<Doubles*> all;
  for (Layer& layer : layers_) {
    for (Doubles* parameter : {&layer.weight, &layer.bias}) {
      if (!parameter->empty()) {
        all.push_back(parameter);
      }
    }
  }
  return all;
}

std::vector<const Doubles*> Network::gradients() const {
  std::vector<const Doubles*> all;
  for (const Layer& layer : layers_) {
    for (const Doubles* gradient : {&layer.weight_gradient, &layer.bias_gradient}) {
      if (!gradient->empty()) {
        all.push_back(gradient);
      }
    }
  }
  return all;
}

const Doubles& Network::forward(const Doubles& input) {
  batch_ = input.size() / input_shape_.count();
  input_ = input;
  kink_distance_ = std::numeric_limits<double>::infinity();
  const Doubles* x = &input_;
  for (Layer& layer : layers_) {
    double kink = std::numeric_limits<double>::infinity();
    switch (layer.spec.kind) {
      case ADN_LAYER_CONV2D:
        layer.output = conv_forward(layer, *x, batch_, largest_magnitude_);
        break;
      case ADN_LAYER_LINEAR:
        layer.output = linear_forward(layer, *x, batch_, largest_magnitude_);
        break;
      case ADN_LAYER_MAXPOOL2D:
        layer.output = max_pool_forward(layer, *x, batch_, kink);
        break;
      case ADN_LAYER_AVGPOOL2D:
        layer.output = avg_pool_forward(layer, *x, batch_);
        break;
      case ADN_LAYER_RELU:
        layer.output = *x;
        for (double& value : layer.output) {
          kink = std::min(kink, std::fabs(value));
          value = value < 0 ? 0 : value;  // NaN stays NaN
        }
        break;
      case ADN_LAYER_DROPOUT:
        layer.output = *x;
        for (size_t i = 0; i < layer.mask.size(); ++i) {
          layer.output[i] *= layer.mask[i];
        }
        break;
      default:
        layer.output = *x;
    }
    if (std::isfinite(kink)) {
      kink_distance_ = std::min(kink_distance_, kink / largest_absolute(*x));
    }
    x = &layer.output;
  }
  return *x;
}

double Network::loss(const std::vector<int32_t>& labels) {
  const Doubles& logits = layers_.empty() ? input_ : layers_.back().output;
  const uint64_t classes = output_count();
  const double scale = reduction_ == ADN_REDUCTION_MEAN ? 1.0 / static_cast<double>(batch_) : 1.0;
  logits_gradient_.assign(logits.size(), 0);
  double loss = 0;
  for (uint64_t n = 0; n < batch_; ++n) {
    const double* row = &logits[n * classes];
    const double largest = *std::max_element(row, row + classes);
    double sum = 0;
    for (uint64_t c = 0; c < classes; ++c) {
      sum += std::exp(row[c] - largest);
    }
    loss += scale * (std::log(sum) + largest - row[labels[n]]);
    for (uint64_t c = 0; c < classes; ++c) {
      const double target = static_cast<uint64_t>(labels[n]) == c ? 1 : 0;
      logits_gradient_[n * classes + c] = scale * (std::exp(row[c] - largest) / sum - target);
    }
  }
  return loss;
}

void Network::backward() { backward(logits_gradient_); }

void Network::backward(const Doubles& output_gradient) {
  Doubles gradient = output_gradient;
  for (size_t i = layers_.size(); i-- > 0;) {
    Layer& layer = layers_[i];
    const Doubles& input = i == 0 ? input_ : layers_[i - 1].output;
    switch (layer.spec.kind) {
      case ADN_LAYER_CONV2D:
        gradient = conv_backward(layer, input, gradient, batch_, largest_magnitude_);
        break;
      case ADN_LAYER_LINEAR:
        gradient = linear_backward(layer, input, gradient, batch_, largest_magnitude_);
        break;
      case ADN_LAYER_MAXPOOL2D:
        gradient = max_pool_backward(layer, input, gradient, batch_, largest_magnitude_);
        break;
      case ADN_LAYER_AVGPOOL2D:
        gradient = avg_pool_backward(layer, input, gradient, batch_);
        break;
      case ADN_LAYER_RELU:
        for (size_t j = 0; j < gradient.size(); ++j) {
          gradient[j] = input[j] <= 0 ? 0 : gradient[j];
        }
        break;
      case ADN_LAYER_DROPOUT:
        for (size_t j = 0; j < layer.mask.size(); ++j) {
          gradient[j] *= layer.mask[j];
        }
        break;
      default:
        break;
    }
  }
  input_gradient_ = gradient;
}

double Network::forward_tolerance() const {
  double sum = 16;
  for (const Layer& layer : layers_) {
    if (!layer.weight.empty()) {
      sum += 4 * std::sqrt(static_cast<double>(layer.weight.size()) / static_cast<double>(layer.spec.out_features));
    }
  }
  return sum * float_eps;
}

double Network::backward_tolerance() const {
  double sum = 0, longest = 0;
  for (const Layer& layer : layers_) {
    if (!layer.weight.empty()) {
      // Products in an element of the gradient by the input, and by the weight.
      const double by_input = static_cast<double>(layer.weight.size()) / static_cast<double>(layer.in.channels);
      const double by_weight = static_cast<double>(batch_ * layer.out.height * layer.out.width);
      sum += 4 * std::sqrt(by_input);
      longest = std::max(longest, 4 * std::sqrt(by_weight));
    }
  }
  return forward_tolerance() + (sum + longest) * float_eps;
}

void adadelta_step(Doubles& p, Doubles& v, Doubles& u, const Doubles& gradient, const AdadeltaSettings& settings) {
  for (size_t i = 0; i < p.size(); ++i) {
    double g = settings.maximize ? -gradient[i] : gradient[i];
    g += settings.weight_decay * p[i];
    v[i] = settings.rho * v[i] + (1 - settings.rho) * g * g;
    const double d = std::sqrt(u[i] + settings.eps) / std::sqrt(v[i] + settings.eps) * g;
    u[i] = settings.rho * u[i] + (1 - settings.rho) * d * d;
    p[i] -= settings.lr * d;
  }
}

}  // namespace adadelta::test::reference
