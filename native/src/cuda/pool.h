// The window of a pool, for max_pool.cu and avg_pool.cu.
#pragma once

#include "cuda/launch.h"

namespace adn::cuda {

struct Pool {
  explicit Pool(const PoolShape& s)
      : shape(s),
        pixels(static_cast<uint32_t>(s.height * s.width)),
        out_pixels(static_cast<uint32_t>(s.out_height * s.out_width)),
        by_pixels(pixels),
        by_out_pixels(out_pixels),
        by_width(static_cast<uint32_t>(s.width)),
        by_out_width(static_cast<uint32_t>(s.out_width)),
        by_stride_y(static_cast<uint32_t>(s.stride_y)),
        by_stride_x(static_cast<uint32_t>(s.stride_x)) {}
  PoolShape shape;
  uint32_t pixels, out_pixels;
  Divider by_pixels, by_out_pixels, by_width, by_out_width, by_stride_y, by_stride_x;
};

// A pixel of a plane.
struct Place {
  uint32_t plane, pixel;
  int32_t y, x;
};

__device__ __forceinline__ Place place_of(uint32_t i, const Divider& by_pixels, const Divider& by_width) {
  const uint32_t plane = by_pixels.quotient(i), pixel = i - plane * by_pixels.divisor;
  const uint32_t y = by_width.quotient(pixel);
  return {plane, pixel, static_cast<int32_t>(y), static_cast<int32_t>(pixel - y * by_width.divisor)};
}

struct Span {
  int32_t begin, end;
};

// The part of output `o`'s window that lies inside the image.
__device__ __forceinline__ Span inside(int32_t o, int32_t kernel, int32_t stride, int32_t pad, int32_t extent) {
  const int32_t begin = o * stride - pad, end = begin + kernel;
  return {begin > 0 ? begin : 0, end < extent ? end : extent};
}

// The outputs whose windows have input `i`.
__device__ __forceinline__ Span covering(int32_t i, int32_t kernel, const Divider& by_stride, int32_t pad,
                                         int32_t out_extent) {
  const int32_t place = i + pad, end = static_cast<int32_t>(by_stride.quotient(static_cast<uint32_t>(place))) + 1;
  const int32_t before = place - kernel;  // windows that begin here or earlier have ended
  const int32_t begin = before < 0 ? 0 : static_cast<int32_t>(by_stride.quotient(static_cast<uint32_t>(before))) + 1;
  return {begin, end < out_extent ? end : out_extent};
}

// Calls body(first plane, elements) for slices of so many planes that the index of an element stays below 2^31.
template <class Body>
Error for_slices(int64_t planes, uint32_t plane_elements, const Body& body) {
  const int64_t most = 0x7FFFFFFF / plane_elements;
  for (int64_t first = 0; first < planes; first += most) {
    const int64_t count = planes - first < most ? planes - first : most;
    const Error error = body(first, static_cast<uint32_t>(count) * plane_elements);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace adn::cuda
