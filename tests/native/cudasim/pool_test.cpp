// Pools bit for bit against the CPU backend, where they are sums and comparisons in the same order, and NaN against
// PyTorch's rule.
#include <limits>

#include "device.h"

namespace adadelta::test {
namespace {

using namespace adn::cuda;

struct Case {
  const char* name;
  uint64_t batch;
  Shape in;
  Size kernel, stride, padding;
};

const Case kCases[] = {
    {"Reference", 3, {4, 8, 8}, 2, 2, 0},
    {"OddLeftover", 2, {3, 9, 11}, {2, 4}, {2, 4}, 0},
    {"Gaps", 2, {3, 12, 13}, 2, 3, 0},
    {"Overlap", 2, {5, 11, 11}, 3, 2, 0},
    {"Padded", 2, {3, 9, 9}, 3, 2, 1},
    {"PaddedEven", 1, {2, 7, 6}, {4, 2}, {1, 2}, {2, 1}},
    {"StrideOne", 2, {2, 6, 7}, {3, 2}, 1, {1, 0}},
    {"WholeImage", 4, {3, 5, 6}, {5, 6}, 1, 0},
    {"OneElement", 1, {1, 1, 1}, 1, 1, 0},
    {"ManyPlanes", 33, {40, 2, 2}, 2, 2, 0},
    {"WideWindow", 2, {2, 20, 19}, {17, 16}, {3, 1}, {8, 8}},  // 272 elements: winners no longer fit bytes
};

PoolShape shape_of(const Case& c) {
  const auto out = [](uint64_t in, uint64_t kernel, uint64_t stride, uint64_t padding) {
    return static_cast<int32_t>((in + 2 * padding - kernel) / stride + 1);
  };
  return {static_cast<int64_t>(c.batch * c.in.channels),
          static_cast<int32_t>(c.in.height),
          static_cast<int32_t>(c.in.width),
          out(c.in.height, c.kernel.height, c.stride.height, c.padding.height),
          out(c.in.width, c.kernel.width, c.stride.width, c.padding.width),
          static_cast<int32_t>(c.kernel.height),
          static_cast<int32_t>(c.kernel.width),
          static_cast<int32_t>(c.stride.height),
          static_cast<int32_t>(c.stride.width),
          static_cast<int32_t>(c.padding.height),
          static_cast<int32_t>(c.padding.width)};
}

// What the CPU backend makes of the layers.
struct Expected {
  Expected(const Layers& layers, const Floats& x, const Floats& y_gradient, uint64_t batch) {
    const Context context = make_context();
    NetworkSettings settings;
    settings.max_batch_size = batch;
    Network network(context.get(), layers, settings);
    y = network.forward(x);
    network.backward(y_gradient);
    x_gradient = network.input_gradient();
  }
  Floats y, x_gradient;
};

// A few values only, so that windows have several equal maxima; and NaN, infinities and both zeros.
Floats awkward(Random& random, uint64_t count) {
  constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const float rare[] = {nan, inf, -inf, -0.0f};
  Floats data = random.integers(count, 3);
  for (float& value : data) {
    if (random.chance(0.05)) value = rare[random.integer(0, 3)];
  }
  return data;
}

class Pool : public testing::TestWithParam<Case> {
 protected:
  void check_max(const Layers& layers, PoolRelu relu, const Floats& x) {
    const Case& c = GetParam();
    const PoolShape shape = shape_of(c);
    ASSERT_TRUE(pool_supported(shape));
    const auto size = static_cast<size_t>(shape.planes) * static_cast<size_t>(shape.out_height * shape.out_width);
    const Floats y_gradient = Random(3).integers(size, 4);
    const Expected expected(layers, x, y_gradient, c.batch);
    const DeviceArray<float> dx(x), dy_gradient(y_gradient);
    in_each_order([&](cudaStream_t stream) {
      const DeviceArray<float> y(size), x_gradient(x.size());
      const DeviceArray<char> winner(max_pool_winner_bytes(shape));
      check_cuda(max_pool_forward(stream, y.get(), winner.get(), dx.get(), relu, shape));
      check_cuda(max_pool_backward(stream, x_gradient.get(), y.get(), dy_gradient.get(), winner.get(), relu, shape));
      wait(stream);
      expect_same_bits(expected.y, y.read(), "y");
      expect_equal(expected.x_gradient, x_gradient.read(), "gradient of x");
      check_cuda(max_pool_forward(stream, y.get(), nullptr, dx.get(), relu, shape));
      wait(stream);
      expect_same_bits(expected.y, y.read(), "y without winners");
    });
  }
  Layers layers() const { return Layers(GetParam().in); }
  uint64_t count() const { return GetParam().batch * GetParam().in.count(); }
};

TEST_P(Pool, MaxAgreesWithTheCpu) {
  const Case& c = GetParam();
  Random random(1);
  check_max(layers().max_pool(c.kernel, c.stride, c.padding), {false, false}, awkward(random, count()));
}

TEST_P(Pool, MaxThenReluAgreesWithTheCpu) {
  const Case& c = GetParam();
  Random random(2);
  check_max(layers().max_pool(c.kernel, c.stride, c.padding).relu(), {false, true}, awkward(random, count()));
}

TEST_P(Pool, ReluThenMaxAgreesWithTheCpu) {
  const Case& c = GetParam();
  Random random(3);
  check_max(layers().relu().max_pool(c.kernel, c.stride, c.padding), {true, false}, awkward(random, count()));
}

TEST_P(Pool, AverageAgreesWithTheCpu) {
  const Case& c = GetParam();
  const PoolShape shape = shape_of(c);
  Random random(4);
  const Floats x = random.reals(count());
  const auto size = static_cast<size_t>(shape.planes) * static_cast<size_t>(shape.out_height * shape.out_width);
  const Floats y_gradient = random.reals(size);
  const Expected expected(layers().avg_pool(c.kernel, c.stride, c.padding), x, y_gradient, c.batch);
  const DeviceArray<float> dx(x), dy_gradient(y_gradient);
  in_each_order([&](cudaStream_t stream) {
    const DeviceArray<float> y(size), x_gradient(x.size());
    check_cuda(avg_pool_forward(stream, y.get(), dx.get(), shape));
    check_cuda(avg_pool_backward(stream, x_gradient.get(), dy_gradient.get(), shape));
    wait(stream);
    expect_same_bits(expected.y, y.read(), "y");
    expect_same_bits(expected.x_gradient, x_gradient.read(), "gradient of x");
  });
}

INSTANTIATE_TEST_SUITE_P(Cuda, Pool, testing::ValuesIn(kCases),
                         [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

TEST(PoolLimits, RefuseShapesThatDoNotFit) {
  const PoolShape good = {6, 8, 8, 4, 4, 2, 2, 2, 2, 0, 0};
  EXPECT_TRUE(pool_supported(good));
  const auto refused = [&](auto change) {
    PoolShape shape = good;
    change(shape);
    EXPECT_FALSE(pool_supported(shape));
    EXPECT_EQ(cudaErrorInvalidValue, avg_pool_forward(nullptr, nullptr, nullptr, shape));
    EXPECT_EQ(cudaErrorInvalidValue, max_pool_forward(nullptr, nullptr, nullptr, nullptr, {}, shape));
  };
  refused([](PoolShape& s) { s.planes = 0; });
  refused([](PoolShape& s) { s.out_width = 5; });
  refused([](PoolShape& s) { s.pad_y = 2; });  // a window of padding alone
  refused([](PoolShape& s) { s.stride_y = 0; });
  refused([](PoolShape& s) { s.height = s.width = 1 << 16; });
}

}  // namespace
}  // namespace adadelta::test
