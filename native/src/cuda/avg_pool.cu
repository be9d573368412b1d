// y = the window's sum / the window's size, padding counted as zeros (PyTorch's count_include_pad), and its backward pass:
// x_gradient = the sum over the element's windows of y_gradient / size, in row-major order.
// Limit: memory, 4 bytes an element of x and of y.
#include "cuda/pool.h"

namespace adn::cuda {
namespace {

__global__ void __launch_bounds__(kThreads) avg_pool_kernel(float* y, const float* x, Pool pool, uint32_t count) {
  const PoolShape& s = pool.shape;
  const auto size = static_cast<float>(s.kernel_y * s.kernel_x);
  for (auto i = static_cast<uint32_t>(first_index()); i < count; i += static_cast<uint32_t>(index_step())) {
    const Place out = place_of(i, pool.by_out_pixels, pool.by_out_width);
    const Span ys = inside(out.y, s.kernel_y, s.stride_y, s.pad_y, s.height);
    const Span xs = inside(out.x, s.kernel_x, s.stride_x, s.pad_x, s.width);
    const float* plane = x + int64_t{out.plane} * pool.pixels;
    float sum = 0;
    for (int32_t iy = ys.begin; iy < ys.end; ++iy) {
      for (int32_t ix = xs.begin; ix < xs.end; ++ix) sum += plane[iy * s.width + ix];
    }
    y[i] = sum / size;
  }
}

__global__ void __launch_bounds__(kThreads)
    avg_pool_gradient_kernel(float* x_gradient, const float* y_gradient, Pool pool, uint32_t count) {
  const PoolShape& s = pool.shape;
  const auto size = static_cast<float>(s.kernel_y * s.kernel_x);
  for (auto i = static_cast<uint32_t>(first_index()); i < count; i += static_cast<uint32_t>(index_step())) {
    const Place in = place_of(i, pool.by_pixels, pool.by_width);
    const Span ys = covering(in.y, s.kernel_y, pool.by_stride_y, s.pad_y, s.out_height);
    const Span xs = covering(in.x, s.kernel_x, pool.by_stride_x, s.pad_x, s.out_width);
    const float* plane = y_gradient + int64_t{in.plane} * pool.out_pixels;
    float sum = 0;
    for (int32_t oy = ys.begin; oy < ys.end; ++oy) {
      for (int32_t ox = xs.begin; ox < xs.end; ++ox) sum += plane[oy * s.out_width + ox] / size;
    }
    x_gradient[i] = sum;
  }
}

}  // namespace

Error avg_pool_forward(Stream stream, float* y, const float* x, const PoolShape& shape) {
  if (!pool_supported(shape)) return cudaErrorInvalidValue;
  const Pool pool(shape);
  return for_slices(shape.planes, pool.out_pixels, [&](int64_t first, uint32_t count) {
    return launch(stream, grid_for(count), &avg_pool_kernel, y + first * pool.out_pixels, x + first * pool.pixels, pool,
                  count);
  });
}

Error avg_pool_backward(Stream stream, float* x_gradient, const float* y_gradient, const PoolShape& shape) {
  if (!pool_supported(shape)) return cudaErrorInvalidValue;
  const Pool pool(shape);
  return for_slices(shape.planes, pool.pixels, [&](int64_t first, uint32_t count) {
    return launch(stream, grid_for(count), &avg_pool_gradient_kernel, x_gradient + first * pool.pixels,
                  y_gradient + first * pool.out_pixels, pool, count);
  });
}

}  // namespace adn::cuda
