// Each pass of a convolution in GFLOP/s, for each shape, instruction set and number of threads, and the reference network's whole
// training step, beside the machine's measured peaks and, where installed, OpenBLAS's sgemm and oneDNN's passes.
//
//   bench_passes [rounds = 15] [shape] [threads] [instruction set: avx512, avx2 or baseline]
//
// Passes are timed in turn, round by round, and medians are printed, as Markdown. A backward pass without the gradient by the
// input is that of the weights; the gradient by the input is the difference to the whole. The forward pass includes bias, ReLU
// and pool, the backward passes those of ReLU and pool; oneDNN's columns are of the bare convolution. oneDNN takes the best
// instruction set that it finds.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "cpu/conv.h"
#include "cpu/features.h"
#include "fma.h"
#include "neighbours.h"
#include "reference_step.h"
#include "timing.h"

using namespace adn::cpu;
using bench::median;
using bench::Shape;
using bench::time_of;

namespace {

// The reference network's four layers, and the others that a sensible network has.
constexpr Shape kShapes[] = {
    {"conv1", 64, 1, 28, 28, 32, 5, 1, 0, 2},   {"conv2", 64, 32, 12, 12, 64, 5, 1, 0, 2},
    {"fc1", 64, 64, 4, 4, 512, 4, 1, 0, 0},     {"fc2", 64, 512, 1, 1, 10, 1, 1, 0, 0},
    {"vgg32", 64, 32, 32, 32, 32, 3, 1, 1, 2},  {"vgg64", 64, 64, 16, 16, 64, 3, 1, 1, 2},
    {"vgg128", 64, 128, 8, 8, 128, 3, 1, 1, 2}, {"stride2", 64, 32, 32, 32, 64, 3, 2, 1, 0},
    {"1x1", 64, 64, 16, 16, 128, 1, 1, 0, 0},   {"11x11s4", 64, 3, 96, 96, 64, 11, 4, 0, 0},
    {"fc784", 64, 784, 1, 1, 512, 1, 1, 0, 0},
};

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

// Operations a second of multiply-adds in registers, on all threads.
double fma_peak(ThreadPool& pool, int32_t instruction_set, int rounds) {
  double flops = 0;
  const double time = bench::median_time(rounds, [&] {
    std::vector<double> done(pool.size());
    pool.run(pool.size(), [&](int64_t task, uint32_t) { done[task] = bench::run_fma(instruction_set, 500000); });
    flops = 0;
    for (double one : done) flops += one;
  });
  return flops / time;
}

// The same of a matrix product whose operands stay in the first-level cache: nothing but the micro-kernel.
double kernel_peak(ThreadPool& pool, const Kernels& kernels, int rounds) {
  constexpr int64_t kDepth = 96, kRows = 12, kRepeats = 4000;
  const int64_t tasks = pool.size();
  const int64_t thread_floats = kDepth * (kRows + kernels.panel) + kRows * kernels.panel;
  const Floats memory = filled(static_cast<uint64_t>(tasks * thread_floats));
  int64_t rows[kRows];
  const int64_t segment = 0;
  for (int64_t i = 0; i < kRows; ++i) rows[i] = i * kDepth;
  const double time = bench::median_time(rounds, [&] {
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
  });
  return 2.0 * static_cast<double>(tasks * kDepth * kRows * kernels.panel * kRepeats) / time;
}

// Bytes a second of a copy that no cache holds, counting what is read and what is written.
double copy_rate(ThreadPool& pool, int rounds) {
  constexpr uint64_t kBytes = uint64_t{1} << 28;
  const Floats from = filled(kBytes / sizeof(float)), to(kBytes / sizeof(float));
  const uint64_t part = kBytes / pool.size();
  return 2.0 * kBytes / bench::median_time(rounds, [&] {
           pool.run(pool.size(), [&](int64_t task, uint32_t) {
             const uint64_t at = static_cast<uint64_t>(task) * part / sizeof(float);
             std::memcpy(to.data() + at, from.data() + at, part);
           });
         });
}

// Other libraries' threads go on spinning for a while after their last job, and would take the cores away.
void let_others_sleep() { std::this_thread::sleep_for(std::chrono::milliseconds(200)); }

void bench_shape(const Shape& s, ThreadPool& pool, const Kernels& kernels, int rounds, double peak) {
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
  std::vector<double> data;
  for (size_t i = 0; i < both.size(); ++i) data.push_back(both[i] - weights_only[i]);
  const bench::PassTimes dnnl = bench::dnnl_passes(s, static_cast<int>(pool.size()), rounds);
  let_others_sleep();
  const double gflop = 2e-9 * static_cast<double>(s.batch * op.conv_shape[1] * op.conv_shape[2] * weights);
  const auto print = [&](const char* pass, double time, double neighbour) {
    std::printf("| %s | %s | %.3f | %.1f | %.0f %% | ", s.name, pass, time * 1e3, gflop / time,
                gflop / time * 1e11 / peak);
    std::printf(neighbour > 0 ? "%.1f |\n" : " |\n", gflop / neighbour);
  };
  print("forward", median(forward), dnnl.forward);
  print("data", median(data), dnnl.data);
  print("weights", median(weights_only), dnnl.weights);
  std::printf("| %s | packing of weights | %.3f | | | |\n", s.name, median(pack) * 1e3);
}

void bench_step(uint64_t batch, uint32_t threads, int32_t instruction_set, int rounds, double peak) {
  bench::ReferenceStep step(batch, threads, instruction_set);
  for (int i = 0; i < 5; ++i) step.run();
  const double time = bench::median_time(5 * rounds, [&] { step.run(); });
  std::printf("| whole step, batch %u | Adadelta included | %.3f | %.1f | %.0f %% | |\n", static_cast<unsigned>(batch),
              time * 1e3, step.flops() / time * 1e-9, step.flops() / time / peak * 100);
}

const char* option_name(int32_t instruction_set) {
  return instruction_set == ADN_INSTRUCTION_SET_AVX512 ? "avx512"
         : instruction_set == ADN_INSTRUCTION_SET_AVX2 ? "avx2"
                                                       : "baseline";
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 15;
  const std::string only = argc > 2 ? argv[2] : "";
  const uint32_t only_threads = argc > 3 ? static_cast<uint32_t>(std::atoi(argv[3])) : 0;
  const std::string only_set = argc > 4 ? argv[4] : "";
  char name[128];
  device_name(name, sizeof name);
  std::printf("%s, %u cores; medians of %d rounds\n", name, available_cores(), rounds);
  for (uint32_t threads = 1; threads <= available_cores(); threads *= 2) {
    if (only_threads != 0 && threads != only_threads) continue;
    ThreadPool pool(threads);
    const double sgemm = bench::sgemm_rate(static_cast<int>(threads), rounds);
    let_others_sleep();
    std::printf("\nThreads %u: copy %.1f GB/s, OpenBLAS sgemm 1536^3 %.1f GFLOP/s\n", threads,
                copy_rate(pool, rounds) * 1e-9, sgemm * 1e-9);
    for (int32_t set = ADN_INSTRUCTION_SET_AVX512; set >= ADN_INSTRUCTION_SET_BASELINE; --set) {
      if (!has_instruction_set(set) || (!only_set.empty() && only_set != option_name(set))) continue;
      const Kernels& kernels = kernels_for(set);
      const double peak = fma_peak(pool, set, rounds);
      std::printf("\nThreads %u, %s: FMA peak %.1f GFLOP/s, micro-kernel in cache %.1f\n\n", threads,
                  instruction_set_name(set), peak * 1e-9, kernel_peak(pool, kernels, rounds) * 1e-9);
      std::puts(
          "| shape | pass | ms | GFLOP/s | of the peak | oneDNN GFLOP/s |\n| --- | --- | ---: | ---: | ---: | ---: |");
      for (const Shape& shape : kShapes) {
        if (only.empty() || only == shape.name) bench_shape(shape, pool, kernels, rounds, peak);
      }
      if (only.empty() || only == "step") bench_step(64, threads, set, rounds, peak);
    }
  }
  return 0;
}
