#include "cuda/products.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace adn::cuda {
namespace {

// What NVIDIA recommends for a workspace of the caller's.
uint64_t cublas_workspace(int architecture) { return uint64_t{architecture >= 9 ? 32u : 4u} << 20; }

int inputs(const ConvShape& s) { return s.channels * s.height * s.width; }

bool is_linear(const ConvShape& s) {
  return s.kernel_y == s.height && s.kernel_x == s.width && s.pad_y == 0 && s.pad_x == 0;
}

void append(adn_context_info& info, const char* name, int version, int major, const std::string& reason) {
  const size_t used = std::strlen(info.libraries);
  char* to = info.libraries + used;
  const size_t room = sizeof info.libraries - used;
  if (version == 0) {
    std::snprintf(to, room, "; %s not used: %s", name, reason.c_str());
  } else {
    std::snprintf(to, room, "; %s %d.%d.%d%s%s", name, version / major, version % major / 100, version % 100,
                  reason.empty() ? "" : ", not for all layers: ", reason.c_str());
  }
}

}  // namespace

Products::Products(Device& device, const adn_context_options& options, int architecture)
    : device_(device), architecture_(architecture) {
  if (options.cuda_own_kernels != 0) {
    cublas_reason_ = cudnn_reason_ = "only the own kernels were asked for";
  } else {
    // In this order: cuDNN takes the cuBLAS that is open.
    cublas_ = Cublas::create(options.cuda_tf32 != 0, cublas_reason_);
    cudnn_ = Cudnn::create(options, cudnn_reason_);
  }
}

void Products::info(adn_context_info& info) const {
  info.cublas_version = cublas_ ? cublas_->version() : 0;
  info.cudnn_version = cudnn_ ? cudnn_->version() : 0;
  append(info, "cuBLAS", info.cublas_version, 10000, cublas_reason_);
  append(info, "cuDNN", info.cudnn_version, info.cudnn_version >= 90000 ? 10000 : 1000,
         cudnn_ ? cudnn_->refusal() : cudnn_reason_);
}

uint64_t Products::workspace(const ConvShape& shape) {
  const uint64_t own = std::max(
      {conv_forward_workspace(shape), conv_backward_data_workspace(shape), conv_backward_weights_workspace(shape)});
  if (is_linear(shape)) return cublas_ ? cublas_workspace(architecture_) : own;
  return cudnn_ ? std::max(own, cudnn_->prepare(device_, shape)) : own;
}

bool Products::by_cublas(float* to, Cublas::Operand a, Cublas::Operand b, int rows, int columns, int depth,
                         const ConvShape& shape, const Memory& workspace) {
  if (!cublas_ || !is_linear(shape)) return false;
  device_.check_vendor([&] {
    cublas_->multiply(device_.stream(), to, a, b, rows, columns, depth, workspace.as<void>(), workspace.bytes());
  });
  return true;
}

bool Products::by_cudnn(ConvPass pass, float* to, const float* a, const float* b, const ConvShape& shape,
                        const Memory& workspace) {
  if (!cudnn_ || is_linear(shape)) return false;
  bool done = false;
  device_.check_vendor(
      [&] { done = cudnn_->run(pass, device_.stream(), to, a, b, shape, workspace.as<void>(), workspace.bytes()); });
  return done;
}

void Products::forward(float* y, const float* x, const float* weight, const float* bias, bool relu,
                       const ConvShape& shape, const Memory& workspace) {
  if (!by_cublas(y, {x, false}, {weight, true}, shape.batch, shape.out_channels, inputs(shape), shape, workspace) &&
      !by_cudnn(ConvPass::kForward, y, x, weight, shape, workspace)) {
    device_.check_launch(conv_forward(device_.stream(), y, x, weight, bias, relu, shape, workspace.as<void>()),
                         "conv_forward");
    return;
  }
  if (bias == nullptr && !relu) return;
  const auto pixels = static_cast<uint64_t>(shape.out_height) * static_cast<uint64_t>(shape.out_width);
  device_.check_launch(bias_relu(device_.stream(), y, y, bias, relu, static_cast<uint64_t>(shape.batch),
                                 static_cast<uint64_t>(shape.out_channels), pixels),
                       "bias_relu");
}

void Products::backward_data(float* x_gradient, const float* y_gradient, const float* weight, const ConvShape& shape,
                             const Memory& workspace) {
  if (by_cublas(x_gradient, {y_gradient, false}, {weight, false}, shape.batch, inputs(shape), shape.out_channels, shape,
                workspace) ||
      by_cudnn(ConvPass::kBackwardData, x_gradient, weight, y_gradient, shape, workspace)) {
    return;
  }
  device_.check_launch(
      conv_backward_data(device_.stream(), x_gradient, y_gradient, weight, shape, workspace.as<void>()),
      "conv_backward_data");
}

void Products::backward_weights(float* weight_gradient, const float* x, const float* y_gradient, const ConvShape& shape,
                                const Memory& workspace) {
  if (by_cublas(weight_gradient, {y_gradient, true}, {x, false}, shape.out_channels, inputs(shape), shape.batch, shape,
                workspace) ||
      by_cudnn(ConvPass::kBackwardWeights, weight_gradient, x, y_gradient, shape, workspace)) {
    return;
  }
  device_.check_launch(
      conv_backward_weights(device_.stream(), weight_gradient, x, y_gradient, shape, workspace.as<void>()),
      "conv_backward_weights");
}

}  // namespace adn::cuda
