// Convolution and its two gradients as implicit matrix products C[row][column] = sum over depth of A[row][d] *
// B[d][column]:
//
//                      row            column                      depth
//   forward            out channel    out pixel of an image       input channel, tap      A = weight,      B = window of x
//   backward data      in channel     in pixel of an image        out channel, tap        A = weight,      B = y_gradient
//   backward weights   out channel    input channel, tap          out pixel of an image   A = y_gradient,  B = window of x
//
// No matrix is written out: the tiles of A and B are gathered through the convolution's index map into shared memory,
// the next tile while the present one is multiplied, and every thread keeps a small block of C in registers. Where C
// has too few tiles to fill a GPU the depth is cut into parts, by shape alone, whose products are added in order by a
// second kernel.
//
// Limit: one fused multiply-add a lane and cycle; a thread reads 12 numbers from shared memory for 32 products (8 for
// 16 in the smaller tiles), so shared memory's 32 words a cycle hold it to about half of that where the tiles are
// small.
#include <initializer_list>

#include "cuda/launch.h"

namespace adn::cuda {
namespace {

constexpr int kTileDepth = 16;

// What a block of threads computes: kRows x kColumns of C, kThreadRows x 4 of it in each thread.
template <int rows, int columns, int thread_rows>
struct Tile {
  static constexpr int kRows = rows, kColumns = columns, kThreadRows = thread_rows;
  static constexpr int kAcross = columns / 4;  // threads side by side
  static_assert(kAcross * (rows / thread_rows) == static_cast<int>(kThreads));
};
using TallTile = Tile<128, 64, 8>;
using SquareTile = Tile<64, 64, 4>;
using FlatTile = Tile<32, 128, 4>;

struct Extents {
  uint32_t rows, columns, depth;
  uint32_t part_depth;  // a multiple of kTileDepth
  uint32_t parts;
  uint32_t row_tiles, column_tiles;
};

// Where C goes: element (row, column) to [column / pixels][row][column % pixels], with what follows a forward pass.
struct Output {
  float* y;
  const float* bias;  // or NULL
  bool relu;
  bool vectors;  // four columns lie side by side and aligned
  Divider pixels;
};

__device__ __forceinline__ float finish(const Output& out, uint32_t row, float value) {
  if (out.bias != nullptr) value += out.bias[row];
  return out.relu && value < 0.0f ? 0.0f : value;
}

// ---- The three passes: which number stands at a place of A and B --------------------------------------------------------
// Offsets inside one image are taken modulo 2^32: partial sums may leave the image, the whole one does not.

struct Geometry {
  explicit Geometry(const ConvShape& s)
      : shape(s),
        pixels(static_cast<uint32_t>(s.height * s.width)),
        out_pixels(static_cast<uint32_t>(s.out_height * s.out_width)),
        taps(static_cast<uint32_t>(s.kernel_y * s.kernel_x)),
        image(int64_t{s.channels} * pixels),
        out_image(int64_t{s.out_channels} * out_pixels),
        by_pixels(pixels),
        by_out_pixels(out_pixels),
        by_width(static_cast<uint32_t>(s.width)),
        by_out_width(static_cast<uint32_t>(s.out_width)),
        by_taps(taps),
        by_kernel_x(static_cast<uint32_t>(s.kernel_x)),
        by_stride_y(static_cast<uint32_t>(s.stride_y)),
        by_stride_x(static_cast<uint32_t>(s.stride_x)) {}

  ConvShape shape;
  uint32_t pixels, out_pixels, taps;
  int64_t image, out_image;
  Divider by_pixels, by_out_pixels, by_width, by_out_width, by_taps, by_kernel_x, by_stride_y, by_stride_x;
};

// Channel and tap of a window: how far it is from the window's corner.
struct Tap {
  uint32_t offset;
  int32_t y, x;
};

__device__ __forceinline__ Tap tap_at(const Geometry& g, uint32_t k) {
  const uint32_t channel = g.by_taps.quotient(k), tap = k - channel * g.taps;
  const uint32_t ky = g.by_kernel_x.quotient(tap), kx = tap - ky * g.by_kernel_x.divisor;
  const uint32_t y = ky * static_cast<uint32_t>(g.shape.dilation_y), x = kx * static_cast<uint32_t>(g.shape.dilation_x);
  return {channel * g.pixels + y * static_cast<uint32_t>(g.shape.width) + x, static_cast<int32_t>(y),
          static_cast<int32_t>(x)};
}

// An output pixel: its image, its place there, and the corner of its window.
struct Window {
  int64_t image;
  uint32_t pixel, offset;
  int32_t y, x;
};

__device__ __forceinline__ Window window_at(const Geometry& g, uint32_t n) {
  const uint32_t image = g.by_out_pixels.quotient(n), pixel = n - image * g.out_pixels;
  const uint32_t oy = g.by_out_width.quotient(pixel), ox = pixel - oy * g.by_out_width.divisor;
  const uint32_t y = oy * static_cast<uint32_t>(g.shape.stride_y) - static_cast<uint32_t>(g.shape.pad_y);
  const uint32_t x = ox * static_cast<uint32_t>(g.shape.stride_x) - static_cast<uint32_t>(g.shape.pad_x);
  return {image, pixel, y * static_cast<uint32_t>(g.shape.width) + x, static_cast<int32_t>(y), static_cast<int32_t>(x)};
}

// The pixel of x under a tap of a window, 0 in the padding.
__device__ __forceinline__ float x_under(const Geometry& g, const float* x, const Window& window, const Tap& tap) {
  const int32_t iy = window.y + tap.y, ix = window.x + tap.x;
  if (iy < 0 || iy >= g.shape.height || ix < 0 || ix >= g.shape.width) return 0.0f;
  return x[window.image * g.image + static_cast<uint32_t>(window.offset + tap.offset)];
}

struct Forward {
  static constexpr bool kColumnsFirst = true;  // neighbouring threads gather neighbouring columns of B
  using Column = Window;
  struct Depth {
    uint32_t k;
    Tap tap;
  };
  __device__ __forceinline__ Column column(uint32_t n) const { return window_at(g, n); }
  __device__ __forceinline__ Depth depth(uint32_t k) const { return {k, tap_at(g, k)}; }
  __device__ __forceinline__ float a(uint32_t row, const Depth& d, uint32_t depth) const {
    return weight[int64_t{row} * depth + d.k];
  }
  __device__ __forceinline__ float b(const Depth& d, const Column& c) const { return x_under(g, x, c, d.tap); }

  Geometry g;
  const float* x;
  const float* weight;
};

struct BackwardData {
  static constexpr bool kColumnsFirst = true;
  struct Column {
    int64_t image;
    int32_t y, x;  // of the pixel in the padded image
  };
  struct Depth {
    int64_t weight;
    uint32_t plane;
    int32_t y, x;  // of the tap
  };
  __device__ __forceinline__ Column column(uint32_t n) const {
    const uint32_t image = g.by_pixels.quotient(n), pixel = n - image * g.pixels;
    const uint32_t y = g.by_width.quotient(pixel), x = pixel - y * g.by_width.divisor;
    return {image, static_cast<int32_t>(y) + g.shape.pad_y, static_cast<int32_t>(x) + g.shape.pad_x};
  }
  __device__ __forceinline__ Depth depth(uint32_t k) const {
    const uint32_t channel = g.by_taps.quotient(k), tap = k - channel * g.taps;
    const uint32_t ky = g.by_kernel_x.quotient(tap), kx = tap - ky * g.by_kernel_x.divisor;
    return {int64_t{channel} * g.shape.channels * g.taps + tap, channel * g.out_pixels,
            static_cast<int32_t>(ky) * g.shape.dilation_y, static_cast<int32_t>(kx) * g.shape.dilation_x};
  }
  __device__ __forceinline__ float a(uint32_t row, const Depth& d, uint32_t) const {
    return weight[d.weight + int64_t{row} * g.taps];
  }
  // The output pixel whose window has this pixel under this tap, if there is one.
  __device__ __forceinline__ float b(const Depth& d, const Column& c) const {
    const int32_t y = c.y - d.y, x = c.x - d.x;
    if (y < 0 || x < 0) return 0.0f;
    const uint32_t oy = g.by_stride_y.quotient(static_cast<uint32_t>(y));
    const uint32_t ox = g.by_stride_x.quotient(static_cast<uint32_t>(x));
    if (oy * g.by_stride_y.divisor != static_cast<uint32_t>(y) || oy >= static_cast<uint32_t>(g.shape.out_height) ||
        ox * g.by_stride_x.divisor != static_cast<uint32_t>(x) || ox >= static_cast<uint32_t>(g.shape.out_width)) {
      return 0.0f;
    }
    return y_gradient[c.image * g.out_image + (d.plane + oy * g.by_out_width.divisor + ox)];
  }

  Geometry g;
  const float* y_gradient;
  const float* weight;
};

struct BackwardWeights {
  static constexpr bool kColumnsFirst = false;  // here pixels, which lie side by side in memory, are the depth
  using Column = Tap;
  using Depth = Window;
  __device__ __forceinline__ Column column(uint32_t k) const { return tap_at(g, k); }
  __device__ __forceinline__ Depth depth(uint32_t n) const { return window_at(g, n); }
  __device__ __forceinline__ float a(uint32_t row, const Depth& d, uint32_t) const {
    return y_gradient[d.image * g.out_image + (row * g.out_pixels + d.pixel)];
  }
  __device__ __forceinline__ float b(const Depth& d, const Column& c) const { return x_under(g, x, d, c); }

  Geometry g;
  const float* x;
  const float* y_gradient;
};

// ---- The product ----------------------------------------------------------------------------------------------------------

// Two tiles of A and B: one being multiplied, one being filled. The rows' padding spreads a column over the banks.
template <class T>
struct Stage {
  alignas(16) float a[2][kTileDepth][T::kRows + 4];
  alignas(16) float b[2][kTileDepth][T::kColumns + 4];
};

// The numbers that one thread brings: of A always one depth and several rows, of B one depth and several columns or the
// other way round.
template <class T, class Pass>
struct Loader {
  static constexpr int kA = T::kRows * kTileDepth / kThreads, kB = T::kColumns * kTileDepth / kThreads;
  static constexpr int kAStep = kThreads / kTileDepth;
  static constexpr int kBStep = Pass::kColumnsFirst ? static_cast<int>(kThreads) / T::kColumns : kAStep;
  static constexpr int kBColumns = Pass::kColumnsFirst ? 1 : kB;

  __device__ __forceinline__ Loader(const Pass& pass, const Extents& extents, uint32_t row, uint32_t column)
      : a_depth(threadIdx.x % kTileDepth), a_row(threadIdx.x / kTileDepth), first_row(row + a_row) {
    if (Pass::kColumnsFirst) {
      b_column = threadIdx.x % T::kColumns;
      b_depth = threadIdx.x / T::kColumns;
    } else {
      b_column = a_row;
      b_depth = a_depth;
    }
    first_column = column + b_column;
#pragma unroll
    for (int i = 0; i < kBColumns; ++i) {
      const uint32_t n = first_column + i * kBStep;
      columns[i] = pass.column(n < extents.columns ? n : 0);
    }
  }

  // Gathers the tile that begins at depth k; beyond the matrix and beyond `end` are zeros.
  __device__ __forceinline__ void load(const Pass& pass, const Extents& extents, uint32_t k, uint32_t end) {
    const uint32_t ka = k + a_depth;
    const typename Pass::Depth da = pass.depth(ka < end ? ka : 0);
#pragma unroll
    for (int i = 0; i < kA; ++i) {
      const uint32_t m = first_row + i * kAStep;
      a[i] = ka < end && m < extents.rows ? pass.a(m, da, extents.depth) : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < kB; ++i) {
      if (Pass::kColumnsFirst) {
        const uint32_t kb = k + b_depth + i * kBStep;
        b[i] = kb < end && first_column < extents.columns ? pass.b(pass.depth(kb), columns[0]) : 0.0f;
      } else {
        const bool inside = ka < end && first_column + i * kBStep < extents.columns;
        b[i] = inside ? pass.b(da, columns[Pass::kColumnsFirst ? 0 : i]) : 0.0f;
      }
    }
  }

  __device__ __forceinline__ void store(Stage<T>& stage, int half) const {
#pragma unroll
    for (int i = 0; i < kA; ++i) stage.a[half][a_depth][a_row + i * kAStep] = a[i];
#pragma unroll
    for (int i = 0; i < kB; ++i) {
      if (Pass::kColumnsFirst) {
        stage.b[half][b_depth + i * kBStep][b_column] = b[i];
      } else {
        stage.b[half][b_depth][b_column + i * kBStep] = b[i];
      }
    }
  }

  uint32_t a_depth, a_row, b_depth, b_column, first_row, first_column;
  typename Pass::Column columns[kBColumns];
  float a[kA], b[kB];
};

// blockIdx.x: tile, rows first, so that neighbours share B; blockIdx.y: part of the depth. parts NULL: C itself goes
// out.
template <class T, class Pass>
__global__ void __launch_bounds__(kThreads) product(Pass pass, Extents extents, Output out, float* parts) {
  Stage<T>& stage = shared<Stage<T>>();
  const uint32_t column_tile = blockIdx.x / extents.row_tiles, row_tile = blockIdx.x - column_tile * extents.row_tiles;
  const uint32_t first_row = row_tile * T::kRows, first_column = column_tile * T::kColumns;
  const uint32_t begin = blockIdx.y * extents.part_depth;
  const uint32_t end = extents.depth - begin < extents.part_depth ? extents.depth : begin + extents.part_depth;
  const uint32_t my_row = threadIdx.x / T::kAcross * 4, my_column = threadIdx.x % T::kAcross * 4;

  Loader<T, Pass> loader(pass, extents, first_row, first_column);
  float sums[T::kThreadRows][4] = {};
  loader.load(pass, extents, begin, end);
  loader.store(stage, 0);
  __syncthreads();
  int half = 0;
  for (uint32_t k = begin; k < end; k += kTileDepth) {
    const bool more = end - k > kTileDepth;
    if (more) loader.load(pass, extents, k + kTileDepth, end);
#pragma unroll
    for (int d = 0; d < kTileDepth; ++d) {
      const float4 b = *reinterpret_cast<const float4*>(&stage.b[half][d][my_column]);
#pragma unroll
      for (int i = 0; i < T::kThreadRows; i += 4) {
        const float4 a = *reinterpret_cast<const float4*>(&stage.a[half][d][my_row + i * (T::kRows / T::kThreadRows)]);
        const float four[4] = {a.x, a.y, a.z, a.w};
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          sums[i + j][0] += four[j] * b.x;
          sums[i + j][1] += four[j] * b.y;
          sums[i + j][2] += four[j] * b.z;
          sums[i + j][3] += four[j] * b.w;
        }
      }
    }
    // The other half was read before the barrier of the last round, so it may be filled.
    if (more) loader.store(stage, half ^ 1);
    half ^= 1;
    __syncthreads();
  }

#pragma unroll
  for (int i = 0; i < T::kThreadRows; ++i) {
    const uint32_t row = first_row + my_row + i / 4 * 4 * (T::kRows / T::kThreadRows) + i % 4;
    const uint32_t column = first_column + my_column;
    if (row >= extents.rows || column >= extents.columns) continue;
    if (parts != nullptr) {
      float* part = parts + (int64_t{blockIdx.y} * extents.rows + row) * extents.columns + column;
      for (uint32_t j = 0; j < 4 && column + j < extents.columns; ++j) part[j] = sums[i][j];
    } else if (out.vectors) {
      const uint32_t image = out.pixels.quotient(column);
      float* y = out.y + (int64_t{image} * extents.rows + row) * out.pixels.divisor;
      *reinterpret_cast<float4*>(y + (column - image * out.pixels.divisor)) =
          make_float4(finish(out, row, sums[i][0]), finish(out, row, sums[i][1]), finish(out, row, sums[i][2]),
                      finish(out, row, sums[i][3]));
    } else {
      for (uint32_t j = 0; j < 4 && column + j < extents.columns; ++j) {
        const uint32_t image = out.pixels.quotient(column + j);
        float* y = out.y + (int64_t{image} * extents.rows + row) * out.pixels.divisor;
        y[column + j - image * out.pixels.divisor] = finish(out, row, sums[i][j]);
      }
    }
  }
}

// C = the sum of its parts, in order.
__global__ void __launch_bounds__(kThreads) add_parts(Extents extents, Output out, const float* parts) {
  const uint64_t size = uint64_t{extents.rows} * extents.columns;
  for (uint64_t i = first_index(); i < size; i += index_step()) {
    float sum = parts[i];
    for (uint32_t part = 1; part < extents.parts; ++part) sum += parts[part * size + i];
    const auto row = static_cast<uint32_t>(i / extents.columns);
    const auto column = static_cast<uint32_t>(i - uint64_t{row} * extents.columns);
    const uint32_t image = out.pixels.quotient(column);
    out.y[(int64_t{image} * extents.rows + row) * out.pixels.divisor + (column - image * out.pixels.divisor)] =
        finish(out, row, sum);
  }
}

// ---- Host side --------------------------------------------------------------------------------------------------------------

constexpr uint32_t kMost = 0x7FFFFFFF;

// Tiles as high as C, where that wastes little.
template <class Body>
auto with_tile(uint64_t rows, const Body& body) {
  return rows >= 96 ? body(TallTile()) : rows >= 48 ? body(SquareTile()) : body(FlatTile());
}

// Parts for some hundred blocks of at least eight tiles' depth each.
constexpr uint64_t kBlocks = 256, kLeastDepth = 8 * kTileDepth;

Extents extents_of(uint64_t rows, uint64_t columns, uint64_t depth) {
  Extents e = {static_cast<uint32_t>(rows), static_cast<uint32_t>(columns), static_cast<uint32_t>(depth), 0, 1, 0, 0};
  with_tile(rows, [&](auto tile) {
    e.row_tiles = static_cast<uint32_t>(ceil_div(rows, decltype(tile)::kRows));
    e.column_tiles = static_cast<uint32_t>(ceil_div(columns, decltype(tile)::kColumns));
  });
  const uint64_t tiles = uint64_t{e.row_tiles} * e.column_tiles;
  const uint64_t wanted = kBlocks / tiles < depth / kLeastDepth ? kBlocks / tiles : depth / kLeastDepth;
  e.part_depth = static_cast<uint32_t>(ceil_div(ceil_div(depth, wanted > 1 ? wanted : 1), kTileDepth) * kTileDepth);
  e.parts = static_cast<uint32_t>(ceil_div(depth, e.part_depth));
  return e;
}

struct Matrices {
  explicit Matrices(const ConvShape& s)
      : taps(static_cast<uint64_t>(s.kernel_y) * static_cast<uint64_t>(s.kernel_x)),
        pixels(static_cast<uint64_t>(s.batch) * static_cast<uint64_t>(s.height) * static_cast<uint64_t>(s.width)),
        out_pixels(static_cast<uint64_t>(s.batch) * static_cast<uint64_t>(s.out_height) *
                   static_cast<uint64_t>(s.out_width)),
        channels(static_cast<uint64_t>(s.channels)),
        out_channels(static_cast<uint64_t>(s.out_channels)) {}
  uint64_t taps, pixels, out_pixels, channels, out_channels;

  Extents forward() const { return extents_of(out_channels, out_pixels, channels * taps); }
  Extents backward_data() const { return extents_of(channels, pixels, out_channels * taps); }
  Extents backward_weights() const { return extents_of(out_channels, channels * taps, out_pixels); }
};

// Enough for smaller batches too, which may have more parts: no C has more than kBlocks tiles of parts.
uint64_t workspace_of(const Extents& e) {
  const uint64_t most_parts = e.depth / kLeastDepth, size = uint64_t{e.rows} * e.columns;
  if (most_parts < 2) return 0;
  const uint64_t tile = with_tile(e.rows, [](auto t) { return uint64_t{decltype(t)::kRows} * decltype(t)::kColumns; });
  return (size < kBlocks * tile / most_parts ? most_parts * size : kBlocks * tile) * sizeof(float);
}

template <class Pass>
Error multiply(Stream stream, const Pass& pass, const Extents& extents, Output out, void* workspace) {
  auto* parts = extents.parts > 1 ? static_cast<float*>(workspace) : nullptr;
  if (extents.parts > 1 && parts == nullptr) return cudaErrorInvalidValue;
  out.vectors = out.pixels.divisor % 4 == 0 && aligned_to_16(out.y);
  const Grid grid(uint64_t{extents.row_tiles} * extents.column_tiles, extents.parts);
  const Error error = with_tile(extents.rows, [&](auto tile) {
    return launch(stream, grid, &product<decltype(tile), Pass>, pass, extents, out, parts);
  });
  if (error != cudaSuccess || extents.parts == 1) return error;
  return launch(stream, grid_for(uint64_t{extents.rows} * extents.columns), &add_parts, extents, out, parts);
}

}  // namespace

bool conv_supported(const ConvShape& s) {
  for (int32_t extent : {s.batch, s.channels, s.height, s.width, s.out_channels, s.out_height, s.out_width, s.kernel_y,
                         s.kernel_x, s.stride_y, s.stride_x, s.dilation_y, s.dilation_x}) {
    if (extent < 1) return false;
  }
  if (s.pad_y < 0 || s.pad_x < 0) return false;
  // Each product of two factors below 2^31 fits 64 bits; checked one after another.
  const auto fits = [](std::initializer_list<int32_t> factors) {
    uint64_t product = 1;
    for (int32_t factor : factors) {
      product *= static_cast<uint64_t>(factor);
      if (product > kMost) return false;
    }
    return true;
  };
  const auto window_fits = [](int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
    return in + 2 * pad <= kMost && (out - 1) * stride + (kernel - 1) * dilation < in + 2 * pad;
  };
  if (!fits({s.channels, s.height, s.width}) || !fits({s.out_channels, s.out_height, s.out_width}) ||
      !fits({s.batch, s.height, s.width}) || !fits({s.batch, s.out_height, s.out_width}) ||
      !fits({s.channels, s.kernel_y, s.kernel_x}) || !fits({s.out_channels, s.kernel_y, s.kernel_x}) ||
      !window_fits(s.height, s.out_height, s.kernel_y, s.stride_y, s.pad_y, s.dilation_y) ||
      !window_fits(s.width, s.out_width, s.kernel_x, s.stride_x, s.pad_x, s.dilation_x)) {
    return false;
  }
  const Matrices m(s);
  for (const Extents& e : {m.forward(), m.backward_data(), m.backward_weights()}) {
    if (uint64_t{e.row_tiles} * e.column_tiles > kMost) return false;
  }
  return true;
}

uint64_t conv_forward_workspace(const ConvShape& shape) { return workspace_of(Matrices(shape).forward()); }

Error conv_forward(Stream stream, float* y, const float* x, const float* weight, const float* bias, bool relu,
                   const ConvShape& shape, void* workspace) {
  if (!conv_supported(shape)) return cudaErrorInvalidValue;
  const Geometry g(shape);
  return multiply(stream, Forward{g, x, weight}, Matrices(shape).forward(), {y, bias, relu, false, g.by_out_pixels},
                  workspace);
}

uint64_t conv_backward_data_workspace(const ConvShape& shape) { return workspace_of(Matrices(shape).backward_data()); }

Error conv_backward_data(Stream stream, float* x_gradient, const float* y_gradient, const float* weight,
                         const ConvShape& shape, void* workspace) {
  if (!conv_supported(shape)) return cudaErrorInvalidValue;
  const Geometry g(shape);
  return multiply(stream, BackwardData{g, y_gradient, weight}, Matrices(shape).backward_data(),
                  {x_gradient, nullptr, false, false, g.by_pixels}, workspace);
}

uint64_t conv_backward_weights_workspace(const ConvShape& shape) {
  return workspace_of(Matrices(shape).backward_weights());
}

Error conv_backward_weights(Stream stream, float* weight_gradient, const float* x, const float* y_gradient,
                            const ConvShape& shape, void* workspace) {
  if (!conv_supported(shape)) return cudaErrorInvalidValue;
  const Extents extents = Matrices(shape).backward_weights();
  return multiply(stream, BackwardWeights{Geometry(shape), x, y_gradient}, extents,
                  {weight_gradient, nullptr, false, false, Divider(extents.columns)}, workspace);
}

}  // namespace adn::cuda
