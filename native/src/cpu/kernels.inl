// The kernels' one source, included by a file for each instruction set, which defines
//   V                        a vector of kLanes floats, with + - * and indexing
//   load, store, broadcast   unaligned
//   Integers                 a vector of kLanes int32_t
//   load_places              kLanes bytes as Integers
//   store_places             and back: numbers below 256
//   multiply_add(a, b, c)    a * b + c, fused where the CPU can
//   kTileRows[1], [2]        rows of the largest register tile that is 1 or 2 vectors wide
// Everything here has internal linkage: see native/CMakeLists.txt.

namespace adn::cpu {
namespace {

constexpr int64_t kPanel = 2 * kLanes;
static_assert(kPanel <= kMaxPanel);

// ---- Matrix product -------------------------------------------------------------------------------------------------

// One register tile of kRows x (kVectors * kLanes). kUnit: a_step is 1, as in a forward pass.
// Every loop over the tile is unrolled, so that the sums never leave the registers: left alone, GCC clears and empties them
// through an array on the stack, which costs a short sum as much as the sum itself.
template <int kRows, int kVectors, bool kUnit>
void gemm_tile(const Gemm& g, int64_t row) {
  V sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) sum[i][j] = broadcast(0.0f);
  }
  const int64_t* rows = g.rows + row;
  const int64_t step = kUnit ? 1 : g.a_step;
  const float* b = g.b;
  for (int64_t s = 0; s < g.segment_count; ++s) {
    const float* a = g.a + g.segments[s];
    for (int64_t k = 0; k < g.segment_length; ++k) {
      V y[kVectors];
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) y[j] = load(b + j * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const V x = broadcast(a[rows[i]]);
#pragma GCC unroll 2
        for (int j = 0; j < kVectors; ++j) sum[i][j] = multiply_add(x, y[j], sum[i][j]);
      }
      a += step;
      b += g.b_step;
    }
  }
  if (g.columns == kVectors * kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      float* c = g.c + (g.c_rows != nullptr ? g.c_rows[row + i] : (row + i) * g.c_step);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) {
        store(c + j * kLanes, g.accumulate ? load(c + j * kLanes) + sum[i][j] : sum[i][j]);
      }
    }
    return;
  }
  float edge[kRows][kVectors * kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) store(edge[i] + j * kLanes, sum[i][j]);
  }
  for (int i = 0; i < kRows; ++i) {
    float* c = g.c + (g.c_rows != nullptr ? g.c_rows[row + i] : (row + i) * g.c_step);
    for (int64_t j = 0; j < g.columns; ++j) c[j] = g.accumulate ? c[j] + edge[i][j] : edge[i][j];
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
// Written once for a vector of channels and, in the channels left over, for one.

template <class T>
T load_as(const float* p);
template <>
inline V load_as<V>(const float* p) {
  return load(p);
}
template <>
inline float load_as<float>(const float* p) {
  return *p;
}
inline void store(float* p, float x) { *p = x; }

template <class T>
T splat(float x);
template <>
inline V splat<V>(float x) {
  return broadcast(x);
}
template <>
inline float splat<float>(float x) {
  return x;
}

// Places in a pool's window, kept as bytes.
template <class T>
struct PlaceOf {
  using Type = Integers;
};
template <>
struct PlaceOf<float> {
  using Type = int32_t;
};
inline void load_places(int32_t& x, const uint8_t* p) { x = *p; }
inline void store_places(uint8_t* p, int32_t x) { *p = static_cast<uint8_t>(x); }

// NaN stays NaN, as in PyTorch.
template <class T>
inline T relu_of(T x) {
  const T zero = splat<T>(0.0f);
  return x < zero ? zero : x;
}

// As max_pool2d: the first maximum wins, and NaN beats everything.
template <class T, bool kReluBefore>
inline void pool_window(const Epilogue& e, const float* window, int64_t c, float* out, uint8_t* winner) {
  const T bias = e.bias != nullptr ? load_as<T>(e.bias + c) : splat<T>(0.0f);
  T best = splat<T>(-__builtin_inff());
  typename PlaceOf<T>::Type index = {};
  int32_t place = 0;
  for (int64_t dy = 0; dy < e.pool_height; ++dy) {
    const float* x = window + dy * e.width * e.x_step + c;
    for (int64_t dx = 0; dx < e.pool_width; ++dx, ++place, x += e.x_step) {
      T v = load_as<T>(x) + bias;
      if (kReluBefore) v = relu_of(v);
      const auto take = (v > best) | (v != v);
      best = take ? v : best;
      index = take ? place + typename PlaceOf<T>::Type{} : index;
    }
  }
  store(out + c, e.relu ? relu_of(best) : best);
  if (winner != nullptr) store_places(winner + c, index);
}

template <bool kReluBefore>
void pool_rows(const Epilogue& e) {
  float* out = e.out;
  uint8_t* winner = e.winner;
  for (int64_t y = 0; y + e.pool_height <= e.height; y += e.pool_stride_y) {
    for (int64_t x = 0; x + e.pool_width <= e.width; x += e.pool_stride_x) {
      const float* window = e.x + (y * e.width + x) * e.x_step;
      int64_t c = 0;
      for (; c + kLanes <= e.channels; c += kLanes) pool_window<V, kReluBefore>(e, window, c, out, winner);
      for (; c < e.channels; ++c) pool_window<float, kReluBefore>(e, window, c, out, winner);
      out += e.out_step;
      if (winner != nullptr) winner += e.out_step;
    }
  }
}

template <class T>
inline void finish_pixel(const Epilogue& e, const float* x, int64_t c, float* out, bool relu) {
  T v = load_as<T>(x + c);
  if (e.bias != nullptr) v = v + load_as<T>(e.bias + c);
  store(out + c, relu ? relu_of(v) : v);
}

void epilogue(const Epilogue& e) {
  if (e.pool) {
    e.relu_before_pool ? pool_rows<true>(e) : pool_rows<false>(e);
    return;
  }
  for (int64_t pixel = 0; pixel < e.height * e.width; ++pixel) {
    const float* x = e.x + pixel * e.x_step;
    float* out = e.out + pixel * e.out_step;
    int64_t c = 0;
    for (; c + kLanes <= e.channels; c += kLanes) finish_pixel<V>(e, x, c, out, e.relu);
    for (; c < e.channels; ++c) finish_pixel<float>(e, x, c, out, e.relu);
  }
}

// The gradient that comes through the last ReLU; NaN lets it through, as in PyTorch.
template <class T>
inline T through_relu(const EpilogueGradient& e, int64_t place) {
  const T gradient = load_as<T>(e.gradient + place), zero = splat<T>(0.0f);
  return e.relu ? (load_as<T>(e.out + place) <= zero ? zero : gradient) : gradient;
}

// Writes the gradient to the window's winner and zero to its other elements.
template <class T>
inline void unpool_window(const EpilogueGradient& e, float* window, int64_t place, int64_t c) {
  const T gradient = through_relu<T>(e, place), zero = splat<T>(0.0f);
  typename PlaceOf<T>::Type index;
  load_places(index, e.winner + place);
  int32_t element = 0;
  for (int64_t dy = 0; dy < e.pool_height; ++dy) {
    float* x = window + dy * e.width * e.x_step + c;
    for (int64_t dx = 0; dx < e.pool_width; ++dx, ++element, x += e.x_step) {
      store(x, index == element ? gradient : zero);
    }
  }
}

void unpool_rows(const EpilogueGradient& e) {
  int64_t place = 0;
  for (int64_t y = 0; y + e.pool_height <= e.height; y += e.pool_stride_y) {
    for (int64_t x = 0; x + e.pool_width <= e.width; x += e.pool_stride_x, place += e.channels) {
      float* window = e.x + (y * e.width + x) * e.x_step;
      int64_t c = 0;
      for (; c + kLanes <= e.channels; c += kLanes) unpool_window<V>(e, window, place + c, c);
      for (; c < e.channels; ++c) unpool_window<float>(e, window, place + c, c);
    }
  }
}

void epilogue_gradient(const EpilogueGradient& e) {
  const int64_t pixels = e.height * e.width;
  if (e.pool) {
    const bool covered = e.pool_stride_y == e.pool_height && e.pool_stride_x == e.pool_width &&
                         e.height % e.pool_height == 0 && e.width % e.pool_width == 0;
    for (int64_t pixel = 0; !covered && pixel < pixels; ++pixel) {
      for (int64_t c = 0; c < e.channels; ++c) e.x[pixel * e.x_step + c] = 0.0f;
    }
    unpool_rows(e);
    return;
  }
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    const int64_t place = pixel * e.channels;
    float* x = e.x + pixel * e.x_step;
    int64_t c = 0;
    for (; c + kLanes <= e.channels; c += kLanes) store(x + c, through_relu<V>(e, place + c));
    for (; c < e.channels; ++c) store(x + c, through_relu<float>(e, place + c));
  }
}

// ---- Transposition ---------------------------------------------------------------------------------------------------

template <int... kLane>
struct Places {};
template <int kCount, int... kLane>
struct MakePlaces : MakePlaces<kCount - 1, kCount - 1, kLane...> {};
template <int... kLane>
struct MakePlaces<0, kLane...> {
  using Type = Places<kLane...>;
};

// The lanes of a followed by those of b, kLane of them by their numbers.
template <int... kLane>
inline V shuffle(V a, V b) {
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 12
  return __builtin_shuffle(a, b, Integers{kLane...});
#else
  return __builtin_shufflevector(a, b, kLane...);
#endif
}

// Rows a and b are kDistance apart: exchanges what lies right of a's diagonal blocks of that size with what lies left of b's.
template <int kDistance, int... kLane>
inline void exchange(V& a, V& b, Places<kLane...>) {
  const V upper = shuffle<((kLane & kDistance) != 0 ? kLanes + kLane - kDistance : kLane)...>(a, b);
  b = shuffle<((kLane & kDistance) != 0 ? kLanes + kLane : kLane + kDistance)...>(a, b);
  a = upper;
}

template <int kDistance>
inline void exchange_all(V (&rows)[kLanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if ((i & kDistance) == 0) exchange<kDistance>(rows[i], rows[i + kDistance], typename MakePlaces<kLanes>::Type());
  }
  if constexpr (kDistance > 1) exchange_all<kDistance / 2>(rows);
}

inline void transpose_block(float* to, int64_t to_step, const float* from, int64_t from_step) {
  V rows[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) rows[i] = load(from + i * from_step);
  exchange_all<kLanes / 2>(rows);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) store(to + i * to_step, rows[i]);
}

void transpose(float* to, int64_t to_step, const float* from, int64_t from_step, int64_t rows, int64_t columns) {
  const int64_t whole_rows = rows / kLanes * kLanes, whole_columns = columns / kLanes * kLanes;
  for (int64_t r = 0; r < whole_rows; r += kLanes) {
    for (int64_t c = 0; c < whole_columns; c += kLanes) {
      transpose_block(to + c * to_step + r, to_step, from + r * from_step + c, from_step);
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c)
      to[c * to_step + r] = from[r * from_step + c];
  }
}

// ---- Sums and elementwise operations ---------------------------------------------------------------------------------

// The sums of some columns stay in registers: through memory, each row would wait for the one before to be stored.
void add_columns(float* sums, const float* x, int64_t rows, int64_t columns, int64_t x_step) {
  constexpr int kVectors = 2;
  int64_t c = 0;
  for (; c + kVectors * kLanes <= columns; c += kVectors * kLanes) {
    V sum[kVectors];
    for (int j = 0; j < kVectors; ++j) sum[j] = load(sums + c + j * kLanes);
    for (int64_t row = 0; row < rows; ++row) {
      for (int j = 0; j < kVectors; ++j) sum[j] = sum[j] + load(x + row * x_step + c + j * kLanes);
    }
    for (int j = 0; j < kVectors; ++j) store(sums + c + j * kLanes, sum[j]);
  }
  for (; c + kLanes <= columns; c += kLanes) {
    V sum = load(sums + c);
    for (int64_t row = 0; row < rows; ++row) sum = sum + load(x + row * x_step + c);
    store(sums + c, sum);
  }
  for (; c < columns; ++c) {
    for (int64_t row = 0; row < rows; ++row) sums[c] += x[row * x_step + c];
  }
}

template <class T>
inline void add_parts_at(float* total, const float* from, int64_t part_count, int64_t part_step) {
  T sum = load_as<T>(from);
  for (int64_t part = 1; part < part_count; ++part) sum = sum + load_as<T>(from + part * part_step);
  store(total, sum);
}

void add_parts(float* total, const float* parts, const int64_t* rows, int64_t row_count, int64_t row_length,
               int64_t part_count, int64_t part_step) {
  for (int64_t row = 0; row < row_count; ++row, total += row_length) {
    const float* from = parts + rows[row] * row_length;
    int64_t i = 0;
    for (; i + kLanes <= row_length; i += kLanes) add_parts_at<V>(total + i, from + i, part_count, part_step);
    for (; i < row_length; ++i) add_parts_at<float>(total + i, from + i, part_count, part_step);
  }
}

void relu(float* out, const float* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = relu_of(x[i]);
}

void relu_gradient(float* x_gradient, const float* out, const float* gradient, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x_gradient[i] = out[i] <= 0.0f ? 0.0f : gradient[i];
}

}  // namespace
}  // namespace adn::cpu

#include "cpu/adadelta.inl"

namespace adn::cpu {
namespace {

const Kernels kTable = {kPanel,    gemm, epilogue,      epilogue_gradient, transpose,     add_columns,
                        add_parts, relu, relu_gradient, adadelta,          adadelta_norm, adadelta_vjp};

}  // namespace
}  // namespace adn::cpu
