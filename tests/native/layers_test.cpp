// Every layer through the ABI against the reference, on every instruction set.
//
// Most cases run on small whole numbers. Products and sums of whole numbers below 2^24 are exact in float32 in whatever order
// they are added and with or without FMA, so the library must agree with the reference to the last bit, and one missed or
// doubled tap of a kernel shows. The reference proves for each case that its sums stay below that bound. Real numbers and the
// softmax follow with a tolerance argued in reference.h.
#include <limits>

#include "exact.h"

namespace adadelta::test {
namespace {

using reference::Doubles;

// ---- Exact cases ----

struct Case {
  const char* name;
  Layers layers;
  uint64_t batch;
  Draw draw = {};
  bool heavy = false;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      // Conv2d alone
      {"Conv1x1", Layers({5, 7, 6}).conv(7, 1), 3},
      {"Conv1x1Wide", Layers({33, 5, 5}).conv(64, 1), 2},
      {"ConvOneChannelOneFilter", Layers({1, 5, 5}).conv(1, 3), 1},
      {"ConvOddImage", Layers({3, 9, 7}).conv(7, 3), 3},
      {"ConvOddChannels", Layers({17, 6, 7}).conv(33, 3, 1, 1), 2},
      {"ConvRectangular", Layers({5, 11, 6}).conv(10, {3, 1}, {2, 1}, {1, 0}), 2},
      {"ConvRow", Layers({3, 1, 50}).conv(8, {1, 5}, {1, 3}, {0, 2}), 2},
      {"ConvColumn", Layers({3, 50, 1}).conv(8, {5, 1}, {3, 1}, {2, 0}), 2},
      {"ConvDilated", Layers({16, 12, 11}).conv(32, 3, 1, 2, 2), 2},
      {"ConvStridePaddingDilation", Layers({17, 10, 13}).conv(33, {2, 3}, {2, 3}, {1, 2}, {3, 2}), 2},
      {"ConvStrideAboveKernel", Layers({3, 11, 12}).conv(7, 2, 3), 2},
      {"ConvPaddingAboveKernel", Layers({2, 4, 3}).conv(5, 2, 1, 4), 2},
      {"ConvDilatedBeyondImage", Layers({2, 4, 4}).conv(3, 3, 1, 3, 4), 2},
      {"ConvWholeImage", Layers({3, 6, 5}).conv(10, {6, 5}), 4},
      {"ConvOnePixel", Layers({16, 1, 1}).conv(32, 1), 5},
      {"ConvPaddedOnePixel", Layers({4, 1, 1}).conv(7, 3, 1, 1), 3},
      {"ConvWithoutBias", Layers({3, 8, 8}).conv(32, 3, 1, 0, 1, 0), 2},
      {"ConvUnreadBorder", Layers({3, 10, 11}).conv(7, 2, 3), 2},
      {"Conv11x11Stride4", Layers({3, 35, 39}).conv(32, 11, 4, 2), 2},
      {"Conv5x5Mnist", Layers({1, 28, 28}).conv(32, 5), 5},
      {"Conv5x5Second", Layers({32, 12, 12}).conv(64, 5), 3, {3, 0.5, 0.5}},
      {"Conv3x3Wide", Layers({64, 9, 9}).conv(64, 3, 1, 1), 2},
      {"Conv3x3DeepChannels", Layers({300, 4, 4}).conv(130, 3, 1, 1), 2},
      {"ConvBatch1", Layers({3, 8, 8}).conv(16, 3), 1},
      {"ConvPaddedBatch16", Layers({3, 9, 8}).conv(17, 3, 1, 1), 16},
      {"ConvStridePaddedBatch17", Layers({5, 11, 10}).conv(10, {3, 2}, 2, 1, {1, 2}), 17},
      {"ConvColumnBatch20", Layers({3, 40, 1}).conv(8, {3, 1}), 20},
      {"ConvBands", Layers({2, 60, 50}).conv(17, 3, 1, 1).max_pool(2).relu(), 9, {1}},
      {"ConvBatch64", Layers({1, 12, 12}).conv(33, 5), 64},

      // What follows a convolution, fused or not
      {"ConvRelu", Layers({3, 9, 8}).conv(10, 3).relu(), 3},
      {"ConvPoolRelu", Layers({3, 10, 10}).conv(16, 3).max_pool(2).relu(), 3},
      {"ConvReluPool", Layers({3, 10, 10}).conv(16, 3).relu().max_pool(2), 3},
      {"ConvReluPoolRelu", Layers({3, 10, 10}).conv(17, 3).relu().max_pool(2).relu(), 2},
      {"ConvReluRelu", Layers({3, 7, 7}).conv(17, 3).relu().relu(), 2},
      {"ConvPool", Layers({3, 10, 10}).conv(33, 3).max_pool(2), 3},
      {"ConvPoolOddLeftover", Layers({3, 9, 11}).conv(7, 3).max_pool({2, 4}), 3},
      {"ConvPoolRectangular", Layers({3, 11, 14}).conv(7, 2).max_pool({2, 3}).relu(), 2},
      {"ConvPoolGaps", Layers({3, 12, 13}).conv(16, 3).max_pool(2, 3).relu(), 2},
      {"ConvPoolOverlap", Layers({3, 11, 11}).conv(16, 3).max_pool(3, 2).relu(), 2},
      {"ConvPoolPadded", Layers({3, 9, 9}).conv(16, 3).max_pool(3, 2, 1).relu(), 2},
      {"ConvPoolWholeImage", Layers({3, 8, 8}).conv(10, 3).max_pool(6), 2},
      {"ConvPool1x1", Layers({3, 6, 6}).conv(10, 3).max_pool(1), 2},
      {"ConvPool1x1Stride2", Layers({3, 7, 7}).conv(10, 3).max_pool(1, 2).relu(), 2},
      {"ConvPoolPool", Layers({3, 14, 14}).conv(10, 3).max_pool(2).max_pool(2), 2},
      {"ConvPoolOf255", Layers({1, 17, 19}).conv(3, 3).max_pool({15, 17}).relu(), 2},
      {"ConvPoolOf256", Layers({1, 18, 18}).conv(3, 3).max_pool(16).relu(), 2},
      {"ConvPoolOf400", Layers({2, 24, 24}).conv(3, 3).max_pool(20), 2},
      {"ConvAvgPoolRelu", Layers({3, 10, 10}).conv(16, 3).avg_pool(2).relu(), 2},
      {"ConvStridePoolRelu", Layers({3, 20, 21}).conv(33, 3, 2, 1).max_pool(2).relu(), 2},
      {"ConvDilatedPoolRelu", Layers({3, 14, 15}).conv(16, 3, 1, 1, 2).max_pool(3).relu(), 2},
      {"ConvWithoutBiasPoolRelu", Layers({1, 12, 12}).conv(32, 5, 1, 0, 1, 0).max_pool(2).relu(), 3},
      {"ConvConv", Layers({3, 8, 8}).conv(10, 3).conv(7, 3), 2},
      {"ConvReluConvRelu", Layers({3, 8, 8}).conv(10, 3, 1, 1).relu().conv(16, 3).relu(), 2},

      // Pooling and ReLU alone and first
      {"Relu", Layers({3, 5, 7}).relu(), 3},
      {"ReluConv", Layers({3, 7, 7}).relu().conv(16, 3), 2},
      {"MaxPool", Layers({3, 8, 8}).max_pool(2), 3},
      {"MaxPoolFirst", Layers({3, 12, 12}).max_pool(2).conv(16, 3).relu(), 2},
      {"MaxPoolOverlap", Layers({3, 9, 9}).max_pool(3, 1), 2},
      {"MaxPoolPadded", Layers({3, 9, 10}).max_pool(3, 2, 1), 2},
      {"MaxPoolRectangular", Layers({3, 9, 10}).max_pool({3, 2}, {1, 3}, {1, 0}), 2},
      {"MaxPoolManyChannels", Layers({33, 6, 6}).max_pool(2).relu(), 2},
      {"AvgPool", Layers({3, 8, 9}).avg_pool(2), 3},
      {"AvgPoolPadded", Layers({3, 8, 7}).avg_pool({2, 4}, {1, 2}, {1, 2}), 2},
      {"AvgPoolOverlap", Layers({17, 7, 7}).avg_pool(4, 1, 2), 2},
      {"AvgPoolFirst", Layers({3, 8, 8}).avg_pool(2).conv(16, 3), 2},
      {"AvgPoolThenLinear", Layers({16, 4, 4}).avg_pool(4).flatten().linear(10), 3},
      {"ReluPoolRelu", Layers({3, 8, 8}).relu().max_pool(2).relu(), 2},

      // Linear
      {"Linear", Layers({17, 1, 1}).flatten().linear(10), 3},
      {"LinearOneToOne", Layers({1, 1, 1}).flatten().linear(1), 1},
      {"LinearWithoutBias", Layers({2, 5, 5}).flatten().linear(33, 0), 4},
      {"LinearLinear", Layers({1, 6, 6}).flatten().linear(33).linear(7), 5},
      {"LinearReluLinearRelu", Layers({1, 6, 6}).flatten().linear(64).relu().linear(10).relu(), 5},
      {"LinearWide", Layers({1000, 1, 1}).flatten().linear(700), 3},
      {"LinearBatch1", Layers({1, 10, 10}).flatten().linear(130).relu().linear(3), 1},
      {"LinearBatch64", Layers({1, 10, 10}).flatten().linear(65).relu().linear(10), 64},
      {"FlattenReluLinear", Layers({3, 4, 5}).flatten().relu().linear(9), 2},
      {"FlattenTwice", Layers({3, 4, 5}).flatten().flatten().linear(9), 2},
      {"LinearFlatten", Layers({3, 4, 5}).flatten().linear(9).flatten(), 2},
      {"ConvFlattenReluLinear", Layers({3, 7, 6}).conv(17, 3).flatten().relu().linear(10), 3},
      {"ConvPoolFlattenReluLinear", Layers({3, 8, 8}).conv(17, 3).max_pool(2).flatten().relu().linear(10), 3},
      {"ConvFlattenLinear", Layers({3, 7, 6}).conv(17, 3).relu().flatten().linear(10), 3},
      {"PoolFlattenLinear", Layers({3, 8, 8}).max_pool(2).flatten().linear(10), 3},

      // Whole networks
      {"LeNet",
       Layers({1, 28, 28})
           .conv(6, 5, 1, 2)
           .relu()
           .avg_pool(2)
           .conv(16, 5)
           .relu()
           .avg_pool(2)
           .flatten()
           .linear(120)
           .relu()
           .linear(84)
           .relu()
           .linear(10),
       2,
       {1, 0.1, 0.5}},
      {"Reference", reference_network(), 7, {1, 0.1, 0.5}, true},
      {"ReferenceBatch64", reference_network(), 64, {1, 0.05, 0.5}, true},
  };
  return all;
}

class Exact : public testing::TestWithParam<std::tuple<int32_t, size_t>> {};

TEST_P(Exact, EqualsReference) {
  const auto [instruction_set, index] = GetParam();
  const Case& one = cases()[index];
  const std::vector<int32_t> available = instruction_sets();
  if (std::find(available.begin(), available.end(), instruction_set) == available.end()) {
    GTEST_SKIP() << "this CPU has no " << instruction_set_name(instruction_set);
  }
  if (one.heavy && small_scale()) {
    GTEST_SKIP() << "ADADELTA_TEST_SCALE=small";
  }
  check_exactly(one.layers, one.batch, instruction_set, one.draw);
}

INSTANTIATE_TEST_SUITE_P(Cpu, Exact,
                         testing::Combine(testing::Values(ADN_INSTRUCTION_SET_BASELINE, ADN_INSTRUCTION_SET_AVX2,
                                                          ADN_INSTRUCTION_SET_AVX512),
                                          testing::Range<size_t>(0, cases().size())),
                         [](const auto& info) {
                           return std::string(instruction_set_name(std::get<0>(info.param))) + "_" +
                                  cases()[std::get<1>(info.param)].name;
                         });

class LayersOnEach : public EachInstructionSet {};
ADN_FOR_EACH_INSTRUCTION_SET(LayersOnEach);

TEST_P(LayersOnEach, ShortBatchesEqualReference) {
  const Layers layers = Layers({2, 12, 12}).conv(17, 3).max_pool(2).relu().flatten().linear(33).relu().linear(10);
  for (uint64_t batch : {1, 2, 7, 15, 16, 17, 31, 63}) {
    check_exactly(layers, batch, GetParam(), {2, 0.3, 0.5}, batch, 2, 64);
  }
}

// ---- Real numbers ----

void check_closely(const Layers& layers, uint64_t batch, int32_t reduction, int32_t instruction_set) {
  SCOPED_TRACE(describe(layers) + ", " + instruction_set_name(instruction_set));
  const Context context = make_context(2, instruction_set);
  NetworkSettings settings;
  settings.max_batch_size = batch;
  settings.reduction = reduction;
  // The first seed whose network stays clear of ReLU's and max-pooling's kinks, by more than float32's error can move it.
  for (settings.seed = 1;; ++settings.seed) {
    ASSERT_LE(settings.seed, 100u) << "no draw stays clear of the kinks";
    Network network(context.get(), layers, settings);
    reference::Network expected(layers, reduction);
    load(expected, network);
    Random random(settings.seed);
    const Floats input = random.reals(batch * network.input_count());
    const std::vector<int32_t> labels = random.labels(batch, network.info().output_count);
    const Doubles logits = expected.forward(widen(input));
    if (expected.kink_distance() < expected.forward_tolerance()) {
      continue;
    }
    const double loss = expected.loss(labels);
    expected.backward();

    expect_close(logits, network.forward(input), expected.forward_tolerance(), "output");
    EXPECT_NEAR(loss, network.loss(labels), loss * expected.forward_tolerance());
    network.backward();
    const std::vector<Floats> gradients = network.gradients();
    for (size_t i = 0; i < gradients.size(); ++i) {
      expect_close(*expected.gradients()[i], gradients[i], expected.backward_tolerance(), network.name(i));
    }
    expect_close(expected.input_gradient(), network.input_gradient(), expected.backward_tolerance(), "input");
    return;
  }
}

TEST_P(LayersOnEach, RealNumbersAreClose) {
  for (int32_t reduction : {ADN_REDUCTION_MEAN, ADN_REDUCTION_SUM}) {
    check_closely(Layers({3, 9, 7}).conv(7, 3, 1, 1), 3, reduction, GetParam());
    check_closely(Layers({1, 12, 12}).conv(8, 5).max_pool(2).relu().flatten().linear(10), 5, reduction, GetParam());
    check_closely(Layers({2, 10, 9}).conv(5, {3, 2}, 2, 1, {1, 2}).relu().avg_pool(3, 1, 1), 2, reduction, GetParam());
    check_closely(Layers({1, 6, 6}).flatten().linear(33).relu().linear(17).relu().linear(10), 16, reduction,
                  GetParam());
    check_closely(Layers({3, 4, 4}).avg_pool(3, 1, 1).max_pool(2).flatten().linear(5, 0), 4, reduction, GetParam());
    check_closely(Layers({500, 1, 1}).flatten().linear(300), 8, reduction, GetParam());
  }
}

// ---- Softmax cross-entropy ----

// A network whose logits are its input.
Layers logits(uint64_t classes) { return Layers({classes, 1, 1}).max_pool(1); }

TEST(Loss, EqualsReferenceForEveryReduction) {
  const Context context = make_context();
  const Layers layers = logits(10);
  for (int32_t reduction : {ADN_REDUCTION_MEAN, ADN_REDUCTION_SUM}) {
    NetworkSettings settings;
    settings.reduction = reduction;
    Network network(context.get(), layers, settings);
    reference::Network expected(layers, reduction);
    for (uint64_t batch : {1, 5, 64}) {
      Random random(batch);
      const Floats input = random.reals(batch * 10, -8, 8);
      const std::vector<int32_t> labels = random.labels(batch, 10);
      expected.forward(widen(input));
      const double loss = expected.loss(labels);
      expected.backward();
      network.forward(input);
      // One exponential, logarithm and division in float32 each, the sum over the batch in double.
      EXPECT_NEAR(loss, network.loss(labels), 8 * 0x1p-24 * loss);
      network.backward();
      expect_close(expected.input_gradient(), network.input_gradient(), 8 * 0x1p-24, "gradient of the logits");
    }
  }
}

TEST(Loss, LargeLogitsDoNotOverflow) {
  const Context context = make_context();
  Network network(context.get(), logits(3));
  network.forward({10000, -10000, 0, 1e30f, 1e30f, 1e30f});
  const float expected = (10000 + std::log(3.0f)) / 2;
  EXPECT_NEAR(expected, network.loss({2, 1}), expected * 4 * 0x1p-24);
  network.backward();
  const Floats gradient = network.input_gradient();
  const double third = 1.0 / 6;
  expect_close(Doubles{0.5, 0, -0.5, third, -2 * third, third}, gradient, 8 * 0x1p-24, "gradient of the logits");
}

TEST(Loss, OneClassCostsNothing) {
  const Context context = make_context();
  Network network(context.get(), Layers({4, 1, 1}).flatten().linear(1));
  network.forward({1, 2, 3, 4});
  EXPECT_EQ(0.0f, network.loss({0}));
  network.backward();
  EXPECT_EQ((Floats{0, 0, 0, 0}), network.input_gradient());
}

// A loss of NaN must reach the caller: it is how training notices that it diverged.
TEST(Loss, NotANumberStaysNotANumber) {
  const Context context = make_context();
  Network network(context.get(), logits(3));
  network.forward({1, NAN, 2});
  EXPECT_TRUE(std::isnan(network.loss({0})));
}

// ---- Ties, NaN and infinity ----

TEST_P(LayersOnEach, FirstMaximumOfAWindowWins) {
  const Context context = make_context(1, GetParam());
  const Floats image = {5, 5, 1, 2,  //
                        5, 5, 2, 2,  //
                        0, 0, 7, 3,  //
                        0, 0, 3, 7};
  const Floats expected = {1, 0, 0, 2,  //
                           0, 0, 0, 0,  //
                           3, 0, 4, 0,  //
                           0, 0, 0, 0};
  Network alone(context.get(), Layers({1, 4, 4}).max_pool(2));
  alone.forward(image);
  alone.backward({1, 2, 3, 4});
  EXPECT_EQ(expected, alone.input_gradient());

  Network after_conv(context.get(), Layers({1, 4, 4}).conv(1, 1).max_pool(2));
  write(after_conv.value(0), {1});
  write(after_conv.value(1), {0});
  after_conv.forward(image);
  after_conv.backward({1, 2, 3, 4});
  EXPECT_EQ(expected, after_conv.input_gradient());
}

// NaN and infinities at every place of the image come out where PyTorch puts them: ReLU and max-pooling pass NaN on.
void expect_same_specials(const Layers& layers, float special, int32_t instruction_set) {
  SCOPED_TRACE(describe(layers) + ", " + std::to_string(special) + ", " + instruction_set_name(instruction_set));
  const Context context = make_context(1, instruction_set);
  Network network(context.get(), layers);
  reference::Network expected(layers);
  load(expected, network);
  Random random(3);
  const Floats image = random.reals(network.input_count());
  for (size_t place = 0; place < image.size(); ++place) {
    Floats changed = image;
    changed[place] = special;
    const Doubles wanted = expected.forward(widen(changed));
    const Floats output = network.forward(changed);
    for (size_t i = 0; i < output.size(); ++i) {
      EXPECT_EQ(std::isnan(wanted[i]), std::isnan(output[i]))
          << "input " << place << ", output " << i << ": " << output[i];
      EXPECT_EQ(std::isinf(wanted[i]), std::isinf(output[i]))
          << "input " << place << ", output " << i << ": " << output[i];
      if (std::isinf(wanted[i])) {
        EXPECT_EQ(wanted[i] > 0, output[i] > 0) << "input " << place << ", output " << i;
      }
    }
    if (testing::Test::HasFailure()) {
      return;
    }
  }
}

TEST_P(LayersOnEach, NotANumberAndInfinityPropagate) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (float special : {NAN, infinity, -infinity}) {
    expect_same_specials(Layers({1, 5, 5}).relu(), special, GetParam());
    expect_same_specials(Layers({1, 6, 6}).max_pool(2), special, GetParam());
    expect_same_specials(Layers({2, 5, 5}).max_pool(3, 1, 1), special, GetParam());
    expect_same_specials(Layers({1, 6, 6}).avg_pool(2), special, GetParam());
    expect_same_specials(Layers({1, 7, 7}).conv(3, 3), special, GetParam());
    expect_same_specials(Layers({1, 6, 7}).conv(17, 3, 1, 1), special, GetParam());
    expect_same_specials(Layers({1, 7, 7}).conv(3, 2).relu(), special, GetParam());
    expect_same_specials(Layers({1, 7, 7}).conv(17, 2).max_pool(2).relu(), special, GetParam());
    expect_same_specials(Layers({1, 7, 7}).conv(17, 2).relu().max_pool(2), special, GetParam());
    expect_same_specials(Layers({2, 3, 3}).flatten().linear(5).relu().linear(3), special, GetParam());
  }
}

// The gradient goes where the maximum came from; of several NaN the last counts, as in PyTorch.
TEST_P(LayersOnEach, NotANumberTakesItsWindowsGradient) {
  const Floats image = {1, NAN, NAN, 2,  //
                        3, 4,   5,   NAN};
  const Floats expected = {0, 3, 0, 0,  //
                           0, 0, 0, 5};
  const Context context = make_context(1, GetParam());
  Network alone(context.get(), Layers({1, 2, 4}).max_pool(2));
  alone.forward(image);
  alone.backward({3, 5});
  EXPECT_EQ(expected, alone.input_gradient());

  Network after_conv(context.get(), Layers({1, 2, 4}).conv(1, 1).max_pool(2));
  write(after_conv.value(0), {1});
  write(after_conv.value(1), {0});
  after_conv.forward(image);
  after_conv.backward({3, 5});
  EXPECT_EQ(expected, after_conv.input_gradient());
}

// ---- Dropout ----

// A network whose last layer copies what dropout gives it, so that the mask can be read.
TEST_P(LayersOnEach, DropoutKeepsTheRate) {
  const Context context = make_context(2, GetParam());
  for (float probability : {0.0f, 0.1f, 0.5f, 0.9f}) {
    SCOPED_TRACE(probability);
    Network network(context.get(), Layers({8, 40, 40}).dropout(probability));
    const Floats ones(16 * network.input_count(), 1.0f);
    const Floats output = network.forward(ones);
    const float scale = 1 / (1 - probability);
    size_t dropped = 0;
    for (float value : output) {
      ASSERT_TRUE(value == 0 || std::fabs(value - scale) <= scale * 0x1p-23f) << value;
      dropped += value == 0;
    }
    // Five standard deviations of a binomial count; the draw is fixed by the seed.
    const auto count = static_cast<double>(output.size());
    EXPECT_NEAR(probability * count, static_cast<double>(dropped),
                5 * std::sqrt(count * probability * (1 - probability)));

    // The gradient goes through the same mask.
    network.backward(ones);
    expect_same_bits(output, network.input_gradient(), "gradient of the input");
    // Another step draws another mask; the same step the same one.
    const uint64_t step = 0;
    if (probability > 0) {
      EXPECT_NE(output, network.forward(ones));
    }
    check(adn_network_set_step(network.get(), step));
    expect_same_bits(output, network.forward(ones), "replayed step");
    expect_same_bits(ones, network.forward(ones, ADN_MODE_EVALUATE), "evaluation");
  }
}

// Neighbouring elements, images and steps drop independently: of each pair, a quarter drops both.
TEST(Dropout, DrawsAreIndependent) {
  const Context context = make_context();
  Network network(context.get(), Layers({1, 64, 64}).dropout(0.5f));
  const Floats ones(8 * network.input_count(), 1.0f);
  const Floats now = network.forward(ones), next_step = network.forward(ones);
  const auto expect_quarter = [&](const Floats& other, size_t distance, const char* what) {
    size_t both = 0;
    const size_t count = now.size() - distance;
    for (size_t i = 0; i < count; ++i) {
      both += now[i] == 0 && other[i + distance] == 0;
    }
    const auto n = static_cast<double>(count);
    EXPECT_NEAR(n / 4, static_cast<double>(both), 5 * std::sqrt(n * 3 / 16)) << what;
  };
  expect_quarter(now, 1, "next element");
  expect_quarter(now, 4, "fourth element");
  expect_quarter(now, 64, "next row");
  expect_quarter(now, network.input_count(), "next image");
  expect_quarter(next_step, 0, "next step");

  NetworkSettings settings;
  settings.seed = 2;
  Network other_seed(context.get(), Layers({1, 64, 64}).dropout(0.5f), settings);
  expect_quarter(other_seed.forward(ones), 0, "next seed");
}

// Two dropout layers of one network draw differently.
TEST(Dropout, LayersDrawDifferently) {
  const Context context = make_context();
  Network network(context.get(), Layers({1, 64, 64}).dropout(0.5f).dropout(0.5f));
  const Floats output = network.forward(Floats(network.input_count(), 1.0f));
  size_t kept = 0;
  for (float value : output) {
    kept += value != 0;
  }
  EXPECT_NEAR(1024, static_cast<double>(kept), 5 * std::sqrt(4096 * 3.0 / 16));
}

TEST(Dropout, MaskIsTheSameForEveryThreadCountAndInstructionSet) {
  Floats expected;
  for (int32_t set : instruction_sets()) {
    for (uint32_t threads : {1u, 3u}) {
      const Context context = make_context(threads, set);
      Network network(context.get(), Layers({3, 17, 19}).dropout(0.3f));
      const Floats output = network.forward(Floats(5 * network.input_count(), 1.0f));
      if (expected.empty()) {
        expected = output;
      }
      expect_same_bits(expected, output, instruction_set_name(set));
    }
  }
}

// Between layers: with the identity as the last layer's weight its output is dropout's, which gives the mask; the same step
// again with other weights must equal the reference under that mask.
TEST_P(LayersOnEach, DropoutBetweenLayersEqualsReference) {
  constexpr uint64_t batch = 6, features = 24;
  const std::vector<Layers> networks = {
      Layers({1, 4, 4}).flatten().linear(features).dropout(0.5f).linear(features),
      Layers({1, 4, 4}).flatten().linear(features).relu().dropout(0.75f).linear(features),
      Layers({1, 4, 5}).conv(4, 3).relu().dropout(0.5f).flatten().linear(features),
      Layers({1, 6, 8}).conv(4, 3).max_pool(2).dropout(0.5f).relu().flatten().linear(features),
  };
  for (const Layers& layers : networks) {
    SCOPED_TRACE(describe(layers));
    const Context context = make_context(2, GetParam());
    Network network(context.get(), layers);
    Random random(5);
    const uint64_t weight = network.parameter_count() - 2;
    // Positive throughout, so that only dropout writes zeros.
    for (uint64_t i = 0; i < weight; ++i) {
      Floats values = random.integers(read(network.value(i)).size(), 2);
      for (float& value : values) {
        value = std::fabs(value) + 1;
      }
      write(network.value(i), values);
    }
    const Floats input = random.integers(batch * network.input_count(), 3);
    Floats positive = input;
    for (float& value : positive) {
      value = std::fabs(value) + 1;
    }
    const uint64_t inputs = read(network.value(weight)).size() / features;
    ASSERT_EQ(features, inputs) << "the case must be square";
    Floats identity(features * features);
    for (uint64_t i = 0; i < features; ++i) {
      identity[i * features + i] = 1;
    }
    write(network.value(weight), identity);
    write(network.value(weight + 1), Floats(features));
    const Floats dropped = network.forward(positive);

    reference::Network expected(layers);
    for (uint64_t i = 0; i < network.parameter_count(); ++i) {
      write(network.value(i), random.integers(read(network.value(i)).size(), 2));
    }
    load(expected, network);
    for (reference::Layer& layer : expected.layers()) {
      if (layer.spec.kind == ADN_LAYER_DROPOUT) {
        for (float value : dropped) {
          layer.mask.push_back(value == 0 ? 0 : 1 / (1.0 - layer.spec.probability));
        }
      }
    }
    check(adn_network_set_step(network.get(), 0));
    const Floats gradient = random.integers(batch * features, 2);
    expect_equal(expected.forward(widen(input)), network.forward(input), "output");
    network.backward(gradient);
    expected.backward(widen(gradient));
    ASSERT_LT(expected.largest_magnitude(), 0x1p24);
    const std::vector<Floats> gradients = network.gradients();
    for (size_t i = 0; i < gradients.size(); ++i) {
      expect_equal(*expected.gradients()[i], gradients[i], "gradient of " + network.name(i));
    }
    expect_equal(expected.input_gradient(), network.input_gradient(), "gradient of the input");
  }
}

}  // namespace
}  // namespace adadelta::test
