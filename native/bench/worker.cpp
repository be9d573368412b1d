// What tests/Adadelta.Benchmarks measures beside C#, with the same protocol: "ready", then for every line with a number of
// milliseconds that is read, milliseconds a step over about that time.
//
//   bench_worker train BATCH THREADS      a training step of the reference network through the C ABI
//   bench_worker loop ELEMENTS THREADS    Adadelta in one hand-written loop over one array: what 28 bytes a parameter cost
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "reference_step.h"
#include "timing.h"

namespace {

template <class Step>
double measure(double milliseconds, const Step& step) {
  const double start = bench::now();
  double steps = 0;
  do {
    step();
    ++steps;
  } while ((bench::now() - start) * 1e3 < milliseconds);
  return (bench::now() - start) * 1e3 / steps;
}

template <class Step>
int serve(const Step& step) {
  step();
  std::puts("ready");
  std::fflush(stdout);
  for (char line[64]; std::fgets(line, sizeof line, stdin) != nullptr && line[0] != '\n';) {
    const double milliseconds = std::atof(line);
    measure(milliseconds / 4, step);
    std::printf("%.9g\n", measure(milliseconds, step));
    std::fflush(stdout);
  }
  return 0;
}

int loop(int64_t count, [[maybe_unused]] int threads) {
  const std::unique_ptr<float[]> p(new float[count]), g(new float[count]), v(new float[count]), u(new float[count]);
  const float lr = 0.1f, rho = 0.9f, rest = 0.1f, eps = 1e-6f;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < count; ++i) {
    p[i] = 0.5f;
    g[i] = static_cast<float>(i % 13 - 6) * 0.01f;
    v[i] = u[i] = 1e-4f;
  }
  return serve([&] {
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (int64_t i = 0; i < count; ++i) {
      const float square = rho * v[i] + rest * g[i] * g[i];
      const float delta = std::sqrt(u[i] + eps) / std::sqrt(square + eps) * g[i];
      v[i] = square;
      u[i] = rho * u[i] + rest * delta * delta;
      p[i] -= lr * delta;
    }
  });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc == 4 ? argv[1] : "";
  if (what == "train") {
    bench::ReferenceStep step(std::strtoull(argv[2], nullptr, 10), static_cast<uint32_t>(std::atoi(argv[3])),
                              ADN_INSTRUCTION_SET_AUTO);
    return serve([&] { step.run(); });
  }
  if (what == "loop") return loop(std::atoll(argv[2]), std::atoi(argv[3]));
  std::fputs("expected: train BATCH THREADS, or loop ELEMENTS THREADS\n", stderr);
  return 2;
}
