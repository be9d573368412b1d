// What goes element by element, bit for bit against the CPU backend or a loop of one line; and the bias's gradient.
#include <limits>

#include "core/philox.h"
#include "device.h"

namespace adadelta::test {
namespace {

using namespace adn::cuda;

constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

// Around the ends of vectors, warps, blocks and grids' strides.
const uint64_t kCounts[] = {1, 2, 3, 4, 5, 31, 33, 127, 1023, 1024, 1025, 4099};

Floats awkward(uint64_t count) {
  Floats data = Random(count).reals(count);
  const float rare[] = {kNan, kInfinity, -kInfinity, -0.0f, 0.0f};
  for (size_t i = 0; i < data.size(); i += 7) data[i] = rare[i / 7 % 5];
  return data;
}

TEST(BiasRelu, AddsTheChannelsBias) {
  struct Shape {
    uint64_t batch, channels, pixels;
  };
  for (const Shape& s : {Shape{1, 1, 1}, Shape{3, 5, 7}, Shape{2, 33, 4}, Shape{5, 10, 1}, Shape{2, 3, 144},
                         Shape{64, 7, 3}, Shape{1, 2, 1030}}) {
    const uint64_t count = s.batch * s.channels * s.pixels;
    const Floats x = awkward(count), bias = Random(9).reals(s.channels);
    in_each_order([&](cudaStream_t stream) {
      for (const size_t offset : {0, 1, 2}) {
        for (const bool relu : {false, true}) {
          for (const bool with_bias : {false, true}) {
            const DeviceArray<float> dx(x, offset), dbias(bias), y(count, offset);
            const float* b = with_bias ? dbias.get() : nullptr;
            check_cuda(bias_relu(stream, y.get(), dx.get(), b, relu, s.batch, s.channels, s.pixels));
            check_cuda(bias_relu(stream, dx.get(), dx.get(), b, relu, s.batch, s.channels, s.pixels));  // in place
            wait(stream);
            Floats expected = x;
            for (uint64_t i = 0; i < count; ++i) {
              if (with_bias) expected[i] += bias[i / s.pixels % s.channels];
              if (relu && expected[i] < 0) expected[i] = 0;
            }
            expect_same_bits(expected, y.read(), "y");
            expect_same_bits(expected, dx.read(), "x in place");
          }
        }
      }
    });
  }
}

TEST(ReluBackward, StopsWhereTheOutputIsNotPositive) {
  for (const uint64_t count : kCounts) {
    const Floats y = awkward(count), gradient = Random(2).reals(count);
    Floats expected = gradient;
    for (uint64_t i = 0; i < count; ++i) {
      if (y[i] <= 0) expected[i] = 0;
    }
    in_each_order([&](cudaStream_t stream) {
      for (const size_t offset : {0, 3}) {
        const DeviceArray<float> dy(y, offset), dgradient(gradient, offset), x_gradient(count, offset);
        check_cuda(relu_backward(stream, x_gradient.get(), dy.get(), dgradient.get(), count));
        check_cuda(relu_backward(stream, dgradient.get(), dy.get(), dgradient.get(), count));
        wait(stream);
        expect_same_bits(expected, x_gradient.read(), "gradient of x");
        expect_same_bits(expected, dgradient.read(), "gradient in place");
      }
    });
  }
}

// Whole numbers, whose sums are exact in any order.
TEST(BiasGradient, SumsImagesAndPixels) {
  struct Shape {
    uint64_t batch, channels, pixels;
  };
  for (const Shape& s :
       {Shape{1, 1, 1}, Shape{7, 3, 5}, Shape{64, 10, 1}, Shape{65, 33, 1}, Shape{3, 4, 31}, Shape{3, 4, 32},
        Shape{5, 3, 577}, Shape{3, 2, 16385}, Shape{40, 2, 900}, Shape{16400, 3, 1}}) {
    const Floats y_gradient = Random(s.pixels).integers(s.batch * s.channels * s.pixels, 3);
    std::vector<double> expected(s.channels);
    for (size_t i = 0; i < y_gradient.size(); ++i) {
      expected[i / s.pixels % s.channels] += static_cast<double>(y_gradient[i]);
    }
    const DeviceArray<float> dy_gradient(y_gradient);
    in_each_order([&](cudaStream_t stream) {
      const DeviceArray<float> result(s.channels);
      const DeviceArray<char> workspace(bias_gradient_workspace(s.batch, s.channels, s.pixels));
      check_cuda(
          bias_gradient(stream, result.get(), dy_gradient.get(), s.batch, s.channels, s.pixels, workspace.get()));
      wait(stream);
      expect_equal(expected, result.read(), "gradient of the bias");
    });
  }
}

TEST(Dropout, DropsWhatTheCpuDrops) {
  const Context context = make_context();
  for (const uint64_t count : kCounts) {
    for (const float probability : {0.0f, 0.3f, 0.9f}) {
      const Floats x = Random(count).reals(count), y_gradient = Random(count + 1).reals(count);
      NetworkSettings settings;
      settings.max_batch_size = 1;
      settings.seed = 0x123456789abcdefull;
      // A layer that changes nothing stands before it, so that its number is not 0.
      Network network(context.get(), Layers({count, 1, 1}).avg_pool(1).dropout(probability), settings);
      in_each_order([&](cudaStream_t stream) {
        for (const size_t offset : {0, 1}) {
          const DeviceArray<float> dx(x, offset), y(count, offset);
          const DeviceArray<uint64_t> step(std::vector<uint64_t>{0});
          check_cuda(dropout(stream, y.get(), dx.get(), count, probability, settings.seed, 1, step.get()));
          wait(stream);
          Floats expected(count);
          const float scale = 1.0f / (1.0f - probability);
          for (uint64_t i = 0; i < count; ++i) {
            const adn::PhiloxWords words = adn::philox(settings.seed, adn::dropout_stream(1, 0), i / 4);
            expected[i] = adn::uniform01(words.word[i % 4]) >= probability ? x[i] * scale : 0.0f;
          }
          expect_same_bits(expected, y.read(), "y");
        }
      });
      // The numbers are those of the CPU backend's first training pass.
      const DeviceArray<float> dx(x), y(count);
      const DeviceArray<uint64_t> step(std::vector<uint64_t>{0});
      check_cuda(dropout(nullptr, y.get(), dx.get(), count, probability, settings.seed, 1, step.get()));
      expect_same_bits(network.forward(x), y.read(), "the CPU backend's output");
    }
  }
}

TEST(Dropout, ReadsTheStepFromMemory) {
  const Floats x(1000, 1.0f);
  const DeviceArray<float> dx(x), first(x.size()), second(x.size()), again(x.size());
  DeviceArray<uint64_t> step(std::vector<uint64_t>{5});
  check_cuda(dropout(nullptr, first.get(), dx.get(), x.size(), 0.5f, 1, 2, step.get()));
  step.write({6});
  check_cuda(dropout(nullptr, second.get(), dx.get(), x.size(), 0.5f, 1, 2, step.get()));
  step.write({5});
  check_cuda(dropout(nullptr, again.get(), dx.get(), x.size(), 0.5f, 1, 2, step.get()));
  EXPECT_NE(first.read(), second.read());
  expect_same_bits(first.read(), again.read(), "the same step");
}

TEST(Fill, RepeatsElementsOfEverySize) {
  const auto check = [&](auto element) {
    using E = decltype(element);
    for (const uint64_t count : kCounts) {
      in_each_order([&](cudaStream_t stream) {
        for (const size_t offset : {0, 1}) {
          const DeviceArray<E> memory(count, offset);
          check_cuda(fill(stream, memory.get(), element, sizeof(E), count));
          wait(stream);
          EXPECT_EQ(std::vector<E>(count, element), memory.read());
        }
      });
    }
  };
  check(uint16_t{0x1234});
  check(uint32_t{0x12345678});
  check(uint64_t{0x123456789abcdef0});
  EXPECT_EQ(cudaErrorInvalidValue, fill(nullptr, nullptr, 0, 3, 1));
}

TEST(GatherImages, DividesBytesBy255) {
  for (const uint64_t size : {1, 3, 4, 27, 784, 4100, 5001}) {
    std::vector<uint8_t> images(11 * size);
    for (size_t i = 0; i < images.size(); ++i) images[i] = static_cast<uint8_t>(i * 37 + i / size);
    const std::vector<uint32_t> order = {3, 10, 0, 3, 7};
    Floats expected;
    for (const uint32_t image : order) {
      for (uint64_t i = 0; i < size; ++i) expected.push_back(static_cast<float>(images[image * size + i]) / 255.0f);
    }
    in_each_order([&](cudaStream_t stream) {
      for (const size_t offset : {0, 1}) {
        const DeviceArray<uint8_t> dimages(images, offset);
        const DeviceArray<uint32_t> dorder(order);
        const DeviceArray<float> x(order.size() * size, offset);
        check_cuda(gather_images(stream, x.get(), dimages.get(), size, dorder.get(), order.size()));
        wait(stream);
        expect_same_bits(expected, x.read(), "x");
      }
    });
  }
}

// Nothing to do is no error and no launch, which a grid of no blocks would be.
TEST(Nothing, IsDoneWithoutALaunch) {
  const uint64_t before = cudasim::counts().kernel_launches;
  EXPECT_EQ(cudaSuccess, bias_relu(nullptr, nullptr, nullptr, nullptr, true, 0, 3, 4));
  EXPECT_EQ(cudaSuccess, relu_backward(nullptr, nullptr, nullptr, nullptr, 0));
  EXPECT_EQ(cudaSuccess, dropout(nullptr, nullptr, nullptr, 0, 0.5f, 1, 1, nullptr));
  EXPECT_EQ(cudaSuccess, fill(nullptr, nullptr, 0, 4, 0));
  EXPECT_EQ(cudaSuccess, gather_images(nullptr, nullptr, nullptr, 9, nullptr, 0));
  EXPECT_EQ(cudaSuccess, adn::cuda::adadelta(nullptr, {}, true));
  EXPECT_EQ(before, cudasim::counts().kernel_launches);
}

}  // namespace
}  // namespace adadelta::test
