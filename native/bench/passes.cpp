// Each pass of a convolution in GFLOP/s, for each shape, instruction set and number of threads, beside the machine's
// measured FMA peak and, where installed, OpenBLAS's sgemm.
//
//   bench_passes [rounds = 15] [shape]
//
// Passes are timed in turn, round by round, and medians are printed. A backward pass without the gradient by the input is
// that of the weights; the gradient by the input is the difference to the whole.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#if defined(BENCH_OPENBLAS)
#include <cblas.h>
extern "C" void openblas_set_num_threads(int threads);
#endif

#include "cpu/conv.h"
#include "cpu/features.h"

using namespace adn::cpu;

namespace {

struct Shape {
  const char* name;
  uint64_t batch, channels, height, width, out_channels, kernel, stride, padding, pool;
};

// The reference network's four layers, and the others that a sensible network has.
constexpr Shape kShapes[] = {
    {"conv1", 64, 1, 28, 28, 32, 5, 1, 0, 2},   {"conv2", 64, 32, 12, 12, 64, 5, 1, 0, 2},
    {"fc1", 64, 64, 4, 4, 512, 4, 1, 0, 0},     {"fc2", 64, 512, 1, 1, 10, 1, 1, 0, 0},
    {"vgg32", 64, 32, 32, 32, 32, 3, 1, 1, 2},  {"vgg64", 64, 64, 16, 16, 64, 3, 1, 1, 2},
    {"vgg128", 64, 128, 8, 8, 128, 3, 1, 1, 2}, {"stride2", 64, 32, 32, 32, 64, 3, 2, 1, 0},
    {"1x1", 64, 64, 16, 16, 128, 1, 1, 0, 0},   {"11x11s4", 64, 3, 96, 96, 64, 11, 4, 0, 0},
    {"fc784", 64, 784, 1, 1, 512, 1, 1, 0, 0},
};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

template <class Body>
double time_of(const Body& body) {
  const double start = now();
  body();
  return now() - start;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

adn_op op_of(const Shape& s) {
  adn_op op = {};
  op.kind = ADN_OP_CONV;
  op.bias = 1;
  op.in_shape[0] = s.channels;
  op.in_shape[1] = s.height;
  op.in_shape[2] = s.width;
  op.conv_shape[0] = op.out_shape[0] = s.out_channels;
  op.conv_shape[1] = (s.height + 2 * s.padding - s.kernel) / s.stride + 1;
  op.conv_shape[2] = (s.width + 2 * s.padding - s.kernel) / s.stride + 1;
  for (int i = 0; i < 2; ++i) {
    op.kernel[i] = s.kernel;
    op.stride[i] = s.stride;
    op.padding[i] = s.padding;
    op.dilation[i] = 1;
    op.pool_kernel[i] = op.pool_stride[i] = s.pool;
    op.out_shape[1 + i] = s.pool != 0 ? (op.conv_shape[1 + i] - s.pool) / s.pool + 1 : op.conv_shape[1 + i];
  }
  op.relu = 1;
  return op;
}

Floats filled(uint64_t count) {
  Floats floats(count);
  for (uint64_t i = 0; i < count; ++i) floats.data()[i] = static_cast<float>(i * 2654435761u % 1024u) * 0x1p-10f - 0.5f;
  return floats;
}

// A matrix product whose operands stay in the first-level cache: nothing but the micro-kernel.
double fma_peak(ThreadPool& pool, const Kernels& kernels, int rounds) {
  constexpr int64_t kDepth = 96, kRows = 12, kRepeats = 4000;
  std::vector<double> times;
  const int64_t tasks = pool.size();
  const int64_t thread_floats = kDepth * (kRows + kernels.panel) + kRows * kernels.panel;
  const Floats memory = filled(static_cast<uint64_t>(tasks * thread_floats));
  int64_t rows[kRows];
  const int64_t segment = 0;
  for (int64_t i = 0; i < kRows; ++i) rows[i] = i * kDepth;
  for (int round = 0; round < rounds; ++round) {
    times.push_back(time_of([&] {
      pool.run(tasks, [&](int64_t task, uint32_t) {
        float* at = memory.data() + task * thread_floats;
        const Gemm g = {at,
                        rows,
                        kRows,
                        &segment,
                        1,
                        kDepth,
                        1,
                        at + kDepth * kRows,
                        kernels.panel,
                        at + kDepth * (kRows + kernels.panel),
                        nullptr,
                        kernels.panel,
                        kernels.panel,
                        false};
        for (int64_t i = 0; i < kRepeats; ++i) kernels.gemm(g);
      });
    }));
  }
  return 2e-9 * static_cast<double>(tasks * kDepth * kRows * kernels.panel * kRepeats) / median(times);
}

void bench(const Shape& s, ThreadPool& pool, const Kernels& kernels, int rounds, double peak) {
  const adn_op op = op_of(s);
  Conv conv(op, kernels, s.batch, true);
  const uint64_t in = s.batch * s.channels * s.height * s.width;
  const uint64_t out_count = s.batch * op.out_shape[0] * op.out_shape[1] * op.out_shape[2];
  const uint64_t weights = s.out_channels * s.channels * s.kernel * s.kernel;
  const Floats x = filled(in), weight = filled(weights), bias = filled(s.out_channels),
               out_gradient = filled(out_count);
  const Floats out(out_count), x_gradient(in), weight_gradient(weights), bias_gradient(s.out_channels);
  const uint64_t stride = (conv.scratch_floats() + 15) / 16 * 16;
  const Floats threads(stride * pool.size()), shared(conv.shared_floats());
  const Conv::Scratch scratch = {threads.data(), stride, shared.data()};
  const auto batch = static_cast<int64_t>(s.batch);
  std::vector<double> pack, forward, weights_only, both;
  for (int round = 0; round < rounds + 2; ++round) {
    const double a = time_of([&] { conv.pack(pool, weight.data(), true); });
    const double b = time_of([&] {
      conv.forward(pool, scratch, {weight.data(), bias.data()}, x.data(), out.data(), batch, true);
    });
    const Conv::Gradients gradients = {weight_gradient.data(), bias_gradient.data()};
    const double c = time_of(
        [&] { conv.backward(pool, scratch, gradients, x.data(), out.data(), out_gradient.data(), nullptr, batch); });
    const double d = time_of([&] {
      conv.backward(pool, scratch, gradients, x.data(), out.data(), out_gradient.data(), x_gradient.data(), batch);
    });
    if (round < 2) continue;
    pack.push_back(a);
    forward.push_back(b);
    weights_only.push_back(c);
    both.push_back(d);
  }
  const double gflop = 2e-9 * static_cast<double>(s.batch * op.conv_shape[1] * op.conv_shape[2] * weights);
  const double f = median(forward), w = median(weights_only), d = median(both) - w;
  std::printf(
      "%-8s  pack %7.3f ms  forward %7.3f ms %6.1f GF/s %3.0f %%  weights %7.3f ms %6.1f GF/s %3.0f %%  data %7.3f ms "
      "%6.1f GF/s %3.0f %%\n",
      s.name, median(pack) * 1e3, f * 1e3, gflop / f, gflop / f / peak * 100, w * 1e3, gflop / w,
      gflop / w / peak * 100, d * 1e3, gflop / d, gflop / d / peak * 100);
}

#if defined(BENCH_OPENBLAS)
double sgemm(int threads, int rounds) {
  constexpr int kSize = 1536;
  const Floats a = filled(kSize * kSize), b = filled(kSize * kSize), c(kSize * kSize);
  openblas_set_num_threads(threads);
  std::vector<double> times;
  for (int i = 0; i < rounds + 1; ++i) {
    const double t = time_of([&] {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, kSize, kSize, kSize, 1, a.data(), kSize, b.data(), kSize,
                  0, c.data(), kSize);
    });
    if (i > 0) times.push_back(t);
  }
  return 2e-9 * kSize * kSize * kSize / median(times);
}
#endif

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 15;
  const std::string only = argc > 2 ? argv[2] : "";
  char name[128];
  device_name(name, sizeof name);
  std::printf("%s, %u cores; medians of %d rounds; %% of the FMA peak\n", name, available_cores(), rounds);
  for (uint32_t threads = 1; threads <= available_cores(); threads *= 2) {
    ThreadPool pool(threads);
#if defined(BENCH_OPENBLAS)
    std::printf("threads %u  OpenBLAS sgemm 1536^3 %.1f GF/s\n", threads, sgemm(static_cast<int>(threads), rounds));
#endif
    for (int32_t set = ADN_INSTRUCTION_SET_AVX512; set >= ADN_INSTRUCTION_SET_BASELINE; --set) {
      if (!has_instruction_set(set)) continue;
      const Kernels& kernels = kernels_for(set);
      const double peak = fma_peak(pool, kernels, rounds);
      std::printf("threads %u  %s  micro-kernel in cache %.1f GF/s\n", threads, instruction_set_name(set), peak);
      for (const Shape& shape : kShapes) {
        if (only.empty() || only == shape.name) bench(shape, pool, kernels, rounds, peak);
      }
    }
  }
  return 0;
}
