// The fused multi-tensor Adadelta step: one launch for any number of tensors of any types, and one before it where the
// gradients' norm or a check for infinity and NaN is asked for. A block takes a chunk of one tensor, as the table says.
// The arithmetic is core/adadelta_formula.h's, compiled without fused multiply-add, so the result has the CPU's bits;
// only the norm is added in an order of its own, in double.
//
// Limit: memory, 28 bytes a float32 parameter (p, g, v, u read and p, v, u written once) in accesses of 16 bytes where
// all pointers allow; the norm reads the gradients once more, 4 bytes.
#include "core/float16.h"
#include "cuda/block_sum.h"

namespace adn::cuda {
namespace {

template <class E>
struct ComputeIn {
  using Type = float;
};
template <>
struct ComputeIn<double> {
  using Type = double;
};

__device__ __forceinline__ double to_number(double x) { return x; }
template <class E>
__device__ __forceinline__ float to_number(E x) {
  return to_float(x);
}
__device__ __forceinline__ void from_number(double& to, double x) { to = x; }
template <class E>
__device__ __forceinline__ void from_number(E& to, float x) {
  from_float(to, x);
}

// kCount elements, 8 or 16 bytes, in one access.
template <int bytes>
struct Word {
  using Type = uint4;
};
template <>
struct Word<8> {
  using Type = uint2;
};

template <int kCount, class E>
__device__ __forceinline__ void load(E (&to)[kCount], const E* from) {
  using Bits = typename Word<sizeof to>::Type;
  static_assert(sizeof(Bits) == sizeof to);
  const Bits bits = *reinterpret_cast<const Bits*>(from);
  memcpy(to, &bits, sizeof bits);
}
template <int kCount, class E>
__device__ __forceinline__ void store(E* to, const E (&from)[kCount]) {
  using Bits = typename Word<sizeof from>::Type;
  static_assert(sizeof(Bits) == sizeof from);
  Bits bits;
  memcpy(&bits, from, sizeof bits);
  *reinterpret_cast<Bits*>(to) = bits;
}

__device__ __forceinline__ bool all_aligned(const void* a, const void* b, const void* c, const void* d, const void* e,
                                            const void* f) {
  return (reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b) | reinterpret_cast<uintptr_t>(c) |
          reinterpret_cast<uintptr_t>(d) | reinterpret_cast<uintptr_t>(e) | reinterpret_cast<uintptr_t>(f)) %
             16 ==
         0;
}

// A chunk of a piece whose elements are E.
template <class E>
struct Run {
  using T = typename ComputeIn<E>::Type;
  __device__ __forceinline__ Run(const adn_adadelta_piece& piece, uint64_t first)
      : p(static_cast<E*>(piece.p) + first),
        g(static_cast<E*>(piece.g) + first),
        v(static_cast<T*>(piece.v) + first),
        u(static_cast<T*>(piece.u) + first),
        master(piece.master != nullptr ? static_cast<T*>(piece.master) + first : nullptr),
        average(piece.average != nullptr ? static_cast<T*>(piece.average) + first : nullptr),
        count(static_cast<uint32_t>(piece.count - first < kAdadeltaChunk ? piece.count - first : kAdadeltaChunk)) {}

  E *p, *g;
  T *v, *u, *master, *average;
  uint32_t count;
};

template <class T>
__device__ __forceinline__ void update_element(T& w, T g, T& v, T& u, const AdadeltaNumbersOf<T>& n) {
  g = adadelta_gradient(g, n);
  if (n.weight_decay != T(0)) {
    adadelta_element<true>(w, g, v, u, n);
  } else {
    adadelta_element<false>(w, g, v, u, n);
  }
}

template <class E>
__device__ __forceinline__ void update(const Run<E>& r, const AdadeltaNumbersOf<typename ComputeIn<E>::Type>& n,
                                       bool zero) {
  using T = typename ComputeIn<E>::Type;
  constexpr int kPack = 16 / sizeof(T);  // the state fills 16 bytes, 16-bit weights and gradients 8
  const uint32_t packs = all_aligned(r.p, r.g, r.v, r.u, r.master, r.average) ? r.count / kPack : 0;
  for (uint32_t pack = threadIdx.x; pack < packs; pack += kThreads) {
    const uint32_t i = pack * kPack;
    E p[kPack], g[kPack];
    T v[kPack], u[kPack], w[kPack];
    load(p, r.p + i);
    load(g, r.g + i);
    load(v, r.v + i);
    load(u, r.u + i);
    if (r.master != nullptr) {
      load(w, r.master + i);
    } else {
#pragma unroll
      for (int j = 0; j < kPack; ++j) w[j] = to_number(p[j]);
    }
#pragma unroll
    for (int j = 0; j < kPack; ++j) {
      update_element(w[j], to_number(g[j]), v[j], u[j], n);
      from_number(p[j], w[j]);
    }
    store(r.p + i, p);
    store(r.v + i, v);
    store(r.u + i, u);
    if (r.master != nullptr) store(r.master + i, w);
    if (r.average != nullptr) {
      T average[kPack];
      load(average, r.average + i);
#pragma unroll
      for (int j = 0; j < kPack; ++j) adadelta_average(average[j], w[j], n);
      store(r.average + i, average);
    }
    if (zero) {
      const E none[kPack] = {};
      store(r.g + i, none);
    }
  }
  // The rest, or all of it where a pointer is not aligned.
  for (uint32_t i = packs * kPack + threadIdx.x; i < r.count; i += kThreads) {
    T w = r.master != nullptr ? r.master[i] : to_number(r.p[i]);
    update_element(w, to_number(r.g[i]), r.v[i], r.u[i], n);
    from_number(r.p[i], w);
    if (r.master != nullptr) r.master[i] = w;
    if (r.average != nullptr) adadelta_average(r.average[i], w, n);
    if (zero) r.g[i] = E{};
  }
}

// What all threads of a block need of the pass, worked out once.
struct Numbers {
  AdadeltaNumbersOf<float> floats;
  AdadeltaNumbersOf<double> doubles;
};
__device__ __forceinline__ const AdadeltaNumbersOf<float>& numbers_of(const Numbers& n, float) { return n.floats; }
__device__ __forceinline__ const AdadeltaNumbersOf<double>& numbers_of(const Numbers& n, double) { return n.doubles; }

__device__ __forceinline__ const Numbers& numbers_for(const adn_adadelta_pass& pass, uint32_t group,
                                                      double clip_factor) {
  Numbers& numbers = shared<Numbers>();
  if (threadIdx.x == 0) {
    const adn_adadelta_group& g = pass.groups[group];
    const double lr = adadelta_lr(g);
    numbers.floats = adadelta_numbers<float>(g, lr, pass.gradient_scale, clip_factor);
    numbers.doubles = adadelta_numbers<double>(g, lr, pass.gradient_scale, clip_factor);
  }
  __syncthreads();
  return numbers;
}

template <class E>
__device__ __forceinline__ void step_run(const adn_adadelta_piece& piece, uint64_t first, const Numbers& numbers,
                                         bool skip, bool zero) {
  using T = typename ComputeIn<E>::Type;
  const Run<E> run(piece, first);
  if (!skip) {
    update(run, numbers_of(numbers, T()), zero);
  } else if (zero) {
    for (uint32_t i = threadIdx.x; i < run.count; i += kThreads) run.g[i] = E{};
  }
}

__global__ void __launch_bounds__(kThreads)
    step_kernel(const adn_adadelta_piece* pieces, const AdadeltaChunk* chunks, const adn_adadelta_pass* pass,
                AdadeltaState* state, bool measured) {
  const AdadeltaChunk chunk = chunks[blockIdx.x];
  const adn_adadelta_piece& piece = pieces[chunk.piece];
  const bool skip = measured && state->result.nonfinite != 0, zero = pass->zero_gradients != 0;
  const Numbers& numbers = numbers_for(*pass, piece.group, measured ? state->clip_factor : 1.0);
  const uint64_t first = chunk.index * kAdadeltaChunk;
  switch (piece.dtype) {
    case ADN_DTYPE_FLOAT64:
      step_run<double>(piece, first, numbers, skip, zero);
      break;
    case ADN_DTYPE_FLOAT16:
      step_run<Half>(piece, first, numbers, skip, zero);
      break;
    case ADN_DTYPE_BFLOAT16:
      step_run<BFloat16>(piece, first, numbers, skip, zero);
      break;
    default:
      step_run<float>(piece, first, numbers, skip, zero);
      break;
  }
  if (chunk.index == 0 && threadIdx.x == 0 && !skip) ++*piece.step;
  if (blockIdx.x == 0 && threadIdx.x == 0 && !measured) state->result = {};
}

// The chunk's sum of squares; infinite or NaN gradients make *finite 0.
template <class E>
__device__ __forceinline__ double measure_run(const adn_adadelta_piece& piece, uint64_t first, const Numbers& numbers,
                                              bool* finite) {
  using T = typename ComputeIn<E>::Type;
  const Run<E> run(piece, first);
  double sum = 0;
  for (uint32_t i = threadIdx.x; i < run.count; i += kThreads) {
    const T g = to_number(run.g[i]);
    const auto x = static_cast<double>(adadelta_unscaled(g, numbers_of(numbers, T())));
    sum += x * x;
    if (!(g - g == T(0))) *finite = false;
  }
  return sum;
}

// A part of the sum for each chunk; the block that finishes last adds them, in the order of the chunks.
__global__ void __launch_bounds__(kThreads)
    measure_kernel(const adn_adadelta_piece* pieces, const AdadeltaChunk* chunks, const adn_adadelta_pass* pass,
                   AdadeltaState* state, AdadeltaPart* parts) {
  struct Vote {
    bool last;
  };
  const AdadeltaChunk chunk = chunks[blockIdx.x];
  const adn_adadelta_piece& piece = pieces[chunk.piece];
  const Numbers& numbers = numbers_for(*pass, piece.group, 1.0);
  const uint64_t first = chunk.index * kAdadeltaChunk;
  bool finite = true;
  double sum = piece.dtype == ADN_DTYPE_FLOAT64    ? measure_run<double>(piece, first, numbers, &finite)
               : piece.dtype == ADN_DTYPE_FLOAT16  ? measure_run<Half>(piece, first, numbers, &finite)
               : piece.dtype == ADN_DTYPE_BFLOAT16 ? measure_run<BFloat16>(piece, first, numbers, &finite)
                                                   : measure_run<float>(piece, first, numbers, &finite);
  finite = __syncthreads_and(finite) != 0;
  sum = block_sum(sum);
  Vote& vote = shared<Vote>();
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = {sum, finite ? 1.0 : 0.0};
    __threadfence();  // the part is seen before the ticket that tells of it
    vote.last = atomicAdd(&state->ticket, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (!vote.last) return;
  __threadfence();
  const volatile AdadeltaPart* seen = parts;
  sum = 0;
  finite = true;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += kThreads) {
    sum += seen[i].sum;
    if (seen[i].finite == 0) finite = false;
  }
  finite = __syncthreads_and(finite) != 0;
  sum = block_sum(sum);
  if (threadIdx.x == 0) {
    const bool clip = pass->clip_norm < INFINITY;
    state->result = {clip ? sqrt(sum) : 0.0, !finite && pass->skip_nonfinite != 0 ? 1 : 0, 0};
    state->clip_factor = clip ? adadelta_clip_factor(pass->clip_norm, sqrt(sum)) : 1.0;
    state->ticket = 0;
  }
}

}  // namespace

uint64_t adadelta_chunk_count(const adn_adadelta_piece* host_pieces, uint64_t piece_count) {
  uint64_t count = 0;
  for (uint64_t i = 0; i < piece_count; ++i) {
    if (host_pieces[i].g != nullptr) count += ceil_div(host_pieces[i].count, kAdadeltaChunk);
  }
  return count;
}

void adadelta_chunks(AdadeltaChunk* host_chunks, const adn_adadelta_piece* host_pieces, uint64_t piece_count) {
  for (uint64_t i = 0; i < piece_count; ++i) {
    if (host_pieces[i].g == nullptr) continue;
    const uint64_t chunks = ceil_div(host_pieces[i].count, kAdadeltaChunk);
    for (uint64_t j = 0; j < chunks; ++j) *host_chunks++ = {static_cast<uint32_t>(i), static_cast<uint32_t>(j)};
  }
}

bool adadelta_measures(const adn_adadelta_pass& host_pass) {
  return host_pass.clip_norm < INFINITY || host_pass.skip_nonfinite != 0;
}

Error adadelta(Stream stream, const AdadeltaTables& tables, bool measure) {
  if (tables.chunk_count == 0) return cudaSuccess;
  const Grid grid(tables.chunk_count);
  if (measure) {
    const Error error =
        launch(stream, grid, &measure_kernel, tables.pieces, tables.chunks, tables.pass, tables.state, tables.parts);
    if (error != cudaSuccess) return error;
  }
  return launch(stream, grid, &step_kernel, tables.pieces, tables.chunks, tables.pass, tables.state, measure);
}

}  // namespace adn::cuda
