// The libraries to compare with, where they were installed at build time; elsewhere what they would measure is 0.
#pragma once

#include <cstdint>

namespace bench {

struct Shape {
  const char* name;
  uint64_t batch, channels, height, width, out_channels, kernel, stride, padding, pool;
};

// OpenBLAS's sgemm of three square matrices, in operations a second.
double sgemm_rate(int threads, int rounds);

// oneDNN's passes of a convolution, or of a linear layer where the kernel covers the whole image: seconds each, in memory
// orders of its own choice, without what may follow (bias is added; no ReLU, no pool).
struct PassTimes {
  double forward, data, weights;
};
PassTimes dnnl_passes(const Shape& shape, int threads, int rounds);

}  // namespace bench
