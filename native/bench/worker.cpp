// What tests/Adadelta.Benchmarks measures beside C#, with the same protocol: "ready", then for every line with a number of
// milliseconds that is read, milliseconds a step over about that time.
//
//   bench_worker train BATCH THREADS      a training step of the reference network through the C ABI
//   bench_worker loop ELEMENTS THREADS    Adadelta in one hand-written loop over one array: what 28 bytes a parameter cost
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "adadelta/adadelta.h"

namespace {

void check(adn_status status) {
  if (status == ADN_STATUS_OK) return;
  std::fprintf(stderr, "%s: %s\n", adn_status_name(status), adn_last_error());
  std::exit(1);
}

double now() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class Step>
double measure(double milliseconds, const Step& step) {
  const double start = now();
  double steps = 0;
  do {
    step();
    ++steps;
  } while (now() - start < milliseconds);
  return (now() - start) / steps;
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

adn_layer layer(int32_t kind, uint64_t out = 0, uint64_t kernel = 1) {
  adn_layer layer;
  check(adn_layer_init(&layer, sizeof layer, kind));
  layer.out_features = out;
  layer.kernel[0] = layer.kernel[1] = kernel;
  return layer;
}

int train(uint64_t batch, uint32_t threads) {
  constexpr uint64_t kImage = 28 * 28, kClasses = 10, kImageBatches = 4, kLabelBatches = 61;
  adn_context_options context_options;
  check(adn_context_options_init(&context_options, sizeof context_options));
  context_options.device_type = ADN_DEVICE_CPU;
  context_options.thread_count = threads;
  adn_context* context;
  check(adn_context_create(&context, &context_options));
  const adn_layer layers[] = {layer(ADN_LAYER_CONV2D, 32, 5), layer(ADN_LAYER_MAXPOOL2D, 0, 2), layer(ADN_LAYER_RELU),
                              layer(ADN_LAYER_CONV2D, 64, 5), layer(ADN_LAYER_MAXPOOL2D, 0, 2), layer(ADN_LAYER_RELU),
                              layer(ADN_LAYER_FLATTEN),       layer(ADN_LAYER_LINEAR, 512),     layer(ADN_LAYER_RELU),
                              layer(ADN_LAYER_LINEAR, 10)};
  adn_network_options options;
  check(adn_network_options_init(&options, sizeof options));
  options.input_shape[0] = 1;
  options.input_shape[1] = options.input_shape[2] = 28;
  options.max_batch_size = batch;
  adn_network* network;
  check(adn_network_create(&network, context, layers, std::size(layers), &options));
  adn_network_info info = {};
  info.struct_size = sizeof info;
  check(adn_network_get_info(&info, network));
  std::vector<adn_tensor*> values(info.parameter_count), gradients(info.parameter_count);
  for (uint64_t i = 0; i < info.parameter_count; ++i) {
    check(adn_network_get_parameter(&values[i], &gradients[i], nullptr, network, i));
  }
  adn_adadelta_options adadelta;
  check(adn_adadelta_options_init(&adadelta, sizeof adadelta));
  adadelta.lr = 0.1;
  adn_adadelta* optimizer;
  check(adn_adadelta_create(&optimizer, context, &adadelta));
  check(adn_adadelta_add_group(nullptr, optimizer, values.data(), gradients.data(), values.size(), nullptr));

  std::vector<uint32_t> bits(kImageBatches * batch * kImage + kLabelBatches * batch);
  check(adn_random_bits(bits.data(), bits.size(), 1, 0, 0));
  std::vector<float> images;
  for (uint64_t i = 0; i < kImageBatches * batch * kImage; ++i)
    images.push_back(static_cast<float>(bits[i] >> 8) * 0x1p-24f);
  std::vector<int32_t> labels;
  for (uint64_t i = images.size(); i < bits.size(); ++i) labels.push_back(static_cast<int32_t>(bits[i] % kClasses));

  uint64_t steps = 0;
  const int result = serve([&] {
    float loss;
    check(adn_network_train_step(&loss, network, optimizer, &images[steps % kImageBatches * batch * kImage],
                                 batch * kImage, &labels[steps % kLabelBatches * batch], batch));
    ++steps;
  });
  adn_adadelta_destroy(optimizer);
  for (adn_tensor* tensor : values) adn_tensor_destroy(tensor);
  for (adn_tensor* tensor : gradients) adn_tensor_destroy(tensor);
  adn_network_destroy(network);
  adn_context_destroy(context);
  return result;
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
  if (what == "train") return train(std::strtoull(argv[2], nullptr, 10), static_cast<uint32_t>(std::atoi(argv[3])));
  if (what == "loop") return loop(std::atoll(argv[2]), std::atoi(argv[3]));
  std::fputs("expected: train BATCH THREADS, or loop ELEMENTS THREADS\n", stderr);
  return 2;
}
