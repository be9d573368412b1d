// What the native tests share: owners for the handles, layers as one-liners, deterministic data, comparisons.
#ifndef ADADELTA_TESTS_SUPPORT_H
#define ADADELTA_TESTS_SUPPORT_H

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "adadelta/adadelta.h"

namespace adadelta::test {

using Floats = std::vector<float>;

template <auto destroy>
struct Destroy {
  template <class T>
  void operator()(T* object) const {
    destroy(object);
  }
};
using Context = std::unique_ptr<adn_context, Destroy<adn_context_destroy>>;
using Tensor = std::unique_ptr<adn_tensor, Destroy<adn_tensor_destroy>>;
using NetworkHandle = std::unique_ptr<adn_network, Destroy<adn_network_destroy>>;
using Dataset = std::unique_ptr<adn_dataset, Destroy<adn_dataset_destroy>>;
using OptimizerHandle = std::unique_ptr<adn_adadelta, Destroy<adn_adadelta_destroy>>;

// Ends the test with the library's message when a call that must succeed has failed.
inline void check(adn_status status) {
  if (status != ADN_STATUS_OK) {
    throw std::runtime_error(std::string(adn_status_name(status)) + ": " + adn_last_error());
  }
}

// The call must fail with this status and a message that holds every one of the words.
inline void expect_failure(adn_status expected, adn_status status, const std::vector<std::string>& words) {
  EXPECT_EQ(expected, status) << adn_status_name(status) << ": " << adn_last_error();
  const std::string message = adn_last_error();
  for (const std::string& word : words) {
    EXPECT_NE(std::string::npos, message.find(word)) << "\"" << word << "\" is not in: " << message;
  }
}

// Heavy shapes are left out where the machine is slow: ADADELTA_TEST_SCALE=small, set by the preset tsan.
inline bool small_scale() {
  const char* scale = std::getenv("ADADELTA_TEST_SCALE");
  return scale != nullptr && std::strcmp(scale, "small") == 0;
}

// ---- Contexts ----

inline const char* instruction_set_name(int32_t instruction_set) {
  switch (instruction_set) {
    case ADN_INSTRUCTION_SET_BASELINE:
      return "Baseline";
    case ADN_INSTRUCTION_SET_AVX2:
      return "Avx2";
    case ADN_INSTRUCTION_SET_AVX512:
      return "Avx512";
    default:
      return "Auto";
  }
}

inline adn_context_options cpu_options(uint32_t threads = 1, int32_t instruction_set = ADN_INSTRUCTION_SET_AUTO) {
  adn_context_options options;
  check(adn_context_options_init(&options, sizeof options));
  options.device_type = ADN_DEVICE_CPU;
  options.thread_count = threads;
  options.instruction_set = instruction_set;
  return options;
}

inline Context make_context(uint32_t threads = 1, int32_t instruction_set = ADN_INSTRUCTION_SET_AUTO) {
  const adn_context_options options = cpu_options(threads, instruction_set);
  adn_context* context = nullptr;
  check(adn_context_create(&context, &options));
  return Context(context);
}

// Those of BASELINE, AVX2 and AVX512 that work here.
inline std::vector<int32_t> instruction_sets() {
  std::vector<int32_t> available;
  for (int32_t set : {ADN_INSTRUCTION_SET_BASELINE, ADN_INSTRUCTION_SET_AVX2, ADN_INSTRUCTION_SET_AVX512}) {
    const adn_context_options options = cpu_options(1, set);
    adn_context* context = nullptr;
    const adn_status status = adn_context_create(&context, &options);
    adn_context_destroy(context);
    if (status == ADN_STATUS_OK) {
      available.push_back(set);
    } else if (status != ADN_STATUS_UNSUPPORTED) {
      check(status);
    }
  }
  return available;
}

// A fixture for each instruction set; skips itself where the CPU lacks it.
class EachInstructionSet : public testing::TestWithParam<int32_t> {
 protected:
  void SetUp() override {
    const adn_context_options options = cpu_options(1, GetParam());
    adn_context* context = nullptr;
    const adn_status status = adn_context_create(&context, &options);
    adn_context_destroy(context);
    if (status == ADN_STATUS_UNSUPPORTED) {
      GTEST_SKIP() << adn_last_error();
    }
    check(status);
  }
};

#define ADN_FOR_EACH_INSTRUCTION_SET(fixture)                                                              \
  INSTANTIATE_TEST_SUITE_P(                                                                                \
      Cpu, fixture,                                                                                        \
      testing::Values(ADN_INSTRUCTION_SET_BASELINE, ADN_INSTRUCTION_SET_AVX2, ADN_INSTRUCTION_SET_AVX512), \
      [](const testing::TestParamInfo<int32_t>& info) {                                                    \
        return std::string(adadelta::test::instruction_set_name(info.param));                              \
      })

// ---- Shapes and layers ----

struct Shape {
  uint64_t channels, height, width;
  uint64_t count() const { return channels * height * width; }
};

struct Size {
  uint64_t height, width;
  Size(uint64_t both) : height(both), width(both) {}  // NOLINT: 3 reads as 3 x 3, as in PyTorch
  Size(uint64_t h, uint64_t w) : height(h), width(w) {}
};

// A network as a chain of calls: Layers({1, 28, 28}).conv(32, 5).max_pool(2).relu().
class Layers {
 public:
  explicit Layers(Shape input) : input(input) {}

  Layers& conv(uint64_t channels, Size kernel, Size stride = 1, Size padding = 0, Size dilation = 1, int32_t bias = 1) {
    adn_layer& layer = add(ADN_LAYER_CONV2D);
    layer.out_features = channels;
    set(layer.kernel, kernel);
    set(layer.stride, stride);
    set(layer.padding, padding);
    set(layer.dilation, dilation);
    layer.bias = bias;
    return *this;
  }
  // stride 0: the kernel
  Layers& max_pool(Size kernel, Size stride = 0, Size padding = 0) {
    return pool(ADN_LAYER_MAXPOOL2D, kernel, stride, padding);
  }
  Layers& avg_pool(Size kernel, Size stride = 0, Size padding = 0) {
    return pool(ADN_LAYER_AVGPOOL2D, kernel, stride, padding);
  }
  Layers& relu() { return add(ADN_LAYER_RELU), *this; }
  Layers& flatten() { return add(ADN_LAYER_FLATTEN), *this; }
  Layers& linear(uint64_t features, int32_t bias = 1) {
    adn_layer& layer = add(ADN_LAYER_LINEAR);
    layer.out_features = features;
    layer.bias = bias;
    return *this;
  }
  Layers& dropout(float probability) {
    add(ADN_LAYER_DROPOUT).probability = probability;
    return *this;
  }

  Shape input;
  std::vector<adn_layer> list;

 private:
  static void set(uint64_t (&field)[2], Size size) {
    field[0] = size.height;
    field[1] = size.width;
  }
  adn_layer& add(int32_t kind) {
    adn_layer layer;
    check(adn_layer_init(&layer, sizeof layer, kind));
    list.push_back(layer);
    return list.back();
  }
  Layers& pool(int32_t kind, Size kernel, Size stride, Size padding) {
    adn_layer& layer = add(kind);
    set(layer.kernel, kernel);
    set(layer.stride, stride);
    set(layer.padding, padding);
    return *this;
  }
};

// The network that the project is measured on.
inline Layers reference_network() {
  return Layers({1, 28, 28})
      .conv(32, 5)
      .max_pool(2)
      .relu()
      .conv(64, 5)
      .max_pool(2)
      .relu()
      .flatten()
      .linear(512)
      .relu()
      .linear(10);
}

// The network in a line, for the trace of a failing test.
inline std::string describe(const Layers& layers) {
  std::ostringstream text;
  const auto pair = [&](const char* name, const uint64_t(&value)[2]) {
    text << " " << name << " " << value[0] << "x" << value[1];
  };
  text << layers.input.channels << "x" << layers.input.height << "x" << layers.input.width;
  for (const adn_layer& layer : layers.list) {
    switch (layer.kind) {
      case ADN_LAYER_CONV2D:
        text << ", conv " << layer.out_features << (layer.bias ? "" : " without bias");
        pair("kernel", layer.kernel);
        pair("stride", layer.stride);
        pair("padding", layer.padding);
        pair("dilation", layer.dilation);
        break;
      case ADN_LAYER_MAXPOOL2D:
      case ADN_LAYER_AVGPOOL2D:
        text << (layer.kind == ADN_LAYER_MAXPOOL2D ? ", max_pool" : ", avg_pool");
        pair("kernel", layer.kernel);
        pair("stride", layer.stride);
        pair("padding", layer.padding);
        break;
      case ADN_LAYER_RELU:
        text << ", relu";
        break;
      case ADN_LAYER_FLATTEN:
        text << ", flatten";
        break;
      case ADN_LAYER_LINEAR:
        text << ", linear " << layer.out_features << (layer.bias ? "" : " without bias");
        break;
      case ADN_LAYER_DROPOUT:
        text << ", dropout " << layer.probability;
        break;
    }
  }
  return text.str();
}

// ---- Tensor, Network and Adadelta with values for results ----

inline Tensor make_tensor(adn_context* context, const std::vector<uint64_t>& shape) {
  adn_tensor* tensor = nullptr;
  check(adn_tensor_create(&tensor, context, shape.data(), static_cast<uint32_t>(shape.size())));
  return Tensor(tensor);
}

inline std::vector<uint64_t> shape_of(const adn_tensor* tensor) {
  uint32_t rank = 0;
  uint64_t shape[ADN_MAX_RANK];
  check(adn_tensor_get_shape(&rank, shape, tensor));
  return {shape, shape + rank};
}

inline Floats read(const adn_tensor* tensor) {
  uint64_t count = 1;
  for (uint64_t extent : shape_of(tensor)) {
    count *= extent;
  }
  Floats data(count);
  check(adn_tensor_read(data.data(), count, tensor));
  return data;
}

inline void write(adn_tensor* tensor, const Floats& data) { check(adn_tensor_write(tensor, data.data(), data.size())); }

struct NetworkSettings {
  uint64_t max_batch_size = 64;
  int32_t reduction = ADN_REDUCTION_MEAN;
  int32_t input_gradient = 1;
  uint64_t seed = 1;
};

inline adn_network_options network_options(const Shape& input, const NetworkSettings& settings = {}) {
  adn_network_options options;
  check(adn_network_options_init(&options, sizeof options));
  options.input_shape[0] = input.channels;
  options.input_shape[1] = input.height;
  options.input_shape[2] = input.width;
  options.max_batch_size = settings.max_batch_size;
  options.reduction = settings.reduction;
  options.input_gradient = settings.input_gradient;
  options.seed = settings.seed;
  return options;
}

class Network {
 public:
  Network(adn_context* context, const Layers& layers, const NetworkSettings& settings = {}) {
    const adn_network_options options = network_options(layers.input, settings);
    adn_network* network = nullptr;
    check(adn_network_create(&network, context, layers.list.data(), layers.list.size(), &options));
    handle_.reset(network);
    info_.struct_size = sizeof info_;
    check(adn_network_get_info(&info_, network));
    for (uint64_t i = 0; i < info_.parameter_count; ++i) {
      adn_tensor* value = nullptr;
      adn_tensor* gradient = nullptr;
      const char* name = nullptr;
      check(adn_network_get_parameter(&value, &gradient, &name, network, i));
      values_.emplace_back(value);
      gradients_.emplace_back(gradient);
      names_.emplace_back(name);
    }
  }

  adn_network* get() const { return handle_.get(); }
  const adn_network_info& info() const { return info_; }
  uint64_t input_count() const { return info_.input_shape[0] * info_.input_shape[1] * info_.input_shape[2]; }

  Floats forward(const Floats& input, int32_t mode = ADN_MODE_TRAIN) {
    batch_ = input.size() / input_count();
    Floats output(batch_ * info_.output_count);
    check(adn_network_forward(output.data(), output.size(), get(), input.data(), input.size(), batch_, mode));
    return output;
  }
  float loss(const std::vector<int32_t>& labels) {
    float loss = 0;
    check(adn_network_loss(&loss, get(), labels.data(), labels.size()));
    return loss;
  }
  void backward() { check(adn_network_backward(get(), nullptr, 0)); }
  void backward(const Floats& gradient) { check(adn_network_backward(get(), gradient.data(), gradient.size())); }
  float train_step(adn_adadelta* optimizer, const Floats& input, const std::vector<int32_t>& labels) {
    float loss = 0;
    batch_ = labels.size();
    check(adn_network_train_step(&loss, get(), optimizer, input.data(), input.size(), labels.data(), labels.size()));
    return loss;
  }
  Floats input_gradient() const {
    Floats data(batch_ * input_count());
    check(adn_network_read_input_gradient(data.data(), data.size(), get()));
    return data;
  }

  adn_layer_info layer(uint64_t index) const {
    adn_layer_info info;
    info.struct_size = sizeof info;
    check(adn_network_get_layer(&info, get(), index));
    return info;
  }
  Floats activation(uint64_t index) const {
    const adn_layer_info info = layer(index);
    Floats data(batch_ * info.output_shape[0] * info.output_shape[1] * info.output_shape[2]);
    check(adn_network_read_activation(data.data(), data.size(), get(), index));
    return data;
  }

  uint64_t parameter_count() const { return values_.size(); }
  const std::string& name(uint64_t index) const { return names_[index]; }
  adn_tensor* value(uint64_t index) const { return values_[index].get(); }
  adn_tensor* gradient(uint64_t index) const { return gradients_[index].get(); }
  std::vector<Floats> values() const { return read_all(values_); }
  std::vector<Floats> gradients() const { return read_all(gradients_); }

 private:
  static std::vector<Floats> read_all(const std::vector<Tensor>& tensors) {
    std::vector<Floats> all;
    for (const Tensor& tensor : tensors) {
      all.push_back(read(tensor.get()));
    }
    return all;
  }

  NetworkHandle handle_;
  adn_network_info info_{};
  uint64_t batch_ = 0;
  std::vector<Tensor> values_, gradients_;
  std::vector<std::string> names_;
};

struct AdadeltaSettings {
  double lr = 1, rho = 0.9, eps = 1e-6, weight_decay = 0;
  int32_t maximize = 0;
};

inline adn_adadelta_options adadelta_options(const AdadeltaSettings& settings = {}) {
  adn_adadelta_options options;
  check(adn_adadelta_options_init(&options, sizeof options));
  options.lr = settings.lr;
  options.rho = settings.rho;
  options.eps = settings.eps;
  options.weight_decay = settings.weight_decay;
  options.maximize = settings.maximize;
  return options;
}

inline OptimizerHandle make_optimizer(adn_context* context, const AdadeltaSettings& settings = {}) {
  const adn_adadelta_options options = adadelta_options(settings);
  adn_adadelta* optimizer = nullptr;
  check(adn_adadelta_create(&optimizer, context, &options));
  return OptimizerHandle(optimizer);
}

// An optimizer over all parameters of the network, in one group.
inline OptimizerHandle make_optimizer(adn_context* context, const Network& network,
                                      const AdadeltaSettings& settings = {}) {
  OptimizerHandle optimizer = make_optimizer(context, settings);
  std::vector<adn_tensor*> values, gradients;
  for (uint64_t i = 0; i < network.parameter_count(); ++i) {
    values.push_back(network.value(i));
    gradients.push_back(network.gradient(i));
  }
  check(adn_adadelta_add_group(nullptr, optimizer.get(), values.data(), gradients.data(), values.size(), nullptr));
  return optimizer;
}

// ---- Data ----

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  uint64_t integer(uint64_t low, uint64_t high) { return low + engine_() % (high - low + 1); }
  float real(float low, float high) {
    return low + (high - low) * static_cast<float>(static_cast<double>(engine_() >> 40) * 0x1p-24);
  }
  bool chance(double probability) { return static_cast<double>(engine_() >> 11) * 0x1p-53 < probability; }

  Floats reals(uint64_t count, float low = -1, float high = 1) {
    Floats data(count);
    for (float& value : data) {
      value = real(low, high);
    }
    return data;
  }
  // Whole numbers in [-bound, bound], each non-zero with the given probability.
  Floats integers(uint64_t count, uint64_t bound, double density = 1) {
    Floats data(count);
    for (float& value : data) {
      value = chance(density) ? static_cast<float>(integer(0, 2 * bound)) - static_cast<float>(bound) : 0.0f;
    }
    return data;
  }
  std::vector<int32_t> labels(uint64_t count, uint64_t classes) {
    std::vector<int32_t> data(count);
    for (int32_t& label : data) {
      label = static_cast<int32_t>(integer(0, classes - 1));
    }
    return data;
  }

 private:
  std::mt19937_64 engine_;
};

// ---- Comparisons ----

// Bit for bit, so that NaN equals NaN and 0 differs from -0.
inline void expect_same_bits(const Floats& expected, const Floats& actual, const std::string& what) {
  ASSERT_EQ(expected.size(), actual.size()) << what;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::memcmp(&expected[i], &actual[i], sizeof(float)) != 0) {
      ADD_FAILURE() << what << "[" << i << "]: " << std::hexfloat << expected[i] << " and " << actual[i];
      return;
    }
  }
}

inline void expect_same_bits(const std::vector<Floats>& expected, const std::vector<Floats>& actual,
                             const std::string& what) {
  ASSERT_EQ(expected.size(), actual.size()) << what;
  for (size_t i = 0; i < expected.size(); ++i) {
    expect_same_bits(expected[i], actual[i], what + " " + std::to_string(i));
  }
}

// Equal as numbers; the first difference and the number of them are reported.
template <class Expected>
void expect_equal(const std::vector<Expected>& expected, const Floats& actual, const std::string& what) {
  ASSERT_EQ(expected.size(), actual.size()) << what;
  size_t differences = 0, first = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!(static_cast<double>(expected[i]) == static_cast<double>(actual[i])) && differences++ == 0) {
      first = i;
    }
  }
  EXPECT_EQ(0u, differences) << what << ": of " << expected.size() << " elements; the first is [" << first
                             << "]: expected " << expected[first] << ", got " << actual[first];
}

// Norm of the difference over the norm of what is expected; the norm of the difference where nothing is expected.
template <class Expected>
double relative_error(const std::vector<Expected>& expected, const Floats& actual) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size() && i < actual.size(); ++i) {
    const double e = static_cast<double>(expected[i]);
    difference += (actual[i] - e) * (actual[i] - e);
    norm += e * e;
  }
  return std::sqrt(norm > 0 ? difference / norm : difference);
}

template <class Expected>
void expect_close(const std::vector<Expected>& expected, const Floats& actual, double tolerance,
                  const std::string& what) {
  ASSERT_EQ(expected.size(), actual.size()) << what;
  const double error = relative_error(expected, actual);
  EXPECT_TRUE(error <= tolerance) << what << ": relative error " << error << ", expected <= " << tolerance;
}

}  // namespace adadelta::test

#endif  // ADADELTA_TESTS_SUPPORT_H
