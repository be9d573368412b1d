// tests/golden: numbers of PyTorch's (libtorch 2.10) and of the formula written out in double. The manifest beside each file
// says how it was made and how far float32 is from float64 there, which is what the tolerances are argued from.
#include <algorithm>
#include <fstream>
#include <limits>

#include "reference.h"

namespace adadelta::test {
namespace {

using reference::Doubles;

template <class T>
std::vector<T> load(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) {
    throw std::runtime_error(path + ": cannot be opened");
  }
  std::vector<T> data(static_cast<size_t>(file.tellg()) / sizeof(T));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(data.size() * sizeof(T)));
  return data;
}

template <class T>
std::vector<T> golden(const std::string& name) {
  return load<T>(std::string(ADN_TEST_GOLDEN_DIR "/") + name);
}

// ---- Adadelta: 257 parameters, 50 steps ----

class GoldenAdadelta : public EachInstructionSet {
 protected:
  static constexpr uint64_t n = 257, steps = 50;
  static constexpr uint64_t snapshots[3] = {1, 10, 50};
};
ADN_FOR_EACH_INSTRUCTION_SET(GoldenAdadelta);

struct Combination {
  const char* name;
  AdadeltaSettings settings;
  double torch32_vs_hand;  // max_rel of the manifest
};

// As in the manifest: |a-b| / max(|a|,|b|), 0 where both are 0 or below the least normal float32.
double difference(double a, double b) {
  const double largest = std::max(std::fabs(a), std::fabs(b));
  return largest < static_cast<double>(std::numeric_limits<float>::min()) ? 0 : std::fabs(a - b) / largest;
}

template <class T>
void expect_each_close(const std::vector<T>& all, size_t snapshot, size_t array, const Doubles& actual,
                       double tolerance, const char* against) {
  static const char* const names[] = {"p", "square_avg", "acc_delta"};
  const size_t n = actual.size();
  for (size_t i = 0; i < n; ++i) {
    const auto expected = static_cast<double>(all[(snapshot * 3 + array) * n + i]);
    EXPECT_LE(difference(expected, actual[i]), tolerance)
        << names[array] << "[" << i << "] against " << against << ": expected " << expected << ", got " << actual[i];
  }
}

Doubles widen(const Floats& data) { return {data.begin(), data.end()}; }

// torch32_vs_hand is how far one float32 run of the same formula is from exact numbers: 1.4e-6, and 5.7e-6 with weight decay,
// where g + weight_decay*p cancels to a two-hundredth of its terms and multiplies the error. There torch rounds once, with a
// fused multiply-add, and this library twice, since it computes the same bits on every instruction set; so its error may be
// three times torch's, and that of torch itself comes on top when the two are compared. The elements whose gradients are 0,
// 1e15, 1e-30 and a single spike (0 to 7) are among those compared.
TEST_P(GoldenAdadelta, EqualsPyTorch) {
  const std::vector<Combination> combinations = {{"defaults", {}, 1.4348225404550172e-06},
                                                 {"lr01", {0.1}, 1.4348225404550172e-06},
                                                 {"wd001", {1, 0.9, 1e-6, 0.01}, 5.668059396837159e-06},
                                                 {"maximize", {1, 0.9, 1e-6, 0, 1}, 1.4348225404550172e-06}};
  const Floats p0 = golden<float>("adadelta/p0.f32"), gradients = golden<float>("adadelta/grads.f32");
  ASSERT_EQ(n, p0.size());
  ASSERT_EQ(n * steps, gradients.size());
  for (const Combination& combination : combinations) {
    SCOPED_TRACE(combination.name);
    const std::string name = std::string("adadelta/") + combination.name;
    const Doubles hand = golden<double>(name + ".hand.f64");
    const Floats torch = golden<float>(name + ".torch.f32");
    ASSERT_EQ(9 * n, hand.size());
    ASSERT_EQ(9 * n, torch.size());

    const Context context = make_context(2, GetParam());
    const OptimizerHandle optimizer = make_optimizer(context.get(), combination.settings);
    const Tensor p = make_tensor(context.get(), {n}), g = make_tensor(context.get(), {n});
    write(p.get(), p0);
    adn_tensor* parameters[] = {p.get()};
    adn_tensor* gradient_list[] = {g.get()};
    check(adn_adadelta_add_group(nullptr, optimizer.get(), parameters, gradient_list, 1, nullptr));
    adn_tensor* square_avg = nullptr;
    adn_tensor* acc_delta = nullptr;
    check(adn_adadelta_get_state(&square_avg, &acc_delta, optimizer.get(), 0));
    const Tensor v(square_avg), u(acc_delta);

    size_t snapshot = 0;
    for (uint64_t step = 1; step <= steps; ++step) {
      const float* row = &gradients[(step - 1) * n];
      write(g.get(), Floats(row, row + n));
      check(adn_adadelta_step(optimizer.get()));
      if (step == snapshots[snapshot]) {
        SCOPED_TRACE("step " + std::to_string(step));
        const adn_tensor* arrays[] = {p.get(), v.get(), u.get()};
        for (size_t array = 0; array < 3; ++array) {
          const Doubles actual = widen(read(arrays[array]));
          expect_each_close(hand, snapshot, array, actual, 3 * combination.torch32_vs_hand, "the formula in double");
          expect_each_close(torch, snapshot, array, actual, 4 * combination.torch32_vs_hand, "torch in float32");
        }
        ++snapshot;
      }
    }
  }
}

// The tests' own reference against the same numbers: torch64_vs_hand is 9.7e-15.
TEST(GoldenReference, AdadeltaEqualsTheFormula) {
  const Floats p0 = golden<float>("adadelta/p0.f32"), gradients = golden<float>("adadelta/grads.f32");
  const Doubles hand = golden<double>("adadelta/wd001.hand.f64");
  Doubles p = widen(p0), v(p.size()), u(p.size());
  for (size_t step = 0; step < 50; ++step) {
    const float* row = &gradients[step * p.size()];
    reference::adadelta_step(p, v, u, Doubles(row, row + p.size()), {1, 0.9, 1e-6, 0.01});
  }
  expect_each_close(hand, 2, 0, p, 2e-14, "the formula in double");
  expect_each_close(hand, 2, 1, v, 2e-14, "the formula in double");
  expect_each_close(hand, 2, 2, u, 2e-14, "the formula in double");
}

// ---- The reference network ----

struct GoldenTensor {
  const char* name;
  uint64_t count, stride;  // every stride-th element is in the files after init
};

constexpr GoldenTensor tensors[] = {{"conv1.weight", 800, 1}, {"conv1.bias", 32, 1},      {"conv2.weight", 51200, 1},
                                    {"conv2.bias", 64, 1},    {"fc1.weight", 524288, 11}, {"fc1.bias", 512, 1},
                                    {"fc2.weight", 5120, 1},  {"fc2.bias", 10, 1}};

// The design's bound for logits, loss, gradients and parameters. The manifest's float32_vs_float64 says that it can be met and
// that it is not idle: libtorch's own float32 is at most 5.5e-7 of the scale from float64 in the logits, 2.7e-6 in the
// gradients (conv1, the farthest from the loss) and 2.3e-7 in the parameters after 5 steps. The weights were chosen so that float32 and
// float64 pick the same maxima in pooling: one flipped window moves conv1's gradient by about 1e-3.
constexpr double tolerance = 1e-5;

class GoldenNetwork : public EachInstructionSet {
 protected:
  void SetUp() override {
    EachInstructionSet::SetUp();
    if (IsSkipped()) {
      return;
    }
#if !defined(ADN_TEST_GOLDEN_INIT)
    GTEST_SKIP() << "no gzip was found to unpack tests/golden/cnn/init.f32.gz when the tests were configured";
#else
    context_ = make_context(2, GetParam());
    network_ = std::make_unique<Network>(context_.get(), reference_network());
    const Floats init = load<float>(ADN_TEST_GOLDEN_INIT);
    auto next = init.begin();
    ASSERT_EQ(std::size(tensors), network_->parameter_count());
    for (size_t i = 0; i < std::size(tensors); ++i) {
      ASSERT_EQ(tensors[i].name, network_->name(i));
      const auto end = next + static_cast<ptrdiff_t>(tensors[i].count);
      write(network_->value(i), Floats(next, end));
      next = end;
    }
    ASSERT_EQ(init.end(), next);
    for (uint8_t pixel : golden<uint8_t>("cnn/images.u8")) {
      input_.push_back(static_cast<float>(pixel) / 255.0f);
    }
    for (uint8_t label : golden<uint8_t>("cnn/labels.u8")) {
      labels_.push_back(label);
    }
#endif
  }

  static void expect_tensors_close(const std::vector<Floats>& actual, const std::string& file) {
    const Floats all = golden<float>("cnn/" + file);
    auto next = all.begin();
    for (size_t i = 0; i < std::size(tensors); ++i) {
      Floats sampled;
      for (uint64_t j = 0; j < tensors[i].count; j += tensors[i].stride) {
        sampled.push_back(actual[i][j]);
      }
      const auto end = next + static_cast<ptrdiff_t>(sampled.size());
      expect_close(Floats(next, end), sampled, tolerance, file + " " + tensors[i].name);
      next = end;
    }
    EXPECT_EQ(all.end(), next);
  }

  Context context_;
  std::unique_ptr<Network> network_;
  Floats input_;
  std::vector<int32_t> labels_;
};
ADN_FOR_EACH_INSTRUCTION_SET(GoldenNetwork);

TEST_P(GoldenNetwork, LogitsActivationsAndLossEqualPyTorchs) {
  expect_close(golden<float>("cnn/logits.f32"), network_->forward(input_), tolerance, "logits");
  for (const auto& [file, layer] : {std::pair{"cnn/act1.f32", 2}, {"cnn/act2.f32", 5}, {"cnn/act3.f32", 8}}) {
    const Floats expected = golden<float>(file);
    ASSERT_TRUE(network_->layer(static_cast<uint64_t>(layer)).has_activation) << file;
    Floats first_image = network_->activation(static_cast<uint64_t>(layer));
    first_image.resize(expected.size());
    expect_close(expected, first_image, tolerance, file);
  }
  EXPECT_NEAR(2.302127777986314, network_->loss(labels_), 2.3 * tolerance);
}

TEST_P(GoldenNetwork, GradientsEqualPyTorchs) {
  network_->forward(input_);
  network_->loss(labels_);
  network_->backward();
  expect_tensors_close(network_->gradients(), "grad.f32");
}

TEST_P(GoldenNetwork, FiveStepsEqualPyTorchs) {
  // losses_float64 of the manifest: before each step and after the last.
  const double losses[] = {2.302127777986314,  2.299987468415473, 2.2981519407476636,
                           2.2966598190571537, 2.295347640723917, 2.2941201341282507};
  const OptimizerHandle optimizer = make_optimizer(context_.get(), *network_, {0.1});
  for (int step = 0; step < 5; ++step) {
    EXPECT_NEAR(losses[step], network_->train_step(optimizer.get(), input_, labels_), 2.3 * tolerance);
    if (step == 0) {
      expect_tensors_close(network_->values(), "params1.f32");
    }
  }
  expect_tensors_close(network_->values(), "params5.f32");
  expect_close(golden<float>("cnn/logits5.f32"), network_->forward(input_, ADN_MODE_EVALUATE), tolerance, "logits5");
  EXPECT_NEAR(losses[5], network_->loss(labels_), 2.3 * tolerance);
}

}  // namespace
}  // namespace adadelta::test
