#include "neighbours.h"

#include <algorithm>
#include <initializer_list>
#include <unordered_map>
#include <utility>
#include <vector>

#include "timing.h"

#if defined(BENCH_OPENBLAS)
#include <cblas.h>
extern "C" void openblas_set_num_threads(int threads);
#endif

#if defined(BENCH_DNNL)
#include <omp.h>

#include <oneapi/dnnl/dnnl.hpp>
#endif

namespace bench {

double sgemm_rate([[maybe_unused]] int threads, [[maybe_unused]] int rounds) {
#if defined(BENCH_OPENBLAS)
  constexpr int kSize = 1536;
  const std::vector<float> a(kSize * kSize, 0.5f), b(kSize * kSize, 0.25f);
  std::vector<float> c(kSize * kSize);
  openblas_set_num_threads(threads);
  const double time = median_time(rounds, [&] {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, kSize, kSize, kSize, 1, a.data(), kSize, b.data(), kSize, 0,
                c.data(), kSize);
  });
  return 2.0 * kSize * kSize * kSize / time;
#else
  return 0;
#endif
}

#if defined(BENCH_DNNL)
namespace {

using dnnl::memory;
using Arguments = std::initializer_list<std::pair<int, memory::desc>>;

memory::desc any_order(std::initializer_list<uint64_t> extents) {
  return memory::desc(memory::dims(extents.begin(), extents.end()), memory::data_type::f32, memory::format_tag::any);
}

memory::dims both(uint64_t extent) { return memory::dims(2, static_cast<memory::dim>(extent)); }

// Each argument gets memory of its own, filled with ones.
double time_primitive(const dnnl::primitive& primitive, const dnnl::engine& engine, int rounds, Arguments arguments) {
  dnnl::stream stream(engine);
  std::unordered_map<int, memory> memories;
  for (const auto& [argument, description] : arguments) {
    const memory floats(description, engine);
    std::fill_n(static_cast<float*>(floats.get_data_handle()), description.get_size() / sizeof(float), 1.0f);
    memories.emplace(argument, floats);
  }
  return median_time(rounds, [&] {
    primitive.execute(stream, memories);
    stream.wait();
  });
}

// Convolution and inner product have the same arguments.
template <class Forward, class Data, class Weights>
PassTimes time_passes(const dnnl::engine& engine, int rounds, const typename Forward::desc& forward_description,
                      const typename Data::desc& data_description, const typename Weights::desc& weights_description) {
  const typename Forward::primitive_desc forward(forward_description, engine);
  const typename Data::primitive_desc data(data_description, engine, forward);
  const typename Weights::primitive_desc weights(weights_description, engine, forward);
  return {time_primitive(Forward(forward), engine, rounds,
                         {{DNNL_ARG_SRC, forward.src_desc()},
                          {DNNL_ARG_WEIGHTS, forward.weights_desc()},
                          {DNNL_ARG_BIAS, forward.bias_desc()},
                          {DNNL_ARG_DST, forward.dst_desc()}}),
          time_primitive(Data(data), engine, rounds,
                         {{DNNL_ARG_DIFF_DST, data.diff_dst_desc()},
                          {DNNL_ARG_WEIGHTS, data.weights_desc()},
                          {DNNL_ARG_DIFF_SRC, data.diff_src_desc()}}),
          time_primitive(Weights(weights), engine, rounds,
                         {{DNNL_ARG_SRC, weights.src_desc()},
                          {DNNL_ARG_DIFF_DST, weights.diff_dst_desc()},
                          {DNNL_ARG_DIFF_WEIGHTS, weights.diff_weights_desc()},
                          {DNNL_ARG_DIFF_BIAS, weights.diff_bias_desc()}})};
}

}  // namespace
#endif

PassTimes dnnl_passes([[maybe_unused]] const Shape& s, [[maybe_unused]] int threads, [[maybe_unused]] int rounds) {
#if defined(BENCH_DNNL)
  omp_set_num_threads(threads);
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const uint64_t out_height = (s.height + 2 * s.padding - s.kernel) / s.stride + 1;
  const uint64_t out_width = (s.width + 2 * s.padding - s.kernel) / s.stride + 1;
  const memory::desc x = any_order({s.batch, s.channels, s.height, s.width});
  const memory::desc weight = any_order({s.out_channels, s.channels, s.kernel, s.kernel});
  const memory::desc bias = any_order({s.out_channels});
  if (s.kernel == s.height && s.kernel == s.width && s.padding == 0) {
    const memory::desc y = any_order({s.batch, s.out_channels});
    return time_passes<dnnl::inner_product_forward, dnnl::inner_product_backward_data,
                       dnnl::inner_product_backward_weights>(
        engine, rounds, {dnnl::prop_kind::forward_training, x, weight, bias, y}, {x, weight, y}, {x, weight, bias, y});
  }
  const memory::desc y = any_order({s.batch, s.out_channels, out_height, out_width});
  const memory::dims stride = both(s.stride), padding = both(s.padding);
  const dnnl::algorithm direct = dnnl::algorithm::convolution_direct;
  return time_passes<dnnl::convolution_forward, dnnl::convolution_backward_data, dnnl::convolution_backward_weights>(
      engine, rounds, {dnnl::prop_kind::forward_training, direct, x, weight, bias, y, stride, padding, padding},
      {direct, x, weight, y, stride, padding, padding}, {direct, x, weight, bias, y, stride, padding, padding});
#else
  return {};
#endif
}

}  // namespace bench
