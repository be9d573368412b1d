// Softmax cross-entropy against the formula in double. The tolerance: expf, logf, the sum over the classes and two
// products each round within a few units in the last place (6e-8), and a difference of logits up to 20 rounds by as
// much again, so that 4e-6 of the largest value leaves room; the gradient's values are at most `scale`.
#include "device.h"

namespace adadelta::test {
namespace {

using namespace adn::cuda;

struct Result {
  float loss;
  Floats losses, gradient;
};

Result run(cudaStream_t stream, const Floats& logits, const std::vector<int32_t>& labels, float scale) {
  const uint64_t batch = labels.size(), classes = logits.size() / batch;
  const DeviceArray<float> dlogits(logits), loss(1), losses(batch), gradient(logits.size());
  const DeviceArray<int32_t> dlabels(labels);
  check_cuda(softmax_cross_entropy(stream, loss.get(), losses.get(), gradient.get(), dlogits.get(), dlabels.get(),
                                   scale, batch, classes));
  wait(stream);
  return {loss.read()[0], losses.read(), gradient.read()};
}

TEST(SoftmaxCrossEntropy, AgreesWithTheFormula) {
  struct Shape {
    uint64_t batch, classes;
  };
  for (const Shape& s : {Shape{1, 1}, Shape{1, 2}, Shape{7, 10}, Shape{64, 10}, Shape{9, 31}, Shape{8, 32},
                         Shape{5, 33}, Shape{3, 1000}, Shape{300, 3}}) {
    Random random(s.classes);
    const Floats logits = random.reals(s.batch * s.classes, -10, 10);
    const std::vector<int32_t> labels = random.labels(s.batch, s.classes);
    const float scale = 1.0f / static_cast<float>(s.batch);
    std::vector<double> losses, gradient;
    double total = 0;
    for (uint64_t row = 0; row < s.batch; ++row) {
      const float* x = logits.data() + row * s.classes;
      const double most = static_cast<double>(*std::max_element(x, x + s.classes));
      double sum = 0;
      for (uint64_t i = 0; i < s.classes; ++i) sum += std::exp(static_cast<double>(x[i]) - most);
      losses.push_back(std::log(sum) + most - static_cast<double>(x[labels[row]]));
      total += losses.back() * static_cast<double>(scale);
      for (uint64_t i = 0; i < s.classes; ++i) {
        const double p = std::exp(static_cast<double>(x[i]) - most) / sum;
        gradient.push_back(static_cast<double>(scale) * (p - (static_cast<int32_t>(i) == labels[row] ? 1 : 0)));
      }
    }
    Floats first;
    in_each_order([&](cudaStream_t stream) {
      const Result result = run(stream, logits, labels, scale);
      EXPECT_NEAR(total, static_cast<double>(result.loss), 4e-6 * std::max(1.0, total));
      for (size_t i = 0; i < losses.size(); ++i) {
        EXPECT_NEAR(losses[i], static_cast<double>(result.losses[i]), 4e-6 * std::max(1.0, losses[i])) << i;
      }
      for (size_t i = 0; i < gradient.size(); ++i) {
        ASSERT_NEAR(gradient[i], static_cast<double>(result.gradient[i]), 4e-6 * static_cast<double>(scale)) << i;
      }
      Floats all = result.gradient;
      all.push_back(result.loss);
      if (first.empty()) first = all;
      expect_same_bits(first, all, "gradient and loss");
    });
  }
}

TEST(SoftmaxCrossEntropy, SurvivesLargeLogits) {
  in_each_order([&](cudaStream_t stream) {
    const Result result = run(stream, {3e38f, -3e38f, 0, 1000, 1000, 999}, {0, 1}, 1);
    EXPECT_EQ(0.0f, result.losses[0]);
    EXPECT_NEAR(0.8619, static_cast<double>(result.losses[1]), 1e-4);  // log(2 + 1/e)
    EXPECT_EQ(0.0f, result.gradient[0]);
  });
}

// The core refuses such labels; should one come through, nothing beyond its own row's loss is touched.
TEST(SoftmaxCrossEntropy, GivesNanForALabelOutOfRange) {
  const Result result = run(nullptr, {1, 2, 3, 4}, {2, -1}, 1);
  EXPECT_TRUE(std::isnan(result.losses[0]));
  EXPECT_TRUE(std::isnan(result.losses[1]));
}

}  // namespace
}  // namespace adadelta::test
