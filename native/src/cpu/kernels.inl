// The kernels' one source, included by a file for each instruction set, which defines
//   V                        a vector of kLanes floats, with + - * and indexing
//   load, store, broadcast   unaligned
//   multiply_add(a, b, c)    a * b + c, fused where the CPU can
//   kTileRows[1], [2]        rows of the largest register tile that is 1 or 2 vectors wide
// Everything here has internal linkage: see native/CMakeLists.txt.

namespace adn::cpu {
namespace {

constexpr int64_t kPanel = 2 * kLanes;

// ---- Matrix product -------------------------------------------------------------------------------------------------

// One register tile of kRows x (kVectors * kLanes). kUnit: a_step is 1, as in a forward pass.
template <int kRows, int kVectors, bool kUnit>
void gemm_tile(const Gemm& g, int64_t row) {
  V sum[kRows][kVectors] = {};
  const int64_t* rows = g.rows + row;
  const int64_t step = kUnit ? 1 : g.a_step;
  const float* b = g.b;
  for (int64_t s = 0; s < g.segment_count; ++s) {
    const float* a = g.a + g.segments[s];
    for (int64_t k = 0; k < g.segment_length; ++k) {
      V y[kVectors];
      for (int j = 0; j < kVectors; ++j) y[j] = load(b + j * kLanes);
      for (int i = 0; i < kRows; ++i) {
        const V x = broadcast(a[rows[i]]);
        for (int j = 0; j < kVectors; ++j) sum[i][j] = multiply_add(x, y[j], sum[i][j]);
      }
      a += step;
      b += g.b_step;
    }
  }
  for (int i = 0; i < kRows; ++i) {
    float* c = g.c + (g.c_rows != nullptr ? g.c_rows[row + i] : (row + i) * g.c_step);
    if (g.columns == kVectors * kLanes) {
      for (int j = 0; j < kVectors; ++j) {
        store(c + j * kLanes, g.accumulate ? load(c + j * kLanes) + sum[i][j] : sum[i][j]);
      }
    } else {
      float edge[kVectors * kLanes];
      for (int j = 0; j < kVectors; ++j) store(edge + j * kLanes, sum[i][j]);
      for (int64_t j = 0; j < g.columns; ++j) c[j] = g.accumulate ? c[j] + edge[j] : edge[j];
    }
  }
}

template <int kRows, int kVectors, bool kUnit>
void gemm_tiles(const Gemm& g, int64_t row, int64_t rows) {
  if constexpr (kRows > 0) {
    if (rows == kRows) {
      gemm_tile<kRows, kVectors, kUnit>(g, row);
    } else {
      gemm_tiles<kRows - 1, kVectors, kUnit>(g, row, rows);
    }
  }
}

template <int kVectors, bool kUnit>
void gemm_rows(const Gemm& g) {
  // Tiles of nearly the same height: a short last one would wait on the latency of its few sums.
  constexpr int kMost = kTileRows[kVectors];
  int64_t tiles = (g.row_count + kMost - 1) / kMost;
  for (int64_t row = 0; row < g.row_count; --tiles) {
    const int64_t rows = (g.row_count - row + tiles - 1) / tiles;
    gemm_tiles<kMost, kVectors, kUnit>(g, row, rows);
    row += rows;
  }
}

void gemm(const Gemm& g) {
  const bool unit = g.a_step == 1;
  if (g.columns > kLanes) {
    unit ? gemm_rows<2, true>(g) : gemm_rows<2, false>(g);
  } else {
    unit ? gemm_rows<1, true>(g) : gemm_rows<1, false>(g);
  }
}

// ---- Epilogue of a convolution ---------------------------------------------------------------------------------------

// Channels handled at once: with a constant count the loops over them become vector code.
constexpr int kBlock = 16;

// NaN stays NaN, as in PyTorch.
inline float relu_of(float x) { return x < 0.0f ? 0.0f : x; }

// As max_pool2d: the first maximum wins, and NaN beats everything.
template <bool kReluBefore>
void pool_block(const Epilogue& e, int64_t y, int64_t x, int64_t c, int count, float* out, uint8_t* winner) {
  float best[kBlock], bias[kBlock];
  int32_t index[kBlock];
  for (int i = 0; i < count; ++i) {
    bias[i] = e.bias != nullptr ? e.bias[c + i] : 0.0f;
    best[i] = -__builtin_inff();
    index[i] = 0;
  }
  int32_t place = 0;
  for (int64_t dy = 0; dy < e.pool_height; ++dy) {
    const float* in = e.x + ((y + dy) * e.width + x) * e.x_step + c;
    for (int64_t dx = 0; dx < e.pool_width; ++dx, ++place, in += e.x_step) {
      for (int i = 0; i < count; ++i) {
        const float v = kReluBefore ? relu_of(in[i] + bias[i]) : in[i] + bias[i];
        const bool take = (v > best[i]) | (v != v);
        best[i] = take ? v : best[i];
        index[i] = take ? place : index[i];
      }
    }
  }
  for (int i = 0; i < count; ++i) out[i] = e.relu ? relu_of(best[i]) : best[i];
  if (winner != nullptr) {
    for (int i = 0; i < count; ++i) winner[i] = static_cast<uint8_t>(index[i]);
  }
}

template <bool kReluBefore>
void pool_rows(const Epilogue& e) {
  float* out = e.out;
  uint8_t* winner = e.winner;
  for (int64_t y = 0; y + e.pool_height <= e.height; y += e.pool_stride_y) {
    for (int64_t x = 0; x + e.pool_width <= e.width; x += e.pool_stride_x) {
      int64_t c = 0;
      for (; c + kBlock <= e.channels; c += kBlock) {
        pool_block<kReluBefore>(e, y, x, c, kBlock, out + c, winner != nullptr ? winner + c : nullptr);
      }
      if (c < e.channels) {
        pool_block<kReluBefore>(e, y, x, c, static_cast<int>(e.channels - c), out + c, winner != nullptr ? winner + c : nullptr);
      }
      out += e.out_step;
      if (winner != nullptr) winner += e.out_step;
    }
  }
}

void epilogue(const Epilogue& e) {
  if (e.pool_height * e.pool_width != 1 || e.pool_stride_y != 1 || e.pool_stride_x != 1) {
    e.relu_before_pool ? pool_rows<true>(e) : pool_rows<false>(e);
    return;
  }
  const bool relu = e.relu || e.relu_before_pool;
  for (int64_t pixel = 0; pixel < e.height * e.width; ++pixel) {
    const float* x = e.x + pixel * e.x_step;
    float* out = e.out + pixel * e.out_step;
    for (int64_t c = 0; c < e.channels; ++c) {
      const float v = e.bias != nullptr ? x[c] + e.bias[c] : x[c];
      out[c] = relu ? relu_of(v) : v;
    }
  }
}

// Writes the gradient to the window's winner and zero to its other elements.
template <bool kRelu>
void unpool_block(const EpilogueGradient& e, float* x, const float* gradient, const float* out, const uint8_t* winner,
                  int count) {
  float g[kBlock];
  int32_t index[kBlock];
  for (int i = 0; i < count; ++i) {
    g[i] = kRelu && out[i] <= 0.0f ? 0.0f : gradient[i];
    index[i] = winner[i];
  }
  int32_t place = 0;
  for (int64_t dy = 0; dy < e.pool_height; ++dy) {
    float* to = x + dy * e.width * e.x_step;
    for (int64_t dx = 0; dx < e.pool_width; ++dx, ++place, to += e.x_step) {
      for (int i = 0; i < count; ++i) to[i] = index[i] == place ? g[i] : 0.0f;
    }
  }
}

template <bool kRelu>
void unpool_rows(const EpilogueGradient& e) {
  const float* gradient = e.gradient;
  const float* out = e.out;
  const uint8_t* winner = e.winner;
  for (int64_t y = 0; y + e.pool_height <= e.height; y += e.pool_stride_y) {
    for (int64_t x = 0; x + e.pool_width <= e.width; x += e.pool_stride_x) {
      float* to = e.x + (y * e.width + x) * e.x_step;
      int64_t c = 0;
      for (; c + kBlock <= e.channels; c += kBlock) {
        unpool_block<kRelu>(e, to + c, gradient + c, out + c, winner + c, kBlock);
      }
      if (c < e.channels) {
        unpool_block<kRelu>(e, to + c, gradient + c, out + c, winner + c, static_cast<int>(e.channels - c));
      }
      gradient += e.channels;
      out += e.channels;
      winner += e.channels;
    }
  }
}

void epilogue_gradient(const EpilogueGradient& e) {
  const bool tiled = e.pool_stride_y == e.pool_height && e.pool_stride_x == e.pool_width &&
                     e.height % e.pool_height == 0 && e.width % e.pool_width == 0;
  if (e.pool && !tiled) {
    for (int64_t pixel = 0; pixel < e.height * e.width; ++pixel) {
      for (int64_t c = 0; c < e.channels; ++c) e.x[pixel * e.x_step + c] = 0.0f;
    }
  }
  if (e.pool) {
    e.relu ? unpool_rows<true>(e) : unpool_rows<false>(e);
    return;
  }
  for (int64_t pixel = 0; pixel < e.height * e.width; ++pixel) {
    const float* gradient = e.gradient + pixel * e.channels;
    const float* out = e.out + pixel * e.channels;
    float* x = e.x + pixel * e.x_step;
    if (e.relu) {
      for (int64_t c = 0; c < e.channels; ++c) x[c] = out[c] <= 0.0f ? 0.0f : gradient[c];
    } else {
      for (int64_t c = 0; c < e.channels; ++c) x[c] = gradient[c];
    }
  }
}

// ---- Sums and elementwise operations ---------------------------------------------------------------------------------

void add_columns(float* sums, const float* x, int64_t rows, int64_t columns, int64_t x_step) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < columns; ++c) sums[c] += x[row * x_step + c];
  }
}

void add_parts(float* total, const float* parts, int64_t count, int64_t part_count, int64_t part_step) {
  for (int64_t i = 0; i < count; ++i) {
    float sum = parts[i];
    for (int64_t part = 1; part < part_count; ++part) sum += parts[part * part_step + i];
    total[i] = sum;
  }
}

void relu(float* out, const float* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = relu_of(x[i]);
}

void relu_gradient(float* x_gradient, const float* out, const float* gradient, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x_gradient[i] = out[i] <= 0.0f ? 0.0f : gradient[i];
}

// Reads p, g, v and u once and writes p, v and u once: 28 bytes a parameter.
void adadelta(float* p, const float* g, float* v, float* u, int64_t count, const AdadeltaNumbers& numbers) {
  const AdadeltaNumbers n = numbers;
  float* __restrict pr = p;
  const float* __restrict gr = g;
  float* __restrict vr = v;
  float* __restrict ur = u;
  if (n.weight_decay != 0.0f) {
    for (int64_t i = 0; i < count; ++i) adadelta_element<true>(pr[i], gr[i], vr[i], ur[i], n);
  } else {
    for (int64_t i = 0; i < count; ++i) adadelta_element<false>(pr[i], gr[i], vr[i], ur[i], n);
  }
}

const Kernels kTable = {kPanel,    gemm, epilogue, epilogue_gradient, add_columns, add_parts, relu, relu_gradient,
                        adadelta};

}  // namespace
}  // namespace adn::cpu
