// What cannot be right is refused, and what fails has changed nothing: sizes beyond what can be computed, options that a type
// cannot hold, addresses that are not aligned, steps that fail.
#include <limits>

#include "support.h"

namespace adadelta::test {
namespace {

constexpr adn_status invalid = ADN_STATUS_INVALID_ARGUMENT;

adn_status create(adn_context* context, const Layers& layers, uint64_t batch = 1) {
  const adn_network_options options = network_options(layers.input, {batch, ADN_REDUCTION_MEAN, 0, 1});
  adn_network* network = nullptr;
  const adn_status status = adn_network_create(&network, context, layers.list.data(), layers.list.size(), &options);
  adn_network_destroy(network);
  return status;
}

// ---- Sizes ----

TEST(Sizes, APaddedImageBeyondTheBoundIsRefused) {
  const Context context = make_context(1);
  const uint64_t half = uint64_t{1} << 30;
  expect_failure(invalid, create(context.get(), Layers({1, 8, 8}).conv(1, 3, 1, half)), {"conv1", "padding", "2^40"});
  expect_failure(invalid, create(context.get(), Layers({1, 8, 8}).conv(1, 3, half, half)),
                 {"conv1", "padding", "2^40"});
  expect_failure(ADN_STATUS_OUT_OF_MEMORY, create(context.get(), Layers({1, 8, 8}).conv(1, 3, half, Size(half, 0))),
                 {"out of memory: 137438954624", "workspaces"});
  expect_failure(invalid, create(context.get(), Layers({1, 8, 8}).conv(1, 3, 1, Size(half - 1, half - 1), half)),
                 {"2^40"});
  expect_failure(invalid, create(context.get(), Layers({3, 8, 8}).conv(1, 3, 1, 400000), 8),
                 {"conv1", "2^40", "batch of 8"});
}

TEST(Sizes, WhatDoesNotFitInMemorySaysWhatAndHowLarge) {
  const Context context = make_context(1);
  expect_failure(ADN_STATUS_OUT_OF_MEMORY, create(context.get(), Layers({1 << 20, 1, 1}).flatten().linear(1 << 20)),
                 {"out of memory", "parameters", "4398050705408", "batch of 1"});
}

// The tables of a large image's pixels are no longer than a piece of it, and what there is counts.
TEST(Sizes, IndexTablesAreSmallAndCounted) {
  const Context context = make_context(1);
  const Layers layers = Layers({1, 1024, 1024}).conv(1, 3, 1, 1);
  Network network(context.get(), layers, {8, ADN_REDUCTION_MEAN, 0, 1});
  // Input, output and gradient of 8 images, and what a pass needs beside them: padded images and the gradient in vectors of 32.
  const uint64_t images = 8 * 1024 * 1024 * sizeof(float);
  EXPECT_LT(network.info().memory_bytes, 3 * images + images * 34 + (8 << 20));
}

// Large enough that its output pixels do not fit one table: forward, data and weight gradients against sums by hand.
TEST(Sizes, AnImageOfManyPiecesIsRight) {
  const Context context = make_context(2);
  for (const uint64_t batch : {uint64_t{1}, uint64_t{9}}) {
    const Layers layers = Layers({1, 150, 140}).conv(2, 3, 1, 1);
    Network network(context.get(), layers, {batch, ADN_REDUCTION_MEAN, 1, 1});
    write(network.value(0), Floats(18, 1));
    write(network.value(1), Floats{0, 1});
    const Floats output = network.forward(Floats(batch * 150 * 140, 1));
    const auto window = [](uint64_t y, uint64_t x) {
      return static_cast<float>((y == 0 || y == 149 ? 2 : 3) * (x == 0 || x == 139 ? 2 : 3));
    };
    network.backward(Floats(output.size(), 1));
    const Floats slope = network.input_gradient();
    for (uint64_t image = 0; image < batch; ++image) {
      for (uint64_t y = 0; y < 150; ++y) {
        for (uint64_t x = 0; x < 140; ++x) {
          const uint64_t pixel = y * 140 + x;
          ASSERT_EQ(window(y, x), output[image * 42000 + pixel]) << y << ", " << x;
          ASSERT_EQ(window(y, x) + 1, output[image * 42000 + 21000 + pixel]) << y << ", " << x;
          ASSERT_EQ(2 * window(y, x), slope[image * 21000 + pixel]) << y << ", " << x;
        }
      }
    }
    const Floats weights = read(network.gradient(0));
    EXPECT_EQ(static_cast<float>(batch * 150 * 140), weights[4]);
    EXPECT_EQ(static_cast<float>(batch * 149 * 139), weights[0]);
    EXPECT_EQ(static_cast<float>(batch * 21000), read(network.gradient(1))[0]);
  }
}

// ---- Numbers ----

TEST(Numbers, TheSoftmaxOfAMillionClassesIsRight) {
  const Context context = make_context(1);
  const uint64_t classes = 1'000'000;
  const Layers layers = Layers({1, 1, 1}).flatten().linear(classes, 0);
  Network network(context.get(), layers, {1, ADN_REDUCTION_SUM, 0, 1});
  write(network.value(0), Floats(classes, 0.1f));
  network.forward({1});
  // All logits are equal, so the loss is ln 1,000,000; the nearest float is within 5e-7 of it.
  EXPECT_NEAR(std::log(1e6), network.loss({123}), 1e-6);
}

struct BadOption {
  const char* field;
  void (*change)(adn_adadelta_options&);
};

// Fine in float64, and refused where a step is computed in float32.
TEST(Numbers, OptionsAreCheckedAsTheTypeOfAStepHasThem) {
  const Context context = make_context(1);
  const BadOption all[] = {
      {"options.lr", [](adn_adadelta_options& o) { o.lr = 1e300; }},
      {"options.eps", [](adn_adadelta_options& o) { o.eps = 1e39; }},
      {"options.eps",
       [](adn_adadelta_options& o) {
         o.eps = 1e-50;
         o.zero_eps = ADN_ZERO_EPS_REFUSE;
       }},
      {"options.weight_decay", [](adn_adadelta_options& o) { o.weight_decay = 1e200; }},
      {"options.decoupled_weight_decay", [](adn_adadelta_options& o) { o.decoupled_weight_decay = 1e200; }},
      {"options.clip_value", [](adn_adadelta_options& o) { o.clip_value = 1e-60; }},
      {"options.average_decay", [](adn_adadelta_options& o) { o.average_decay = 1 - 1e-12; }},
  };
  for (const int32_t dtype :
       {ADN_DTYPE_FLOAT32, ADN_DTYPE_FLOAT16, ADN_DTYPE_BFLOAT16, ADN_DTYPE_COMPLEX64, ADN_DTYPE_FLOAT64}) {
    const uint64_t shape[] = {2};
    adn_tensor *value = nullptr, *gradient = nullptr;
    check(adn_tensor_create_typed(&value, context.get(), dtype, shape, 1));
    check(adn_tensor_create_typed(&gradient, context.get(), dtype, shape, 1));
    const Tensor v(value), g(gradient);
    for (const BadOption& bad : all) {
      adn_adadelta_options options = adadelta_options();
      bad.change(options);
      const OptimizerHandle optimizer = make_optimizer(context.get());
      const adn_status status = adn_adadelta_add_group(nullptr, optimizer.get(), &value, &gradient, 1, &options);
      if (dtype == ADN_DTYPE_FLOAT64) {
        check(status);
        continue;
      }
      expect_failure(invalid, status, {bad.field, "float32"});
      check(adn_adadelta_add_group(nullptr, optimizer.get(), &value, &gradient, 1, nullptr));
      expect_failure(invalid, adn_adadelta_set_options(optimizer.get(), 0, &options), {bad.field, "float32"});
      check(adn_adadelta_step(optimizer.get()));
    }
  }
}

TEST(Numbers, AGradientScaleThatLeavesNothingIsRefused) {
  const Context context = make_context(1);
  const OptimizerHandle optimizer = make_optimizer(context.get());
  adn_adadelta_pass_options pass;
  check(adn_adadelta_pass_options_init(&pass, sizeof pass));
  for (const double scale : {1e39, 1e-39, 1e300, -1.0, 0.0}) {
    pass.gradient_scale = scale;
    expect_failure(invalid, adn_adadelta_set_pass_options(optimizer.get(), &pass),
                   {"options.gradient_scale", "8.50706e+37"});
  }
  for (const double scale : {8.5e37, 1.2e-38}) {
    pass.gradient_scale = scale;
    check(adn_adadelta_set_pass_options(optimizer.get(), &pass));
  }
}

TEST(Numbers, OneTensorInTwoRolesOfADerivativeIsRefused) {
  const Context context = make_context(1);
  adn_adadelta_options options = adadelta_options();
  options.differentiable = 1;
  adn_adadelta* made = nullptr;
  check(adn_adadelta_create(&made, context.get(), &options));
  const OptimizerHandle optimizer(made);
  const Tensor value = make_tensor(context.get(), {3}), gradient = make_tensor(context.get(), {3});
  check(adn_tensor_fill(gradient.get(), 1));
  adn_tensor* values[] = {value.get()};
  adn_tensor* gradients[] = {gradient.get()};
  check(adn_adadelta_add_group(nullptr, optimizer.get(), values, gradients, 1, nullptr));
  check(adn_adadelta_step(optimizer.get()));
  std::vector<Tensor> t;
  for (int i = 0; i < 4; ++i) t.push_back(make_tensor(context.get(), {3}));
  for (int same = 1; same < 4; ++same) {
    adn_tensor* roles[4] = {t[0].get(), t[1].get(), t[2].get(), t[3].get()};
    roles[same] = roles[0];
    const adn_adadelta_cotangent cotangent = {roles[0], roles[1], roles[2], roles[3]};
    expect_failure(invalid, adn_adadelta_backward(nullptr, 0, optimizer.get(), &cotangent, 1),
                   {"cotangents[0]", "memory"});
  }
  const adn_adadelta_cotangent cotangent = {t[0].get(), t[1].get(), t[2].get(), t[3].get()};
  check(adn_adadelta_backward(nullptr, 0, optimizer.get(), &cotangent, 1));
}

// Running averages without a gradient end at 0 instead of the least denormal number; others keep PyTorch's bits.
class Denormals : public EachInstructionSet {};
ADN_FOR_EACH_INSTRUCTION_SET(Denormals);

TEST_P(Denormals, RunningAveragesDoNotStayDenormal) {
  const Context context = make_context(1, GetParam());
  const Tensor value = make_tensor(context.get(), {37}), gradient = make_tensor(context.get(), {37});
  for (const double eps : {1e-6, 0.0}) {
    const OptimizerHandle optimizer = make_optimizer(context.get(), {1, 0.9, eps, 0, 0});
    adn_adadelta_options options = adadelta_options({1, 0.9, eps, 0, 0});
    options.zero_eps = ADN_ZERO_EPS_KEEP;
    adn_tensor* values[] = {value.get()};
    adn_tensor* gradients[] = {gradient.get()};
    check(adn_adadelta_add_group(nullptr, optimizer.get(), values, gradients, 1, &options));
    adn_tensor *average = nullptr, *delta = nullptr;
    check(adn_adadelta_get_state(&average, &delta, optimizer.get(), 0));
    const Tensor v(average), u(delta);
    const float least = std::numeric_limits<float>::min();
    check(adn_tensor_fill(v.get(), 1.2f * least));
    check(adn_tensor_fill(u.get(), 1.2f * least));
    check(adn_adadelta_step(optimizer.get()));
    // 0.9 * 1.2 is above the least normal number, 0.9 * 0.9 * 1.2 is below it.
    EXPECT_GT(read(v.get())[36], least);
    check(adn_adadelta_step(optimizer.get()));
    for (int i = 0; i < 37; ++i) {
      const float left = read(v.get())[static_cast<size_t>(i)];
      EXPECT_EQ(eps > 0, left == 0) << left;
      EXPECT_EQ(eps > 0, read(u.get())[static_cast<size_t>(i)] == 0);
    }
  }
}

// ---- Alignment ----

TEST(Alignment, ComplexTensorsOnFourBytesAreFilled) {
  const Context context = make_context(1);
  alignas(8) float memory[8] = {};
  const uint64_t shape[] = {3};
  adn_tensor* tensor = nullptr;
  check(
      adn_tensor_create_external(&tensor, context.get(), memory + 1, ADN_DTYPE_COMPLEX64, shape, 1, nullptr, nullptr));
  const Tensor owner(tensor);
  check(adn_tensor_fill(tensor, 2.5f));
  const float expected[8] = {0, 2.5f, 0, 2.5f, 0, 2.5f, 0, 0};
  EXPECT_EQ(0, std::memcmp(expected, memory, sizeof memory));
}

TEST(Alignment, ArraysThatAreNotAlignedAreRefused) {
  const Context context = make_context(1);
  const Layers layers = Layers({1, 4, 4}).flatten().linear(3);
  Network network(context.get(), layers);
  alignas(16) unsigned char bytes[4096] = {};
  const auto off = [&](auto* type) { return reinterpret_cast<decltype(type)>(bytes + 1); };
  float output[3] = {};
  const float input[16] = {};
  const auto forward = [&](float* out, const float* in) {
    return adn_network_forward(out, 3, network.get(), in, 16, 1, ADN_MODE_TRAIN);
  };
  expect_failure(invalid, forward(output, off(static_cast<float*>(nullptr))), {"input", "multiple of 4"});
  expect_failure(invalid, forward(off(static_cast<float*>(nullptr)), input), {"output", "multiple of 4"});
  check(forward(output, input));
  float loss = 0;
  expect_failure(invalid, adn_network_loss(&loss, network.get(), off(static_cast<int32_t*>(nullptr)), 1),
                 {"labels", "multiple of 4"});
  adn_network_options options = network_options(layers.input);
  adn_network* made = nullptr;
  std::memcpy(bytes + 4, layers.list.data(), layers.list.size() * sizeof(adn_layer));
  expect_failure(invalid,
                 adn_network_create(&made, context.get(), reinterpret_cast<const adn_layer*>(bytes + 4),
                                    layers.list.size(), &options),
                 {"layers", "multiple of 8"});
  std::vector<adn_layer> shorter = layers.list;
  shorter[0].struct_size = sizeof(adn_layer) - 4;
  expect_failure(invalid, adn_network_create(&made, context.get(), shorter.data(), 1, &options),
                 {"layers[0].struct_size", "multiple of 8"});
}

// ---- Failure changes nothing ----

// It would step its own network on gradients of another time.
TEST(FailedSteps, AnOptimizerOfAnotherNetworkIsRefused) {
  const Context context = make_context(1);
  const Layers layers = Layers({1, 4, 4}).flatten().linear(3);
  Network network(context.get(), layers), other(context.get(), layers);
  const OptimizerHandle optimizer = make_optimizer(context.get(), other), empty = make_optimizer(context.get());
  const Floats input(16, 1.0f);
  const std::vector<int32_t> labels = {1};
  const std::vector<Floats> before = other.values();
  for (adn_adadelta* wrong : {optimizer.get(), empty.get()}) {
    expect_failure(invalid, adn_network_train_step(nullptr, network.get(), wrong, input.data(), 16, labels.data(), 1),
                   {"optimizer", "none of the network's 2 parameters"});
  }
  expect_same_bits(before, other.values(), "values");
  // Some of them are enough.
  const OptimizerHandle some = make_optimizer(context.get());
  adn_tensor* value = network.value(1);
  adn_tensor* gradient = network.gradient(1);
  check(adn_adadelta_add_group(nullptr, some.get(), &value, &gradient, 1, nullptr));
  const Floats weight = read(network.value(0));
  network.train_step(some.get(), input, labels);
  EXPECT_EQ(weight, read(network.value(0)));
}

TEST(FailedSteps, ATrainingStepThatFailsHasChangedNothing) {
  const Context context = make_context(1);
  Network network(context.get(), Layers({1, 6, 6}).conv(4, 3).relu().dropout(0.5f).flatten().linear(3));
  const OptimizerHandle optimizer = make_optimizer(context.get(), network);
  const Floats input = Random(1).reals(2 * 36);
  network.train_step(optimizer.get(), input, {0, 1});
  const std::vector<Floats> values = network.values(), gradients = network.gradients();
  // A recorded step cannot be one with a gradient scale.
  adn_adadelta_options options = adadelta_options();
  options.differentiable = 1;
  check(adn_adadelta_set_options(optimizer.get(), 0, &options));
  adn_adadelta_pass_options pass;
  check(adn_adadelta_pass_options_init(&pass, sizeof pass));
  pass.gradient_scale = 2;
  check(adn_adadelta_set_pass_options(optimizer.get(), &pass));
  uint64_t before = 0, after = 0, taken = 0;
  check(adn_network_get_step(&before, network.get()));
  const std::vector<int32_t> labels = {2, 2};
  float loss = 0;
  expect_failure(
      ADN_STATUS_INVALID_STATE,
      adn_network_train_step(&loss, network.get(), optimizer.get(), input.data(), input.size(), labels.data(), 2),
      {"differentiable", "gradient_scale"});
  check(adn_network_get_step(&after, network.get()));
  EXPECT_EQ(before, after);
  check(adn_adadelta_get_step(&taken, optimizer.get()));
  EXPECT_EQ(1u, taken);
  expect_same_bits(values, network.values(), "values");
  expect_same_bits(gradients, network.gradients(), "gradients");
  check(adn_adadelta_get_tape_length(&taken, optimizer.get()));
  EXPECT_EQ(0u, taken);
  pass.gradient_scale = 1;
  check(adn_adadelta_set_pass_options(optimizer.get(), &pass));
  network.train_step(optimizer.get(), input, labels);
  check(adn_adadelta_get_tape_length(&taken, optimizer.get()));
  EXPECT_EQ(1u, taken);
}

}  // namespace
}  // namespace adadelta::test
