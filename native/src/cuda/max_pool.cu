// y = the window's maximum and, for the backward pass, which element won: x_gradient = the sum of y_gradient over the
// windows that the element won. The first maximum in row-major order wins and NaN beats everything, as in PyTorch's
// max_pool2d. The ReLU before or after rides along: y = relu(max(relu(x))).
//
// Going back, each input element looks its windows up in row-major order, so the sums need no atomics and keep their
// order. Limit: memory. Forward reads x and writes y and a winner (one byte where the window has at most 256 elements),
// backward reads y, y_gradient and winner and writes x_gradient.
#include "cuda/pool.h"

namespace adn::cuda {
namespace {

template <class Winner>
__global__ void __launch_bounds__(kThreads)
    max_pool_kernel(float* y, Winner* winner, const float* x, PoolRelu relu, Pool pool, uint32_t count) {
  const PoolShape& s = pool.shape;
  for (auto i = static_cast<uint32_t>(first_index()); i < count; i += static_cast<uint32_t>(index_step())) {
    const Place out = place_of(i, pool.by_out_pixels, pool.by_out_width);
    const Span ys = inside(out.y, s.kernel_y, s.stride_y, s.pad_y, s.height);
    const Span xs = inside(out.x, s.kernel_x, s.stride_x, s.pad_x, s.width);
    const float* plane = x + int64_t{out.plane} * pool.pixels;
    float best = 0;
    int32_t best_y = ys.begin, best_x = xs.begin;
    for (int32_t iy = ys.begin; iy < ys.end; ++iy) {
      for (int32_t ix = xs.begin; ix < xs.end; ++ix) {
        float v = plane[iy * s.width + ix];
        if (relu.before && v < 0.0f) v = 0.0f;
        const bool first = iy == ys.begin && ix == xs.begin;
        if (first || v > best || v != v) {
          best = v;
          best_y = iy;
          best_x = ix;
        }
      }
    }
    y[i] = relu.after && best < 0.0f ? 0.0f : best;
    if (winner != nullptr) {
      const int32_t top = out.y * s.stride_y - s.pad_y, left = out.x * s.stride_x - s.pad_x;
      winner[i] = static_cast<Winner>((best_y - top) * s.kernel_x + (best_x - left));
    }
  }
}

template <class Winner>
__global__ void __launch_bounds__(kThreads)
    max_pool_gradient_kernel(float* x_gradient, const float* y, const float* y_gradient, const Winner* winner,
                             bool relu, Pool pool, uint32_t count) {
  const PoolShape& s = pool.shape;
  for (auto i = static_cast<uint32_t>(first_index()); i < count; i += static_cast<uint32_t>(index_step())) {
    const Place in = place_of(i, pool.by_pixels, pool.by_width);
    const Span ys = covering(in.y, s.kernel_y, pool.by_stride_y, s.pad_y, s.out_height);
    const Span xs = covering(in.x, s.kernel_x, pool.by_stride_x, s.pad_x, s.out_width);
    float sum = 0;
    for (int32_t oy = ys.begin; oy < ys.end; ++oy) {
      for (int32_t ox = xs.begin; ox < xs.end; ++ox) {
        const int64_t o = int64_t{in.plane} * pool.out_pixels + oy * s.out_width + ox;
        const int32_t top = oy * s.stride_y - s.pad_y, left = ox * s.stride_x - s.pad_x;
        const bool won = winner[o] == static_cast<Winner>((in.y - top) * s.kernel_x + (in.x - left));
        if (won && !(relu && y[o] <= 0.0f)) sum += y_gradient[o];
      }
    }
    x_gradient[i] = sum;
  }
}

bool winner_is_byte(const PoolShape& s) { return int64_t{s.kernel_y} * s.kernel_x <= 256; }

template <class Winner>
Error forward(Stream stream, float* y, Winner* winner, const float* x, PoolRelu relu, const Pool& pool) {
  return for_slices(pool.shape.planes, pool.out_pixels, [&](int64_t first, uint32_t count) {
    const int64_t before = first * pool.out_pixels;
    return launch(stream, grid_for(count), &max_pool_kernel<Winner>, y + before,
                  winner != nullptr ? winner + before : nullptr, x + first * pool.pixels, relu, pool, count);
  });
}

template <class Winner>
Error backward(Stream stream, float* x_gradient, const float* y, const float* y_gradient, const Winner* winner,
               PoolRelu relu, const Pool& pool) {
  return for_slices(pool.shape.planes, pool.pixels, [&](int64_t first, uint32_t count) {
    const int64_t before = first * pool.out_pixels;
    return launch(stream, grid_for(count), &max_pool_gradient_kernel<Winner>, x_gradient + first * pool.pixels,
                  y != nullptr ? y + before : nullptr, y_gradient + before, winner + before, relu.before || relu.after,
                  pool, count);
  });
}

}  // namespace

bool pool_supported(const PoolShape& s) {
  for (int64_t extent : {s.planes, int64_t{s.height}, int64_t{s.width}, int64_t{s.out_height}, int64_t{s.out_width},
                         int64_t{s.kernel_y}, int64_t{s.kernel_x}, int64_t{s.stride_y}, int64_t{s.stride_x}}) {
    if (extent < 1) return false;
  }
  constexpr int64_t kMost = 0x7FFFFFFF;
  // Every window begins and ends inside the padded image and has at least one element of the image itself.
  const auto fits = [](int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad) {
    return pad >= 0 && pad < kernel && in + 2 * pad <= kMost && (out - 1) * stride + kernel <= in + 2 * pad;
  };
  return int64_t{s.height} * s.width <= kMost && int64_t{s.out_height} * s.out_width <= kMost &&
         int64_t{s.kernel_y} * s.kernel_x <= kMost && fits(s.height, s.out_height, s.kernel_y, s.stride_y, s.pad_y) &&
         fits(s.width, s.out_width, s.kernel_x, s.stride_x, s.pad_x);
}

uint64_t max_pool_winner_bytes(const PoolShape& s) {
  const uint64_t count =
      static_cast<uint64_t>(s.planes) * static_cast<uint64_t>(s.out_height) * static_cast<uint64_t>(s.out_width);
  return winner_is_byte(s) ? count : count * sizeof(uint32_t);
}

Error max_pool_forward(Stream stream, float* y, void* winner, const float* x, PoolRelu relu, const PoolShape& shape) {
  if (!pool_supported(shape)) return cudaErrorInvalidValue;
  const Pool pool(shape);
  return winner_is_byte(shape) ? forward(stream, y, static_cast<uint8_t*>(winner), x, relu, pool)
                               : forward(stream, y, static_cast<uint32_t*>(winner), x, relu, pool);
}

Error max_pool_backward(Stream stream, float* x_gradient, const float* y, const float* y_gradient, const void* winner,
                        PoolRelu relu, const PoolShape& shape) {
  if (!pool_supported(shape)) return cudaErrorInvalidValue;
  const Pool pool(shape);
  return winner_is_byte(shape)
             ? backward(stream, x_gradient, y, y_gradient, static_cast<const uint8_t*>(winner), relu, pool)
             : backward(stream, x_gradient, y, y_gradient, static_cast<const uint32_t*>(winner), relu, pool);
}

}  // namespace adn::cuda
