// The CUDA backend as a program meets it: loaded by the library through ADADELTA_BACKEND_PATH, on the simulator, and held
// against the CPU backend.
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>

#include "core/float16.h"
#include "runtime.h"
#include "support.h"

namespace adadelta::test {
namespace {

// Both backends compute in float32 and add in other orders. One pass differs by a few roundings of the longest sum; a step
// of Adadelta divides by the gradient's own size, so where a gradient is nearly 0 its relative error is carried to the
// parameter in full. What is compared are whole tensors by norm.
constexpr double kPassTolerance = 2e-6, kStepTolerance = 1e-4;

adn_context_options cuda_options() {
  adn_context_options options;
  check(adn_context_options_init(&options, sizeof options));
  options.device_type = ADN_DEVICE_CUDA;
  return options;
}

Context make_cuda(const adn_context_options& options = cuda_options()) {
  adn_context* context = nullptr;
  check(adn_context_create(&context, &options));
  return Context(context);
}

Context make_with_own_kernels() {
  adn_context_options options = cuda_options();
  options.cuda_own_kernels = 1;
  return make_cuda(options);
}

// cuDNN gives the same bits each time only where that is asked for.
adn_context_options deterministic_options() {
  adn_context_options options = cuda_options();
  options.cuda_deterministic = 1;
  return options;
}

Context make_without_graph() {
  adn_context_options options = deterministic_options();
  options.cuda_no_graph = 1;
  return make_cuda(options);
}

// The tests also run where the backend finds none of NVIDIA's libraries.
bool have_libraries() { return std::getenv("ADADELTA_CUDA_LIBRARY_PATH") == nullptr; }

adn_context_info info_of(const Context& context) {
  adn_context_info info;
  info.struct_size = sizeof info;
  check(adn_context_get_info(&info, context.get()));
  return info;
}

// Every kind of layer, and every way in which the plan puts them together.
Layers every_layer() {
  return Layers({2, 13, 11})
      .conv(5, {3, 2}, {2, 1}, {1, 0}, {1, 2})
      .relu()
      .max_pool(2)
      .relu()
      .dropout(0.25f)
      .conv(6, 3, 1, 1, 1, 0)
      .max_pool(3, 1, 1)
      .relu()
      .avg_pool(2, 1, 1)
      .flatten()
      .linear(17)
      .relu()
      .dropout(0.5f)
      .linear(10);
}

struct Pass {
  Floats logits, evaluated, input_gradient;
  float loss;
  std::vector<Floats> gradients, activations;
};

Pass run_pass(adn_context* context, const Layers& layers, const Floats& input, const std::vector<int32_t>& labels) {
  Network network(context, layers);
  Pass pass;
  pass.evaluated = network.forward(input, ADN_MODE_EVALUATE);
  pass.logits = network.forward(input);
  for (uint64_t i = 0; i < network.info().layer_count; ++i) {
    if (network.layer(i).has_activation != 0) pass.activations.push_back(network.activation(i));
  }
  pass.loss = network.loss(labels);
  network.backward();
  pass.gradients = network.gradients();
  pass.input_gradient = network.input_gradient();
  return pass;
}

void expect_text(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) EXPECT_NE(std::string::npos, text.find(part)) << part << " in: " << text;
}

TEST(CudaBackend, TellsItsDeviceAndVersions) {
  const char* reason = nullptr;
  check(adn_backend_reason(&reason, "cuda"));
  EXPECT_STREQ("", reason);
  const adn_context_info info = info_of(make_cuda());
  EXPECT_EQ(ADN_DEVICE_CUDA, info.device_type);
  EXPECT_STREQ("CUDA simulator", info.device_name);
  EXPECT_STREQ("sm_70", info.instruction_set_name);
  EXPECT_NE(std::string::npos, std::string(info.libraries).find("CUDA runtime 11.8, driver for CUDA 11.8"))
      << info.libraries;
  if (have_libraries()) {
    EXPECT_EQ(130002, info.cublas_version);
    EXPECT_EQ(90100, info.cudnn_version);
    expect_text(info.libraries, {"; cuBLAS 13.0.2; cuDNN 9.1.0"});
  } else {
    EXPECT_EQ(0, info.cublas_version);
    EXPECT_EQ(0, info.cudnn_version);
    expect_text(info.libraries, {"; cuDNN not used: libcudnn.so.9: cannot open shared object file", "libcudnn.so.8: "});
    expect_text(info.libraries, {"; cuBLAS not used: libcublas.so.13: cannot open shared object file",
                                 "libcublas.so.12: ", "libcublas.so.11: "});
  }
  adn_context_options options = cuda_options();
  options.device_type = ADN_DEVICE_AUTO;
  EXPECT_EQ(ADN_DEVICE_CUDA, info_of(make_cuda(options)).device_type);
}

TEST(CudaBackend, SaysWhyItCannotBeUsed) {
  cudasim::set_device_count(0);
  const char* reason = nullptr;
  const adn_status status = adn_backend_reason(&reason, "cuda");
  const adn_context_options options = cuda_options();
  adn_context* context = nullptr;
  expect_failure(ADN_STATUS_UNSUPPORTED, adn_context_create(&context, &options), {"no CUDA device was found"});
  adn_context_options any = options;
  any.device_type = ADN_DEVICE_AUTO;
  EXPECT_EQ(ADN_DEVICE_CPU, info_of(make_cuda(any)).device_type);
  cudasim::set_device_count(1);
  check(status);
  EXPECT_STREQ("no CUDA device was found", reason);
}

// Only what works is taken where nobody insists.
void expect_unusable(const std::string& why) {
  const char* reason = nullptr;
  check(adn_backend_reason(&reason, "cuda"));
  EXPECT_EQ(why, reason);
  const adn_context_options options = cuda_options();
  adn_context* context = nullptr;
  expect_failure(ADN_STATUS_UNSUPPORTED, adn_context_create(&context, &options), {why});
  adn_context_options any = options;
  any.device_type = ADN_DEVICE_AUTO;
  EXPECT_EQ(ADN_DEVICE_CPU, info_of(make_cuda(any)).device_type);
}

TEST(CudaBackend, RefusesAGpuThatTheKernelsWereNotCompiledFor) {
  cudasim::set_architecture(61);
  expect_unusable("a GPU of compute capability 6.1, expected 7.0 or later");
  cudasim::set_architecture(70);
}

TEST(CudaBackend, RefusesADriverThatLacksWhatItNeeds) {
  cudasim::set_driver(false);
  expect_unusable("NVIDIA's driver has no cuDeviceGet that fits CUDA 11.8");
  cudasim::set_driver(true);
}

TEST(CudaBackend, RefusesADeviceThatIsNotThere) {
  adn_context_options options = cuda_options();
  options.device_index = 1;
  adn_context* context = nullptr;
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_context_create(&context, &options),
                 {"options.device_index: 1", "device_index < 1"});
}

TEST(CudaBackend, TensorsAreZeroedFilledCopiedAndCounted) {
  const Context context = make_cuda();
  EXPECT_EQ(0u, info_of(context).memory_bytes);
  {
    const Tensor a = make_tensor(context.get(), {3, 1000}), b = make_tensor(context.get(), {7});
    expect_equal(Floats(3000, 0.0f), read(a.get()), "zeros");
    check(adn_tensor_fill(a.get(), 2.5f));
    expect_equal(Floats(3000, 2.5f), read(a.get()), "filled");
    write(b.get(), {1, 2, 3, 4, 5, 6, 7});
    expect_equal(Floats({1, 2, 3, 4, 5, 6, 7}), read(b.get()), "written");
    EXPECT_GE(info_of(context).memory_bytes, 3007 * sizeof(float));
  }
  EXPECT_EQ(0u, info_of(context).memory_bytes);
  EXPECT_GE(info_of(context).memory_peak_bytes, 3007 * sizeof(float));
}

TEST(CudaBackend, MemoryIsUsedAgain) {
  const Context context = make_cuda();
  const auto round = [&] {
    std::vector<Tensor> tensors;
    for (uint64_t i = 1; i <= 40; ++i) tensors.push_back(make_tensor(context.get(), {i * 997}));
    for (size_t i = 0; i < tensors.size(); i += 2) tensors[i].reset();
    for (uint64_t i = 1; i <= 20; ++i) tensors.push_back(make_tensor(context.get(), {i * 499}));
    for (const Tensor& tensor : tensors) {
      if (tensor) expect_equal(Floats(read(tensor.get()).size(), 0.0f), read(tensor.get()), "zeros");
      if (tensor) check(adn_tensor_fill(tensor.get(), 1.0f));
    }
  };
  round();
  const uint64_t allocated = cudasim::counts().device_bytes;
  for (int i = 0; i < 5; ++i) round();
  EXPECT_EQ(allocated, cudasim::counts().device_bytes);
  EXPECT_EQ(0u, info_of(context).memory_bytes);
}

TEST(CudaBackend, MoreMemoryThanThereIsIsRefusedAndLosesNothing) {
  const Context context = make_cuda();
  const Tensor before = make_tensor(context.get(), {4});
  check(adn_tensor_fill(before.get(), 3.0f));
  adn_tensor* tensor = nullptr;
  const uint64_t shape[] = {uint64_t{1} << 40};
  expect_failure(ADN_STATUS_OUT_OF_MEMORY, adn_tensor_create(&tensor, context.get(), shape, 1), {"cudaMalloc"});
  expect_equal(Floats(4, 3.0f), read(before.get()), "before");
}

TEST(CudaBackend, EveryLayerAgreesWithTheCpu) {
  const Layers layers = every_layer();
  Random random(11);
  const Floats input = random.reals(9 * layers.input.count());
  const std::vector<int32_t> labels = random.labels(9, 7);
  const Context cpu = make_context(), cuda = make_cuda();
  const Pass expected = run_pass(cpu.get(), layers, input, labels);
  const Pass actual = run_pass(cuda.get(), layers, input, labels);
  expect_close(expected.evaluated, actual.evaluated, kPassTolerance, "evaluated logits");
  expect_close(expected.logits, actual.logits, kPassTolerance, "logits");
  ASSERT_EQ(expected.activations.size(), actual.activations.size());
  for (size_t i = 0; i < expected.activations.size(); ++i) {
    expect_close(expected.activations[i], actual.activations[i], kPassTolerance, "activation " + std::to_string(i));
  }
  EXPECT_NEAR(expected.loss, actual.loss, 2e-6 * static_cast<double>(expected.loss));
  for (size_t i = 0; i < expected.gradients.size(); ++i) {
    expect_close(expected.gradients[i], actual.gradients[i], kPassTolerance, "gradient " + std::to_string(i));
  }
  expect_close(expected.input_gradient, actual.input_gradient, kPassTolerance, "input gradient");
}

TEST(CudaBackend, BackwardTakesAGradientOfTheCallers) {
  const Layers layers = Layers({1, 6, 6}).conv(3, 3).relu().avg_pool(2).flatten().linear(4);
  Random random(12);
  const Floats input = random.reals(5 * 36), gradient = random.reals(5 * 4);
  const Context cpu = make_context(), cuda = make_cuda();
  Network expected(cpu.get(), layers), actual(cuda.get(), layers);
  for (Network* network : {&expected, &actual}) {
    network->forward(input);
    network->backward(gradient);
  }
  for (uint64_t i = 0; i < expected.parameter_count(); ++i) {
    expect_close(expected.gradients()[i], actual.gradients()[i], kPassTolerance, expected.name(i));
  }
}

// ---- Training ----

struct Images {
  Shape shape;
  std::vector<uint8_t> pixels, labels;
  uint64_t count() const { return labels.size(); }
};

// Images of ten kinds, each a bright block at a place of its own in noise, so that there is something to learn.
Images make_images(uint64_t count, Shape shape = {1, 28, 28}) {
  Random random(21);
  Images images{shape, {}, {}};
  for (uint64_t n = 0; n < count; ++n) {
    const uint64_t label = random.integer(0, 9);
    images.labels.push_back(static_cast<uint8_t>(label));
    for (uint64_t c = 0; c < shape.channels; ++c) {
      for (uint64_t y = 0; y < shape.height; ++y) {
        for (uint64_t x = 0; x < shape.width; ++x) {
          const bool inside = y * 2 / shape.height == label / 5 && x * 5 / shape.width == label % 5;
          images.pixels.push_back(static_cast<uint8_t>(random.integer(0, 90) + (inside ? 160 : 0)));
        }
      }
    }
  }
  return images;
}

// A network in training on a data set of its context's.
struct Training {
  Training(adn_context* context, const Layers& layers, const Images& images, const AdadeltaSettings& settings = {},
           const NetworkSettings& network_settings = {})
      : network(context, layers, network_settings),
        optimizer(make_optimizer(context, network, settings)),
        context_(context) {
    load(images);
  }
  void load(const Images& images) {
    const uint64_t shape[] = {images.shape.channels, images.shape.height, images.shape.width};
    adn_dataset* made = nullptr;
    check(adn_dataset_create(&made, context_, images.pixels.data(), images.pixels.size(), images.labels.data(),
                             images.count(), shape));
    dataset.reset(made);
  }
  // Steps over the whole set in order; the losses are read at the end.
  Floats epoch(uint64_t count, uint64_t batch) {
    uint64_t steps = 0;
    for (uint64_t first = 0; first < count; first += batch, ++steps) step(first, std::min(batch, count - first));
    Floats losses(steps);
    check(adn_network_read_losses(losses.data(), steps, network.get()));
    return losses;
  }
  void step(uint64_t first, uint64_t count) {
    std::vector<uint32_t> indices(count);
    for (uint64_t i = 0; i < count; ++i) indices[i] = static_cast<uint32_t>(first + i);
    check(
        adn_network_train_step_dataset(nullptr, network.get(), optimizer.get(), dataset.get(), indices.data(), count));
  }
  void set_lr(double lr) {
    adn_adadelta_options options;
    options.struct_size = sizeof options;
    check(adn_adadelta_get_options(&options, optimizer.get(), 0));
    options.lr = lr;
    check(adn_adadelta_set_options(optimizer.get(), 0, &options));
  }

  Network network;
  OptimizerHandle optimizer;
  Dataset dataset;

 private:
  adn_context* context_;
};

TEST(CudaBackend, TrainsTheReferenceNetworkAsTheCpuDoes) {
  const Images images = make_images(64);
  const Context cpu = make_context(), cuda = make_cuda();
  Training expected(cpu.get(), reference_network(), images), actual(cuda.get(), reference_network(), images);
  const std::vector<Floats> initial = expected.network.values();
  expect_same_bits(initial, actual.network.values(), "initial parameter");
  const Floats expected_losses = expected.epoch(64, 16), losses = actual.epoch(64, 16);
  expect_close(expected_losses, losses, kStepTolerance, "losses");
  for (uint64_t i = 0; i < expected.network.parameter_count(); ++i) {
    expect_close(expected.network.values()[i], actual.network.values()[i], kStepTolerance, expected.network.name(i));
  }
}

Layers small_network() {
  return Layers({1, 12, 12}).conv(4, 3).max_pool(2).relu().flatten().dropout(0.25f).linear(20).relu().linear(10);
}

TEST(CudaBackend, TrainsWithDropoutAsTheCpuDoes) {
  const Images images = make_images(256, {1, 12, 12});
  const Context cpu = make_context(), cuda = make_cuda();
  Training expected(cpu.get(), small_network(), images, {0.3}), actual(cuda.get(), small_network(), images, {0.3});
  expect_close(expected.epoch(256, 64), actual.epoch(256, 64), kStepTolerance, "losses");
  for (uint64_t i = 0; i < expected.network.parameter_count(); ++i) {
    expect_close(expected.network.values()[i], actual.network.values()[i], kStepTolerance, expected.network.name(i));
  }
}

TEST(CudaBackend, HostBatchesGiveTheBitsOfTheDataset) {
  const Images images = make_images(40, {1, 12, 12});
  const Context context = make_cuda(deterministic_options());
  Training expected(context.get(), small_network(), images);
  Network network(context.get(), small_network());
  const OptimizerHandle optimizer = make_optimizer(context.get(), network);
  const Floats losses = expected.epoch(40, 16);
  for (size_t step = 0; step < losses.size(); ++step) {
    const size_t first = step * 16, count = std::min<size_t>(16, 40 - first);
    Floats input;
    std::vector<int32_t> labels;
    for (size_t i = first; i < first + count; ++i) labels.push_back(images.labels[i]);
    for (size_t i = first * 144; i < (first + count) * 144; ++i) {
      input.push_back(static_cast<float>(images.pixels[i]) / 255.0f);
    }
    expect_same_bits({losses[step]}, Floats{network.train_step(optimizer.get(), input, labels)}, "loss");
  }
  expect_same_bits(expected.network.values(), network.values(), "parameter");
}

// ---- NVIDIA's libraries ----

using Calls = std::map<std::string, int>;
using Launches = std::map<std::string, uint64_t>;

Calls take_calls() {
  Calls calls;
  for (const std::string& record : cudasim::take_records()) ++calls[record];
  return calls;
}

// How often each thing was asked of them in one training step.
Calls library_calls(const adn_context_options& options, const Layers& layers) {
  const Images images = make_images(8, layers.input);
  const Context context = make_cuda(options);
  Training training(context.get(), layers, images);
  take_calls();
  training.step(0, 8);
  return take_calls();
}

// every_layer has two convolutions and two linear layers, each with three products.
const Calls& with_cublas(Calls& calls, const char* math = "float32") {
  calls[std::string("cublasSgemm ") + math] = 6;
  return calls;
}

TEST(CudaLibraries, ComputeEveryProductInStrictFloat32) {
  if (!have_libraries()) GTEST_SKIP() << "there are no libraries here";
  Calls expected = {{"cudnnConvolutionForward float32 algorithm 1", 2},
                    {"cudnnConvolutionBackwardFilter float32 algorithm 3", 2},
                    {"cudnnConvolutionBackwardData float32 algorithm 0", 2}};
  EXPECT_EQ(with_cublas(expected), library_calls(cuda_options(), every_layer()));
}

TEST(CudaLibraries, UseTf32WhereItIsAllowed) {
  if (!have_libraries()) GTEST_SKIP() << "there are no libraries here";
  adn_context_options options = cuda_options();
  options.cuda_tf32 = 1;
  Calls expected = {{"cudnnConvolutionForward tf32 algorithm 1", 2},
                    {"cudnnConvolutionBackwardFilter tf32 algorithm 3", 2},
                    {"cudnnConvolutionBackwardData tf32 algorithm 0", 2}};
  EXPECT_EQ(with_cublas(expected, "tf32"), library_calls(options, every_layer()));
}

TEST(CudaLibraries, TakeDeterministicAlgorithmsWhereTheyAreAskedFor) {
  if (!have_libraries()) GTEST_SKIP() << "there are no libraries here";
  Calls expected = {{"cudnnConvolutionForward float32 algorithm 1", 2},
                    {"cudnnConvolutionBackwardFilter float32 algorithm 1", 2},
                    {"cudnnConvolutionBackwardData float32 algorithm 1", 2}};
  EXPECT_EQ(with_cublas(expected), library_calls(deterministic_options(), every_layer()));
  // Else the same work gives other bits, so the tests that compare bits see the difference.
  const Images images = make_images(8, {1, 12, 12});
  const Context context = make_cuda();
  Training first(context.get(), small_network(), images), second(context.get(), small_network(), images);
  first.step(0, 8);
  second.step(0, 8);
  EXPECT_NE(first.network.gradients(), second.network.gradients());
}

TEST(CudaLibraries, StayWithinTheWorkspaceLimit) {
  if (!have_libraries()) GTEST_SKIP() << "there are no libraries here";
  adn_context_options options = cuda_options();
  options.cuda_workspace_limit = 1;
  Calls least = {{"cudnnConvolutionForward float32 algorithm 0", 2},
                 {"cudnnConvolutionBackwardFilter float32 algorithm 0", 2},
                 {"cudnnConvolutionBackwardData float32 algorithm 0", 2}};
  EXPECT_EQ(with_cublas(least), library_calls(options, every_layer()));
  options.cuda_workspace_limit = uint64_t{65} << 20;
  EXPECT_EQ(2, library_calls(options, every_layer())["cudnnConvolutionForward float32 algorithm 4"]);
}

TEST(CudaLibraries, MeasureOnRequestAndOnceForAShape) {
  if (!have_libraries()) GTEST_SKIP() << "there are no libraries here";
  adn_context_options options = cuda_options();
  options.cuda_search = 1;
  const Images images = make_images(64, every_layer().input);
  const Context context = make_cuda(options);
  take_calls();
  Training training(context.get(), every_layer(), images);
  EXPECT_EQ((Calls{{"cudnnFind", 6}}), take_calls());
  training.step(0, 64);
  Calls expected = {{"cudnnConvolutionForward float32 algorithm 0", 2},
                    {"cudnnConvolutionBackwardFilter float32 algorithm 1", 2},
                    {"cudnnConvolutionBackwardData float32 algorithm 1", 2}};
  EXPECT_EQ(with_cublas(expected), take_calls());
  const Network again(context.get(), every_layer());
  EXPECT_EQ(Calls(), take_calls());
}

TEST(CudaLibraries, LeaveToTheOwnKernelsWhatTheyCannotDo) {
  adn_context_options options = deterministic_options();
  options.cuda_workspace_limit = 1;
  const Layers layers = every_layer();
  Random random(14);
  const Floats input = random.reals(9 * layers.input.count());
  const std::vector<int32_t> labels = random.labels(9, 7);
  const Context cpu = make_context(), cuda = make_cuda(options);
  take_calls();
  const Pass expected = run_pass(cpu.get(), layers, input, labels),
             actual = run_pass(cuda.get(), layers, input, labels);
  const Calls calls = take_calls();
  expect_close(expected.logits, actual.logits, kPassTolerance, "logits");
  for (size_t i = 0; i < expected.gradients.size(); ++i) {
    expect_close(expected.gradients[i], actual.gradients[i], kPassTolerance, "gradient " + std::to_string(i));
  }
  if (!have_libraries()) return;
  EXPECT_EQ(1u, calls.count("cudnnConvolutionForward float32 algorithm 0"));
  for (const auto& [call, count] : calls) EXPECT_EQ(std::string::npos, call.find("Backward")) << call;
  expect_text(info_of(cuda).libraries, {"; cuDNN 9.1.0, not for all layers: no algorithm"});
}

// cuDNN aborts the process when it misses one of its parts.
TEST(CudaLibraries, AMissingPartIsAReason) {
  const char* folder = std::getenv("ADADELTA_CUDA_LIBRARY_PATH");
  if (folder == nullptr || std::string(folder).find("missing_part") == std::string::npos) {
    GTEST_SKIP() << "no part is missing here";
  }
  EXPECT_EQ(Calls(), library_calls(cuda_options(), small_network()));
  const adn_context_info info = info_of(make_cuda());
  EXPECT_EQ(0, info.cudnn_version);
  expect_text(info.libraries,
              {"; cuDNN not used: libcudnn_cnn.so.9: cannot open shared object file", "libcudnn.so.8: "});
}

TEST(CudaLibraries, AreLeftAloneWhereTheOwnKernelsAreAskedFor) {
  adn_context_options options = cuda_options();
  options.cuda_own_kernels = 1;
  EXPECT_EQ(Calls(), library_calls(options, small_network()));
  const adn_context_info info = info_of(make_with_own_kernels());
  EXPECT_EQ(0, info.cublas_version);
  EXPECT_EQ(0, info.cudnn_version);
  expect_text(info.libraries, {"; cuBLAS not used: only the own kernels were asked for",
                               "; cuDNN not used: only the own kernels were asked for"});
}

// TF32 keeps 10 bits of a number's 23.
TEST(CudaLibraries, Tf32RoundsOnlyWhereItIsAskedFor) {
  const Layers layers = every_layer();
  Random random(13);
  const Floats input = random.reals(9 * layers.input.count());
  const std::vector<int32_t> labels = random.labels(9, 7);
  adn_context_options options = cuda_options();
  options.cuda_tf32 = 1;
  const Context cpu = make_context(), tf32 = make_cuda(options);
  const Pass expected = run_pass(cpu.get(), layers, input, labels),
             actual = run_pass(tf32.get(), layers, input, labels);
  expect_close(expected.logits, actual.logits, 2e-3, "logits");
  for (size_t i = 0; i < expected.gradients.size(); ++i) {
    expect_close(expected.gradients[i], actual.gradients[i], 5e-3, "gradient " + std::to_string(i));
  }
  if (have_libraries()) {
    EXPECT_GT(relative_error(expected.logits, actual.logits), kPassTolerance);
  }
}

TEST(CudaLibraries, GiveTheSameBitsEachTime) {
  const Images images = make_images(40, {1, 12, 12});
  const Context context = make_cuda(deterministic_options());
  Training first(context.get(), small_network(), images), second(context.get(), small_network(), images);
  expect_same_bits(first.epoch(40, 16), second.epoch(40, 16), "losses");
  expect_same_bits(first.network.values(), second.network.values(), "parameter");
}

// ---- Graphs and waiting ----

TEST(CudaBackend, GraphsGiveTheSameBitsThroughChangesOfLrAndBatch) {
  const Images images = make_images(40, {1, 12, 12});
  const Context with = make_cuda(deterministic_options()), without = make_without_graph();
  Training graph(with.get(), small_network(), images), plain(without.get(), small_network(), images);
  const uint64_t before = cudasim::counts().graph_launches;
  for (const double lr : {1.0, 0.5, 0.0, 2.0}) {
    for (Training* training : {&graph, &plain}) training->set_lr(lr);
    expect_same_bits(plain.epoch(40, 16), graph.epoch(40, 16), "losses");
  }
  expect_same_bits(plain.network.values(), graph.network.values(), "parameter");
  // 4 epochs of 2 whole batches and one of 8; the first of each kind is not a graph yet.
  EXPECT_EQ(10u, cudasim::counts().graph_launches - before);
}

TEST(CudaBackend, AStepWithGraphIsOneLaunchAndDoesNotWait) {
  const Images images = make_images(16, {1, 12, 12});
  const Context context = make_cuda();
  Training training(context.get(), small_network(), images);
  for (int i = 0; i < 2; ++i) training.step(0, 16);
  check(adn_context_synchronize(context.get()));
  const cudasim::Counts before = cudasim::counts();
  constexpr uint64_t steps = 4;
  for (uint64_t i = 0; i < steps; ++i) training.step(0, 16);
  const cudasim::Counts after = cudasim::counts();
  EXPECT_EQ(steps, after.graph_launches - before.graph_launches);
  EXPECT_EQ(0u, after.synchronizations - before.synchronizations);
  EXPECT_EQ(before.device_allocations, after.device_allocations);
  EXPECT_EQ(before.host_allocations, after.host_allocations);
  // The context put on top and taken off; the batch's copy and event; the graph; the loss's copy.
  EXPECT_LE(after.calls - before.calls, steps * 8);
}

TEST(CudaBackend, AStepWithoutGraphDoesNotWait) {
  const Images images = make_images(16, {1, 12, 12});
  const Context context = make_without_graph();
  Training training(context.get(), small_network(), images);
  training.step(0, 16);
  check(adn_context_synchronize(context.get()));
  const cudasim::Counts before = cudasim::counts();
  for (int i = 0; i < 4; ++i) training.step(0, 16);
  const cudasim::Counts after = cudasim::counts();
  EXPECT_EQ(0u, after.graph_launches - before.graph_launches);
  EXPECT_EQ(0u, after.synchronizations - before.synchronizations);
}

// Not by the data set's handle, which the next one may have.
TEST(CudaBackend, AGraphIsKnownByTheMemoryThatItReads) {
  const Images images = make_images(16, {1, 12, 12});
  Images others = images;
  std::reverse(others.pixels.begin(), others.pixels.end());
  const Context with = make_cuda(deterministic_options()), without = make_without_graph();
  Training graph(with.get(), small_network(), images), plain(without.get(), small_network(), images);
  const auto steps = [&](uint64_t count) {
    const uint64_t before = cudasim::counts().graph_launches;
    for (uint64_t i = 0; i < count; ++i) {
      for (Training* training : {&graph, &plain}) training->step(0, 16);
    }
    expect_same_bits(plain.network.values(), graph.network.values(), "parameter");
    return cudasim::counts().graph_launches - before;
  };
  EXPECT_EQ(2u, steps(3));
  // In the place of the first, which the pool gives again.
  for (Training* training : {&graph, &plain}) {
    training->dataset.reset();
    training->load(others);
  }
  EXPECT_EQ(1u, steps(1));
  const Dataset former = std::move(graph.dataset);
  graph.load(images);
  plain.load(images);
  EXPECT_EQ(2u, steps(3));
}

// The counts of docs/cuda-model.md.
TEST(CudaBackend, LaunchesOfTheReferenceNetworksStep) {
  const Images images = make_images(64);
  const auto launches = [&](const adn_context_options& options) {
    const Context context = make_cuda(options);
    NetworkSettings settings;
    settings.input_gradient = 0;
    Training training(context.get(), reference_network(), images, {}, settings);
    check(adn_context_synchronize(context.get()));
    take_calls();
    const Launches before = cudasim::launches_by_file();
    training.step(0, 64);
    check(adn_context_synchronize(context.get()));
    Launches made = cudasim::launches_by_file();
    for (const auto& [file, count] : before) {
      if ((made[file] -= count) == 0) made.erase(file);
    }
    return made;
  };
  adn_context_options own = cuda_options();
  own.cuda_own_kernels = 1;
  Launches expected = {{"gather.cu", 1},    {"conv.cu", 18},         {"max_pool.cu", 4},
                       {"bias_relu.cu", 1}, {"bias_gradient.cu", 5}, {"softmax_cross_entropy.cu", 2},
                       {"adadelta.cu", 1}};
  EXPECT_EQ(expected, launches(own));
  if (!have_libraries()) return;
  expected.erase("conv.cu");
  expected["bias_relu.cu"] = 5;
  EXPECT_EQ(expected, launches(cuda_options()));
  uint64_t products = 0;
  for (const auto& [call, count] : take_calls()) products += static_cast<uint64_t>(count);
  EXPECT_EQ(11u, products);
}

TEST(CudaBackend, AnOptimizerMadeAnewIsSeenByTheGraph) {
  const Images images = make_images(16, {1, 12, 12});
  const Context with = make_cuda(deterministic_options()), without = make_without_graph();
  Training graph(with.get(), small_network(), images), plain(without.get(), small_network(), images);
  for (Training* training : {&graph, &plain}) {
    for (int i = 0; i < 3; ++i) training->step(0, 16);
    check(adn_adadelta_set_gradient(training->optimizer.get(), 0, nullptr));
    for (int i = 0; i < 3; ++i) training->step(0, 16);
    adn_adadelta_pass_options pass;
    check(adn_adadelta_pass_options_init(&pass, sizeof pass));
    pass.clip_norm = 0.01;
    pass.skip_nonfinite = 1;
    check(adn_adadelta_set_pass_options(training->optimizer.get(), &pass));
    for (int i = 0; i < 3; ++i) training->step(0, 16);
    adn_adadelta_report report;
    report.struct_size = sizeof report;
    check(adn_adadelta_get_report(&report, training->optimizer.get()));
    EXPECT_GT(report.norm, 0.0);
    uint64_t taken = 0;
    check(adn_adadelta_get_parameter_step(&taken, training->optimizer.get(), 0));
    EXPECT_EQ(3u, taken);
    check(adn_adadelta_get_parameter_step(&taken, training->optimizer.get(), 1));
    EXPECT_EQ(9u, taken);
  }
  expect_same_bits(plain.network.values(), graph.network.values(), "parameter");
}

// ---- The optimizer alone ----

TEST(CudaBackend, OptimizerGivesTheCpusBits) {
  const Context cpu = make_context(), cuda = make_cuda();
  const auto run = [](adn_context* context) {
    Random random(31);
    const OptimizerHandle optimizer = make_optimizer(context);
    std::vector<Tensor> parameters, gradients;
    std::vector<adn_tensor*> p, g;
    for (uint64_t count : {1, 3, 4097, 10000}) {
      for (auto* list : {&parameters, &gradients}) {
        list->push_back(make_tensor(context, {count}));
        write(list->back().get(), random.reals(count));
      }
      p.push_back(parameters.back().get());
      g.push_back(gradients.back().get());
    }
    adn_adadelta_options second = adadelta_options({0.5, 0.8, 1e-5, 0.1, 1});
    second.decoupled_weight_decay = 0.01;
    second.clip_value = 0.5;
    second.average_decay = 0.9;
    check(adn_adadelta_add_group(nullptr, optimizer.get(), p.data(), g.data(), 2, nullptr));
    check(adn_adadelta_add_group(nullptr, optimizer.get(), p.data() + 2, g.data() + 2, 2, &second));
    for (int i = 0; i < 5; ++i) check(adn_adadelta_step(optimizer.get()));
    std::vector<Floats> all;
    for (const Tensor& parameter : parameters) all.push_back(read(parameter.get()));
    return all;
  };
  expect_same_bits(run(cpu.get()), run(cuda.get()), "parameter");
}

// Numbers of a type as bytes.
std::vector<uint8_t> bytes_of(int32_t dtype, const Floats& numbers) {
  std::vector<uint8_t> bytes;
  const auto append = [&](const auto& element) {
    const auto* from = reinterpret_cast<const uint8_t*>(&element);
    bytes.insert(bytes.end(), from, from + sizeof element);
  };
  for (const float number : numbers) {
    adn::Half half;
    adn::BFloat16 bfloat;
    switch (dtype) {
      case ADN_DTYPE_FLOAT64:
        append(static_cast<double>(number) / 3);
        break;
      case ADN_DTYPE_FLOAT16:
        adn::from_float(half, number);
        append(half);
        break;
      case ADN_DTYPE_BFLOAT16:
        adn::from_float(bfloat, number);
        append(bfloat);
        break;
      default:  // complex ones are pairs
        append(number);
        break;
    }
  }
  return bytes;
}

TEST(CudaBackend, OptimizerGivesTheCpusBitsForEveryType) {
  const int32_t types[] = {ADN_DTYPE_FLOAT32, ADN_DTYPE_FLOAT64, ADN_DTYPE_FLOAT16, ADN_DTYPE_BFLOAT16,
                           ADN_DTYPE_COMPLEX64};
  const auto run = [&](adn_context* context) {
    Random random(33);
    const OptimizerHandle optimizer = make_optimizer(context);
    std::vector<Tensor> tensors;
    std::vector<size_t> sizes;
    for (const int32_t dtype : types) {
      const uint64_t count = 4099, numbers = dtype == ADN_DTYPE_COMPLEX64 ? 2 * count : count;
      adn_tensor* pair[2] = {};
      for (adn_tensor*& tensor : pair) {
        check(adn_tensor_create_typed(&tensor, context, dtype, &count, 1));
        tensors.emplace_back(tensor);
        const std::vector<uint8_t> bytes = bytes_of(dtype, random.reals(numbers));
        check(adn_tensor_write_bytes(tensor, bytes.data(), 0, bytes.size()));
        sizes.push_back(bytes.size());
      }
      adn_adadelta_options options = adadelta_options({0.5, 0.8, 1e-5, 0.1, 0});
      options.master_weights = dtype == ADN_DTYPE_FLOAT16 || dtype == ADN_DTYPE_BFLOAT16 ? 1 : 0;
      options.average_decay = 0.9;
      check(adn_adadelta_add_group(nullptr, optimizer.get(), pair, pair + 1, 1, &options));
    }
    for (int i = 0; i < 4; ++i) check(adn_adadelta_step(optimizer.get()));
    std::vector<std::vector<uint8_t>> all;
    for (size_t i = 0; i < tensors.size(); ++i) {
      all.emplace_back(sizes[i]);
      check(adn_tensor_read_bytes(all.back().data(), 0, sizes[i], tensors[i].get()));
    }
    return all;
  };
  const Context cpu = make_context(), cuda = make_cuda();
  EXPECT_EQ(run(cpu.get()), run(cuda.get()));
}

// Addresses of the caller's are multiples of an element, and no more.
TEST(CudaBackend, OptimizerTakesMemoryOfTheCallersOffSixteenBytes) {
  constexpr uint64_t kCount = 4099;
  const Context cpu = make_context(), cuda = make_cuda();
  Random random(34);
  const Floats p = random.reals(kCount), g = random.reals(kCount);
  unsigned char* memory = nullptr;
  constexpr size_t kRoom = 64 + kCount * 8;
  ASSERT_EQ(cudaSuccess, cudaMalloc(&memory, 2 * kRoom));
  for (const int32_t dtype : {ADN_DTYPE_FLOAT32, ADN_DTYPE_FLOAT64, ADN_DTYPE_FLOAT16, ADN_DTYPE_BFLOAT16}) {
    const std::vector<uint8_t> values = bytes_of(dtype, p), gradients = bytes_of(dtype, g);
    const size_t size = values.size() / kCount;
    for (const size_t offset : {size, 3 * size}) {
      const auto run = [&](adn_context* context, bool device) {
        std::vector<uint8_t> host[2] = {values, gradients};
        adn_tensor* made[2] = {};
        std::vector<Tensor> tensors;
        for (size_t i = 0; i < 2; ++i) {
          void* place = host[i].data();
          if (device) {
            place = memory + i * kRoom + offset;
            EXPECT_EQ(cudaSuccess, cudaMemcpy(place, host[i].data(), host[i].size(), cudaMemcpyHostToDevice));
          }
          check(adn_tensor_create_external(&made[i], context, place, dtype, &kCount, 1, nullptr, nullptr));
          tensors.emplace_back(made[i]);
        }
        const OptimizerHandle optimizer = make_optimizer(context);
        check(adn_adadelta_add_group(nullptr, optimizer.get(), made, made + 1, 1, nullptr));
        for (int i = 0; i < 3; ++i) check(adn_adadelta_step(optimizer.get()));
        std::vector<uint8_t> result(values.size());
        check(adn_tensor_read_bytes(result.data(), 0, result.size(), made[0]));
        return result;
      };
      EXPECT_EQ(run(cpu.get(), false), run(cuda.get(), true)) << "type " << dtype << ", offset " << offset;
    }
  }
  EXPECT_EQ(cudaSuccess, cudaFree(memory));
}

TEST(CudaBackend, OptimizerReadsLrFromMemory) {
  const Context context = make_cuda();
  const Tensor p = make_tensor(context.get(), {5}), g = make_tensor(context.get(), {5});
  check(adn_tensor_fill(g.get(), 1.0f));
  const OptimizerHandle optimizer = make_optimizer(context.get());
  adn_tensor* parameters[] = {p.get()};
  adn_tensor* gradients[] = {g.get()};
  check(adn_adadelta_add_group(nullptr, optimizer.get(), parameters, gradients, 1, nullptr));
  const Tensor lr = make_tensor(context.get(), {1});
  check(adn_adadelta_set_lr_tensor(optimizer.get(), 0, lr.get()));
  check(adn_adadelta_step(optimizer.get()));
  expect_equal(Floats(5, 0.0f), read(p.get()), "with lr 0");
  check(adn_tensor_fill(lr.get(), 1.0f));
  check(adn_adadelta_step(optimizer.get()));
  EXPECT_LT(read(p.get())[0], 0.0f);
}

// ---- Memory and streams of the caller's ----

TEST(CudaBackend, WorksOnMemoryAndAStreamOfTheCallers) {
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaSuccess, cudaStreamCreate(&stream));
  float* memory = nullptr;
  ASSERT_EQ(cudaSuccess, cudaMalloc(&memory, 1024 * sizeof(float)));
  {
    adn_context_options options = cuda_options();
    options.cuda_stream_external = stream;
    const Context context = make_cuda(options), cpu = make_context();
    const Layers layers = small_network();
    Random random(41);
    const Floats input = random.reals(4 * 144);
    ASSERT_EQ(cudaSuccess,
              cudaMemcpyAsync(memory, input.data(), input.size() * sizeof(float), cudaMemcpyHostToDevice, stream));
    Network network(context.get(), layers), expected(cpu.get(), layers);
    Floats output(40);
    check(adn_network_forward_external(output.data(), output.size(), network.get(), memory, input.size(), 4,
                                       ADN_MODE_EVALUATE));
    expect_close(expected.forward(input, ADN_MODE_EVALUATE), output, kPassTolerance, "logits");

    // The optimizer's own parameter, in the caller's memory.
    const uint64_t shape[] = {100};
    adn_tensor* made = nullptr;
    check(adn_tensor_create_external(&made, context.get(), memory, ADN_DTYPE_FLOAT32, shape, 1, nullptr, nullptr));
    const Tensor parameter(made), gradient = make_tensor(context.get(), {100});
    check(adn_tensor_fill(gradient.get(), 1.0f));
    const OptimizerHandle optimizer = make_optimizer(context.get());
    adn_tensor* gradients[] = {gradient.get()};
    check(adn_adadelta_add_group(nullptr, optimizer.get(), &made, gradients, 1, nullptr));
    check(adn_adadelta_step(optimizer.get()));
    Floats there(100);
    ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
    ASSERT_EQ(cudaSuccess, cudaMemcpy(there.data(), memory, 400, cudaMemcpyDeviceToHost));
    expect_same_bits(read(parameter.get()), there, "the caller's memory");
    EXPECT_LT(there[0], input[0]);
  }
  EXPECT_EQ(cudaSuccess, cudaFree(memory));
  EXPECT_EQ(cudaSuccess, cudaStreamDestroy(stream));
}

TEST(CudaBackend, TheLegacyStreamServesAsTheCallers) {
  const Images images = make_images(16, {1, 12, 12});
  adn_context_options options = deterministic_options();
  options.cuda_stream_external = cudaStreamLegacy;
  const Context legacy = make_cuda(options), own = make_cuda(deterministic_options());
  Training expected(own.get(), small_network(), images), actual(legacy.get(), small_network(), images);
  for (int i = 0; i < 3; ++i) {
    expected.step(0, 16);
    actual.step(0, 16);
  }
  expect_same_bits(expected.network.values(), actual.network.values(), "parameter");
}

TEST(CudaBackend, RefusesMemoryThatTheDeviceCannotUse) {
  const Context context = make_cuda();
  Floats host(16);
  float* memory = nullptr;
  ASSERT_EQ(cudaSuccess, cudaMalloc(&memory, 64));
  const uint64_t shape[] = {16}, too_many[] = {17};
  adn_tensor* tensor = nullptr;
  expect_failure(
      ADN_STATUS_INVALID_ARGUMENT,
      adn_tensor_create_external(&tensor, context.get(), host.data(), ADN_DTYPE_FLOAT32, shape, 1, nullptr, nullptr),
      {"host memory", "expected an address of CUDA device 0"});
  expect_failure(
      ADN_STATUS_INVALID_ARGUMENT,
      adn_tensor_create_external(&tensor, context.get(), memory, ADN_DTYPE_FLOAT32, too_many, 1, nullptr, nullptr),
      {"host memory", "expected an address of CUDA device 0"});
  Network network(context.get(), Layers({1, 4, 4}).flatten().linear(2));
  expect_failure(
      ADN_STATUS_INVALID_ARGUMENT,
      adn_network_forward_external(nullptr, 0, network.get(), host.data(), host.size(), 1, ADN_MODE_EVALUATE),
      {"host memory"});
  check(adn_network_forward_external(nullptr, 0, network.get(), memory, 16, 1, ADN_MODE_EVALUATE));
  check(adn_context_synchronize(context.get()));
  EXPECT_EQ(cudaSuccess, cudaFree(memory));
}

// A host that works in a context of its own: its memory cannot be used, and what was current stays so.
TEST(CudaBackend, RefusesMemoryOfAnotherContextAndLeavesThatCurrent) {
  const Context context = make_cuda();
  int other = 0;
  cudasim::set_current_context(&other);
  float* memory = nullptr;
  ASSERT_EQ(cudaSuccess, cudaMalloc(&memory, 64));
  const uint64_t shape[] = {16};
  adn_tensor* tensor = nullptr;
  expect_failure(
      ADN_STATUS_INVALID_ARGUMENT,
      adn_tensor_create_external(&tensor, context.get(), memory, ADN_DTYPE_FLOAT32, shape, 1, nullptr, nullptr),
      {"another context's", "expected an address of CUDA device 0 in its primary context"});
  {
    // Its slab is made now, and belongs to the primary context.
    const Tensor own = make_tensor(context.get(), {uint64_t{1} << 20});
    check(adn_tensor_fill(own.get(), 2.0f));
    EXPECT_EQ(2.0f, read(own.get())[0]);
    const Context second = make_cuda();
    Network network(second.get(), Layers({1, 4, 4}).flatten().linear(2));
    expect_failure(ADN_STATUS_INVALID_ARGUMENT,
                   adn_network_forward_external(nullptr, 0, network.get(), memory, 16, 1, ADN_MODE_EVALUATE),
                   {"another context's"});
  }
  EXPECT_EQ(&other, cudasim::current_context());
  EXPECT_EQ(cudaSuccess, cudaFree(memory));
  cudasim::set_current_context(nullptr);
  check(adn_context_synchronize(context.get()));
  EXPECT_EQ(nullptr, cudasim::current_context());
}

// A copy is taken: what becomes of the caller's pixels afterwards, the device does not see.
TEST(CudaBackend, AnExternalDatasetIsOnTheDevice) {
  Images images = make_images(40, {1, 12, 12});
  const Context context = make_cuda(deterministic_options());
  Training expected(context.get(), small_network(), images), actual(context.get(), small_network(), images);
  const uint64_t shape[] = {1, 12, 12};
  adn_dataset* made = nullptr;
  check(adn_dataset_create_external(&made, context.get(), images.pixels.data(), images.pixels.size(),
                                    images.labels.data(), images.count(), shape));
  actual.dataset.reset(made);
  std::fill(images.pixels.begin(), images.pixels.end(), uint8_t{0});
  expect_same_bits(expected.epoch(40, 16), actual.epoch(40, 16), "losses");
}

// ---- Failures ----

struct Alive {
  explicit Alive(const cudasim::Counts& c)
      : objects{c.device_allocations, c.host_allocations, c.streams,          c.events, c.graphs,
                c.graph_execs,        c.library_objects,  c.retained_contexts} {}
  std::vector<uint64_t> objects;
};

// What a program does with the backend, from beginning to end. The first call that fails ends it with its status, and
// what has been made till then is destroyed.
adn_status use_everything(std::string* message) {
  static const Images images = make_images(3, {1, 6, 6});
  static const Layers layers =
      Layers({1, 6, 6}).conv(2, 3).max_pool(2).relu().avg_pool(2, 1).flatten().dropout(0.5f).linear(10);
  // The caller's, from the first time to the end of the program.
  static float* const external = [] {
    void* memory = nullptr;
    EXPECT_EQ(cudaSuccess, cudaMalloc(&memory, 3 * 36 * sizeof(float)));
    return static_cast<float*>(memory);
  }();
  static const Floats input = Random(51).reals(3 * 36);
  adn_context_options options = cuda_options();
  options.cuda_search = 1;
  options.cuda_workspace_limit = 1 << 16;
  const adn_network_options network_settings = network_options(layers.input);
  const uint64_t shape[] = {1, 6, 6};
  const uint32_t indices[] = {0, 1, 2};
  const int32_t labels[] = {0, 1, 2};
  Context context;
  Dataset dataset;
  NetworkHandle network;
  OptimizerHandle optimizer, recording;
  adn_tensor* mine[6] = {};  // a parameter in the caller's memory, its gradient, and the cotangents
  std::vector<Tensor> parameters;
  std::vector<adn_tensor*> values, gradients;
  float loss = 0, losses[4];
  adn_context_info info;
  info.struct_size = sizeof info;
  const std::vector<std::function<adn_status()>> calls = {
      [&] {
        adn_context* made = nullptr;
        const adn_status status = adn_context_create(&made, &options);
        context.reset(made);
        return status;
      },
      [&] { return adn_context_get_info(&info, context.get()); },
      [&] {
        adn_dataset* made = nullptr;
        const adn_status status = adn_dataset_create(&made, context.get(), images.pixels.data(), images.pixels.size(),
                                                     images.labels.data(), 3, shape);
        dataset.reset(made);
        return status;
      },
      [&] {
        adn_network* made = nullptr;
        const adn_status status =
            adn_network_create(&made, context.get(), layers.list.data(), layers.list.size(), &network_settings);
        network.reset(made);
        return status;
      },
      [&] {
        for (uint64_t i = 0; i < 4; ++i) {
          adn_tensor* value = nullptr;
          adn_tensor* gradient = nullptr;
          const adn_status status = adn_network_get_parameter(&value, &gradient, nullptr, network.get(), i);
          if (status != ADN_STATUS_OK) return status;
          values.push_back(value);
          gradients.push_back(gradient);
          parameters.emplace_back(value);
          parameters.emplace_back(gradient);
        }
        return ADN_STATUS_OK;
      },
      [&] {
        adn_adadelta* made = nullptr;
        const adn_status status = adn_adadelta_create(&made, context.get(), nullptr);
        optimizer.reset(made);
        return status;
      },
      [&] { return adn_adadelta_add_group(nullptr, optimizer.get(), values.data(), gradients.data(), 4, nullptr); },
      [&] {
        adn_adadelta_pass_options pass;
        const adn_status status = adn_adadelta_pass_options_init(&pass, sizeof pass);
        pass.clip_norm = 1;
        return status == ADN_STATUS_OK ? adn_adadelta_set_pass_options(optimizer.get(), &pass) : status;
      },
      // The second whole step is captured, the third replayed.
      [&] {
        return adn_network_train_step_dataset(nullptr, network.get(), optimizer.get(), dataset.get(), indices, 3);
      },
      [&] {
        return adn_network_train_step_dataset(nullptr, network.get(), optimizer.get(), dataset.get(), indices, 3);
      },
      [&] { return adn_network_train_step_dataset(&loss, network.get(), optimizer.get(), dataset.get(), indices, 3); },
      [&] {
        return adn_network_train_step(&loss, network.get(), optimizer.get(), input.data(), input.size(), labels, 3);
      },
      [&] { return adn_network_read_losses(losses, 4, network.get()); },
      [&] { return adn_network_forward(nullptr, 0, network.get(), input.data(), input.size(), 3, ADN_MODE_TRAIN); },
      [&] { return adn_network_loss(&loss, network.get(), labels, 3); },
      [&] { return adn_network_backward(network.get(), nullptr, 0); },
      [&] { return adn_adadelta_step(optimizer.get()); },
      [&] {
        adn_adadelta_report report;
        report.struct_size = sizeof report;
        return adn_adadelta_get_report(&report, optimizer.get());
      },
      [&] { return adn_tensor_fill(values[0], 1.0f); },
      [&] { return adn_tensor_write(values[0], input.data(), 18); },
      [&] {
        Floats read(18);
        return adn_tensor_read(read.data(), read.size(), values[0]);
      },
      [&] {
        return adn_network_train_step_external(nullptr, network.get(), optimizer.get(), external, input.size(), labels,
                                               3);
      },
      // A step that is recorded and gone back through.
      [&] {
        const uint64_t count = 10;
        for (adn_tensor*& tensor : mine) {
          const adn_status status = &tensor == mine
                                        ? adn_tensor_create_external(&tensor, context.get(), external,
                                                                     ADN_DTYPE_FLOAT32, &count, 1, nullptr, nullptr)
                                        : adn_tensor_create(&tensor, context.get(), &count, 1);
          if (status != ADN_STATUS_OK) return status;
          parameters.emplace_back(tensor);
        }
        adn_adadelta_options recorded = adadelta_options({});
        recorded.differentiable = 1;
        adn_adadelta* made = nullptr;
        const adn_status status = adn_adadelta_create(&made, context.get(), &recorded);
        recording.reset(made);
        return status;
      },
      [&] { return adn_adadelta_add_group(nullptr, recording.get(), mine, mine + 1, 1, nullptr); },
      [&] { return adn_adadelta_step(recording.get()); },
      [&] {
        double lr = 0;
        const adn_adadelta_cotangent cotangent = {mine[2], mine[3], mine[4], mine[5]};
        return adn_adadelta_backward(&lr, 1, recording.get(), &cotangent, 1);
      },
      [&] { return adn_context_synchronize(context.get()); },
  };
  for (const auto& call : calls) {
    const adn_status status = call();
    if (status == ADN_STATUS_OK) continue;
    *message = adn_last_error();
    // Either nothing has happened, or the device is lost and says so from now on; it is never half right.
    if (context && adn_context_synchronize(context.get()) != ADN_STATUS_OK) {
      EXPECT_NE(std::string::npos, std::string(adn_last_error()).find("device is lost since an earlier failure"))
          << adn_last_error();
    }
    return status;
  }
  return ADN_STATUS_OK;
}

bool starts_with(const char* text, const char* beginning) {
  return std::string(text).compare(0, std::strlen(beginning), beginning) == 0;
}

// Statuses: DEVICE_ERROR, and UNSUPPORTED where the device is looked for.
void fail_every_call(cudaError_t error, adn_status also) {
  std::string message;
  ASSERT_EQ(ADN_STATUS_OK, use_everything(&message)) << message;
  const uint64_t calls = cudasim::counts().calls;
  ASSERT_EQ(ADN_STATUS_OK, use_everything(&message));
  const uint64_t total = cudasim::counts().calls - calls;
  ASSERT_GT(total, 100u);
  uint64_t failures = 0;
  for (uint64_t n = 1; n <= total; ++n) {
    SCOPED_TRACE("call " + std::to_string(n) + " of " + std::to_string(total));
    const Alive before(cudasim::counts());
    cudasim::fail_call(n, error);
    message.clear();
    const adn_status status = use_everything(&message);
    const std::string failed = cudasim::failed_call();
    cudasim::fail_call(0, cudaSuccess);
    SCOPED_TRACE(failed + ": " + message);
    ASSERT_NE("", failed);
    if (status != ADN_STATUS_OK) {
      ++failures;
      EXPECT_TRUE(status == ADN_STATUS_DEVICE_ERROR || status == ADN_STATUS_UNSUPPORTED || status == also) << status;
      EXPECT_NE("", message);
    }
    // An object whose destruction fails cannot be got rid of by anybody.
    const bool destruction = starts_with(failed.c_str(), "cudaFree") || failed.find("Destroy") != std::string::npos ||
                             failed.find("Release") != std::string::npos;
    if (!destruction) {
      EXPECT_EQ(before.objects, Alive(cudasim::counts()).objects);
    }
  }
  EXPECT_GT(failures, 100u);
}

TEST(CudaFaults, EveryCallThatFailsEndsInAnErrorAndLeaksNothing) {
  fail_every_call(cudaErrorLaunchFailure, ADN_STATUS_DEVICE_ERROR);
}

TEST(CudaFaults, MemoryThatRunsOutIsAnErrorOfItsOwn) {
  fail_every_call(cudaErrorMemoryAllocation, ADN_STATUS_OUT_OF_MEMORY);
}

}  // namespace
}  // namespace adadelta::test
