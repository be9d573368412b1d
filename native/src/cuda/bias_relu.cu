// y = relu(x + bias[channel]) and ReLU's backward pass, x_gradient = y <= 0 ? 0 : y_gradient; NaN passes, as in PyTorch.
// Limit: memory, 8 bytes an element forward and 12 back, in accesses of 16 bytes where the pointers allow.
#include "cuda/launch.h"

namespace adn::cuda {
namespace {

__device__ __forceinline__ float relu_of(float x) { return x < 0.0f ? 0.0f : x; }
__device__ __forceinline__ float gradient_of(float y, float gradient) { return y <= 0.0f ? 0.0f : gradient; }

// kWidth elements at a time: pixels is a multiple of it, so that they share their channel.
template <int kWidth>
__global__ void __launch_bounds__(kThreads) bias_relu_kernel(float* y, const float* x, const float* bias, bool relu,
                                                             uint64_t channels, uint64_t pixels, uint64_t count) {
  for (uint64_t i = first_index() * kWidth; i < count; i += index_step() * kWidth) {
    const float b = bias != nullptr ? bias[i / pixels % channels] : 0.0f;
    if (kWidth == 4) {
      float4 v = *reinterpret_cast<const float4*>(x + i);
      if (bias != nullptr) v = make_float4(v.x + b, v.y + b, v.z + b, v.w + b);
      if (relu) v = make_float4(relu_of(v.x), relu_of(v.y), relu_of(v.z), relu_of(v.w));
      *reinterpret_cast<float4*>(y + i) = v;
    } else {
      const float v = bias != nullptr ? x[i] + b : x[i];
      y[i] = relu ? relu_of(v) : v;
    }
  }
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads)
    relu_backward_kernel(float* x_gradient, const float* y, const float* y_gradient, uint64_t count) {
  const uint64_t whole = count / kWidth * kWidth;
  for (uint64_t i = first_index() * kWidth; i < whole; i += index_step() * kWidth) {
    if (kWidth == 4) {
      const float4 v = *reinterpret_cast<const float4*>(y + i);
      const float4 g = *reinterpret_cast<const float4*>(y_gradient + i);
      *reinterpret_cast<float4*>(x_gradient + i) =
          make_float4(gradient_of(v.x, g.x), gradient_of(v.y, g.y), gradient_of(v.z, g.z), gradient_of(v.w, g.w));
    } else {
      x_gradient[i] = gradient_of(y[i], y_gradient[i]);
    }
  }
  const uint64_t rest = whole + first_index();
  if (rest < count) x_gradient[rest] = gradient_of(y[rest], y_gradient[rest]);
}

}  // namespace

Error bias_relu(Stream stream, float* y, const float* x, const float* bias, bool relu, uint64_t batch,
                uint64_t channels, uint64_t pixels) {
  const uint64_t count = batch * channels * pixels;
  if (count == 0) return cudaSuccess;
  const bool wide = aligned_to_16(y) && aligned_to_16(x) && (bias != nullptr ? pixels : count) % 4 == 0;
  return wide ? launch(stream, grid_for(count / 4), &bias_relu_kernel<4>, y, x, bias, relu, channels, pixels, count)
              : launch(stream, grid_for(count), &bias_relu_kernel<1>, y, x, bias, relu, channels, pixels, count);
}

Error relu_backward(Stream stream, float* x_gradient, const float* y, const float* y_gradient, uint64_t count) {
  if (count == 0) return cudaSuccess;
  const bool wide = aligned_to_16(x_gradient) && aligned_to_16(y) && aligned_to_16(y_gradient);
  return wide ? launch(stream, grid_for(ceil_div(count, 4)), &relu_backward_kernel<4>, x_gradient, y, y_gradient, count)
              : launch(stream, grid_for(count), &relu_backward_kernel<1>, x_gradient, y, y_gradient, count);
}

}  // namespace adn::cuda
