// The CPU's inner loops, one table for each instruction set. Kernels know numbers and strides, never layers.
#pragma once

#include <cstdint>

#include "core/adadelta_formula.h"

namespace adn::cpu {

// C = A * B or C += A * B on one panel of columns, the one matrix product behind every convolution and linear layer.
// A is read where it lies: element (row, k) of segment s is a[rows[row] + segments[s] + k * a_step], so the rows can be an
// image's pixels and the segments a kernel's rows, and no im2col buffer is written. B is read in order: step s *
// segment_length + k lies at b + step * b_step. Every element of C is one sum in the order of the steps, whatever the tile.
// Limit: one fused multiply-add a lane a cycle and pipe.
struct Gemm {
  const float* a;
  const int64_t* rows;
  int64_t row_count;
  const int64_t* segments;
  int64_t segment_count;
  int64_t segment_length;
  int64_t a_step;
  const float* b;  // a whole panel can be read at every step, also beyond `columns`
  int64_t b_step;
  float* c;
  const int64_t* c_rows;  // place of each row, or NULL for row * c_step
  int64_t c_step;
  int64_t columns;  // 1 <= columns <= panel; no more are written
  bool accumulate;
};

// What follows a convolution while its result is in cache: bias, ReLU, max-pool, ReLU. Without a pool there is one ReLU.
struct Epilogue {
  const float* x;  // [height][width][x_step]: the convolution without bias
  int64_t x_step;
  int64_t height, width;
  const float* bias;  // [channels] or NULL
  int64_t channels;
  float* out;       // [out pixels][out_step]
  uint8_t* winner;  // the same places: which element of the pool's window won, row-major; NULL when not wanted
  int64_t out_step;
  int64_t pool_height, pool_width, pool_stride_y, pool_stride_x;
  bool pool, relu_before_pool, relu;
};

// The backward pass of an epilogue: from the gradient of its output to that of the convolution's result.
struct EpilogueGradient {
  const float* gradient;  // [out pixels][channels]
  const float* out;       // the epilogue's result
  const uint8_t* winner;
  float* x;  // [height][width][x_step], written whole in the first `channels` columns
  int64_t x_step;
  int64_t height, width, channels;
  int64_t pool_height, pool_width, pool_stride_y, pool_stride_x;
  bool pool, relu;
};

// Adadelta over elements of one parameter; the members are adn_adadelta_piece's.
struct AdadeltaRun {
  void *p, *g, *v, *u, *master, *average;
  int64_t count;
  int32_t dtype;
  bool clip;  // the gradient is unscaled or clipped
  bool zero;  // the gradient is 0 afterwards
};

// A group's numbers for either type that a step computes in.
struct AdadeltaGroupNumbers {
  AdadeltaNumbersOf<float> floats;
  AdadeltaNumbersOf<double> doubles;
};

// A fixed number, so that every instruction set adds a norm up in the same order.
constexpr int64_t kNormLanes = 16;

constexpr int64_t kMaxPanel = 32;

struct Kernels {
  int64_t panel;  // columns of a panel of B, at most kMaxPanel
  void (*gemm)(const Gemm& g);
  void (*epilogue)(const Epilogue& e);
  void (*epilogue_gradient)(const EpilogueGradient& e);
  // to[column * to_step + row] = from[row * from_step + column].
  void (*transpose)(float* to, int64_t to_step, const float* from, int64_t from_step, int64_t rows, int64_t columns);
  // sums[column] += x[row][column] over the rows, in order.
  void (*add_columns)(float* sums, const float* x, int64_t rows, int64_t columns, int64_t x_step);
  // total[row][i] = the sum, in order, of parts[part][rows[row]][i].
  void (*add_parts)(float* total, const float* parts, const int64_t* rows, int64_t row_count, int64_t row_length,
                    int64_t part_count, int64_t part_step);
  void (*relu)(float* out, const float* x, int64_t count);
  void (*relu_gradient)(float* x_gradient, const float* out, const float* gradient, int64_t count);
  void (*adadelta)(const AdadeltaRun& run, const AdadeltaGroupNumbers& numbers);
  // Adds the squares of the unscaled, value-clipped gradients to sums[i % kNormLanes]. Returns whether all of them are finite
  // before that.
  bool (*adadelta_norm)(double* sums, const AdadeltaRun& run, const AdadeltaGroupNumbers& numbers);
  double (*adadelta_vjp)(const adn_adadelta_vjp& vjp, double decoupled_weight_decay,
                         const AdadeltaGroupNumbers& numbers);
};

const Kernels& baseline_kernels();
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();

}  // namespace adn::cpu
