#include "cuda/products.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace adn::cuda {
namespace {

// What NVIDIA recommends for a workspace of the caller's.
uint64_t cublas_workspace(int architecture) { return uint64_t{architecture >= 9 ? 32u : 4u} << 20; }

int inputs(const ConvShape& s) { return s.channels * s.height * s.width; }

void append(adn_context_info& info, const char* name, int version, int major, const std::string& reason) {
  const size_t used = std::strlen(info.libraries);
  char* to = info.libraries + used;
  const size_t room = sizeof info.libraries - used;
  if (version != 0) {
    std::snprintf(to, room, "; %s %d.%d.%d", name, version / major, version % major / 100, version % 100);
  } else {
    std::snprintf(to, room, "; %s not used: %s", name, reason.c_str());
  }
}

}  // namespace

Products::Products(Device& device, const adn_context_options& options, int architecture)
    : device_(device), architecture_(architecture) {
  if (options.cuda_own_kernels != 0) {
    cublas_reason_ = "only the own kernels were asked for";
  } else {
    cublas_ = Cublas::create(options.cuda_tf32 != 0, cublas_reason_);
  }
}

void Products::info(adn_context_info& info) const {
  info.cublas_version = cublas_ ? cublas_->version() : 0;
  append(info, "cuBLAS", info.cublas_version, 10000, cublas_reason_);
}

bool Products::by_cublas(const ConvShape& s) const {
  return cublas_ && s.kernel_y == s.height && s.kernel_x == s.width && s.pad_y == 0 && s.pad_x == 0;
}

uint64_t Products::workspace(const ConvShape& shape) const {
  const uint64_t own = std::max(
      {conv_forward_workspace(shape), conv_backward_data_workspace(shape), conv_backward_weights_workspace(shape)});
  return by_cublas(shape) ? cublas_workspace(architecture_) : own;
}

void Products::forward(float* y, const float* x, const float* weight, const float* bias, bool relu,
                       const ConvShape& shape, const Memory& workspace) {
  if (!by_cublas(shape)) {
    device_.check_launch(conv_forward(device_.stream(), y, x, weight, bias, relu, shape, workspace.as<void>()),
                         "conv_forward");
    return;
  }
  device_.check_vendor([&] {
    cublas_->multiply(device_.stream(), y, {x, false}, {weight, true}, shape.batch, shape.out_channels, inputs(shape),
                      workspace.as<void>(), workspace.bytes());
  });
  if (bias == nullptr && !relu) return;
  device_.check_launch(bias_relu(device_.stream(), y, y, bias, relu, static_cast<uint64_t>(shape.batch),
                                 static_cast<uint64_t>(shape.out_channels), 1),
                       "bias_relu");
}

void Products::backward_data(float* x_gradient, const float* y_gradient, const float* weight, const ConvShape& shape,
                             const Memory& workspace) {
  if (!by_cublas(shape)) {
    device_.check_launch(
        conv_backward_data(device_.stream(), x_gradient, y_gradient, weight, shape, workspace.as<void>()),
        "conv_backward_data");
    return;
  }
  device_.check_vendor([&] {
    cublas_->multiply(device_.stream(), x_gradient, {y_gradient, false}, {weight, false}, shape.batch, inputs(shape),
                      shape.out_channels, workspace.as<void>(), workspace.bytes());
  });
}

void Products::backward_weights(float* weight_gradient, const float* x, const float* y_gradient, const ConvShape& shape,
                                const Memory& workspace) {
  if (!by_cublas(shape)) {
    device_.check_launch(
        conv_backward_weights(device_.stream(), weight_gradient, x, y_gradient, shape, workspace.as<void>()),
        "conv_backward_weights");
    return;
  }
  device_.check_vendor([&] {
    cublas_->multiply(device_.stream(), weight_gradient, {y_gradient, true}, {x, false}, shape.out_channels,
                      inputs(shape), shape.batch, workspace.as<void>(), workspace.bytes());
  });
}

}  // namespace adn::cuda
