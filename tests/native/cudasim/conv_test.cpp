// The matrix products of a convolution against the reference.
//
// Most cases run on small whole numbers, whose sums are exact in float32 in whatever order they are added, so the
// kernels must agree with the reference to the last bit, and one missed or doubled product shows.
#include "device.h"
#include "reference.h"

namespace adadelta::test {
namespace {

using namespace adn::cuda;
using reference::Doubles;

struct Case {
  const char* name;
  Layers layers;  // one convolution
  uint64_t batch;
};

// Rows of C decide on the tile (below 48, below 96, more), columns and depth on its edges and on the number of parts.
const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"OneElement", Layers({1, 1, 1}).conv(1, 1), 1},
      {"OneChannel", Layers({1, 9, 7}).conv(5, 3), 3},
      {"Mnist", Layers({1, 14, 14}).conv(32, 5), 4},
      {"Padded", Layers({3, 8, 8}).conv(16, 3, 1, 1), 2},
      {"AlignedPixels", Layers({4, 10, 10}).conv(33, 3), 2},
      {"Rectangular", Layers({5, 11, 6}).conv(10, {3, 1}, {2, 1}, {1, 0}), 2},
      {"StridePaddingDilation", Layers({7, 10, 13}).conv(33, {2, 3}, {2, 3}, {1, 2}, {3, 2}), 2},
      {"StrideAboveKernel", Layers({3, 11, 12}).conv(7, 2, 3), 2},
      {"PaddingAboveKernel", Layers({2, 4, 3}).conv(5, 2, 1, 4), 2},
      {"DilatedBeyondImage", Layers({2, 4, 4}).conv(3, 3, 1, 3, 4), 2},
      {"WithoutBias", Layers({3, 8, 8}).conv(17, 3, 1, 0, 1, 0), 2},
      {"SquareTile", Layers({50, 5, 5}).conv(64, 3, 1, 1), 2},
      {"SquareTileEdge", Layers({49, 4, 4}).conv(71, 2), 3},
      {"TallTile", Layers({100, 3, 3}).conv(96, 2), 2},
      {"TallTileEdge", Layers({97, 3, 2}).conv(131, 1), 3},
      {"DepthInParts", Layers({64, 4, 4}).conv(8, 3, 1, 1), 2},
      {"PixelsInParts", Layers({2, 20, 20}).conv(3, 3), 3},
      {"Linear", Layers({300, 1, 1}).flatten().linear(10), 5},
      {"LinearWide", Layers({40, 2, 2}).flatten().linear(130), 65},
      {"LinearOne", Layers({7, 1, 1}).flatten().linear(1), 1},
  };
  return all;
}

ConvShape shape_of(const Case& c) {
  const adn_layer& l = c.layers.list.back();
  const reference::Network network(c.layers);
  const Shape& in = c.layers.input;
  if (l.kind == ADN_LAYER_LINEAR) {
    return {static_cast<int32_t>(c.batch),
            static_cast<int32_t>(in.channels),
            static_cast<int32_t>(in.height),
            static_cast<int32_t>(in.width),
            static_cast<int32_t>(l.out_features),
            1,
            1,
            static_cast<int32_t>(in.height),
            static_cast<int32_t>(in.width),
            1,
            1,
            0,
            0,
            1,
            1};
  }
  const auto out = [&](int i, uint64_t extent) {
    return static_cast<int32_t>((extent + 2 * l.padding[i] - l.dilation[i] * (l.kernel[i] - 1) - 1) / l.stride[i] + 1);
  };
  return {static_cast<int32_t>(c.batch),
          static_cast<int32_t>(in.channels),
          static_cast<int32_t>(in.height),
          static_cast<int32_t>(in.width),
          static_cast<int32_t>(l.out_features),
          out(0, in.height),
          out(1, in.width),
          static_cast<int32_t>(l.kernel[0]),
          static_cast<int32_t>(l.kernel[1]),
          static_cast<int32_t>(l.stride[0]),
          static_cast<int32_t>(l.stride[1]),
          static_cast<int32_t>(l.padding[0]),
          static_cast<int32_t>(l.padding[1]),
          static_cast<int32_t>(l.dilation[0]),
          static_cast<int32_t>(l.dilation[1])};
}

Doubles widen(const Floats& data) { return {data.begin(), data.end()}; }

class Conv : public testing::TestWithParam<size_t> {
 protected:
  const Case& c = cases()[GetParam()];
};

TEST_P(Conv, AgreesExactlyOnWholeNumbers) {
  const ConvShape shape = shape_of(c);
  ASSERT_TRUE(conv_supported(shape));
  reference::Network expected(c.layers);
  Random random(GetParam() + 1);
  reference::Layer& layer = expected.layers().back();
  const Floats x = random.integers(c.batch * c.layers.input.count(), 3);
  const Floats weight = random.integers(layer.weight.size(), 2), bias = random.integers(layer.bias.size(), 2);
  layer.weight = widen(weight);
  layer.bias = widen(bias);
  Doubles y = expected.forward(widen(x));
  const Floats y_gradient = random.integers(y.size(), 2);
  expected.backward(widen(y_gradient));
  ASSERT_LT(expected.largest_magnitude(), 0x1p24) << "the case does not prove that float32 is exact";
  Doubles rectified = y;
  for (double& value : rectified) value = std::max(value, 0.0);

  const DeviceArray<float> dx(x), dweight(weight), dbias(bias), dy_gradient(y_gradient);
  const DeviceArray<char> workspace(std::max(
      {conv_forward_workspace(shape), conv_backward_data_workspace(shape), conv_backward_weights_workspace(shape)}));
  in_each_order([&](cudaStream_t stream) {
    // Arrays that begin off 16 bytes cannot be written as vectors.
    for (const size_t offset : {0, 1}) {
      const DeviceArray<float> dy(y.size(), offset), dx_gradient(x.size(), offset),
          dweight_gradient(weight.size(), offset);
      const float* b = bias.empty() ? nullptr : dbias.get();
      check_cuda(conv_forward(stream, dy.get(), dx.get(), dweight.get(), b, offset != 0, shape, workspace.get()));
      check_cuda(
          conv_backward_data(stream, dx_gradient.get(), dy_gradient.get(), dweight.get(), shape, workspace.get()));
      check_cuda(
          conv_backward_weights(stream, dweight_gradient.get(), dx.get(), dy_gradient.get(), shape, workspace.get()));
      wait(stream);
      expect_equal(offset != 0 ? rectified : y, dy.read(), "y");
      expect_equal(expected.input_gradient(), dx_gradient.read(), "gradient of x");
      expect_equal(*expected.gradients()[0], dweight_gradient.read(), "gradient of the weight");
    }
  });
}

// Real numbers, within what float32's rounding allows (argued in reference.h), and the same bits in every order.
TEST_P(Conv, AgreesOnRealNumbers) {
  const ConvShape shape = shape_of(c);
  reference::Network expected(c.layers);
  Random random(GetParam() + 100);
  reference::Layer& layer = expected.layers().back();
  const Floats x = random.reals(c.batch * c.layers.input.count());
  const Floats weight = random.reals(layer.weight.size()), bias = random.reals(layer.bias.size());
  layer.weight = widen(weight);
  layer.bias = widen(bias);
  const Doubles y = expected.forward(widen(x));
  const Floats y_gradient = random.reals(y.size());
  expected.backward(widen(y_gradient));

  const DeviceArray<float> dx(x), dweight(weight), dbias(bias), dy_gradient(y_gradient);
  const DeviceArray<char> workspace(std::max(
      {conv_forward_workspace(shape), conv_backward_data_workspace(shape), conv_backward_weights_workspace(shape)}));
  std::vector<Floats> first;
  in_each_order([&](cudaStream_t stream) {
    const DeviceArray<float> dy(y.size()), dx_gradient(x.size()), dweight_gradient(weight.size());
    const float* b = bias.empty() ? nullptr : dbias.get();
    check_cuda(conv_forward(stream, dy.get(), dx.get(), dweight.get(), b, false, shape, workspace.get()));
    check_cuda(conv_backward_data(stream, dx_gradient.get(), dy_gradient.get(), dweight.get(), shape, workspace.get()));
    check_cuda(
        conv_backward_weights(stream, dweight_gradient.get(), dx.get(), dy_gradient.get(), shape, workspace.get()));
    wait(stream);
    const std::vector<Floats> results = {dy.read(), dx_gradient.read(), dweight_gradient.read()};
    if (first.empty()) {
      first = results;
      expect_close(y, results[0], expected.forward_tolerance(), "y");
      expect_close(expected.input_gradient(), results[1], expected.backward_tolerance(), "gradient of x");
      expect_close(*expected.gradients()[0], results[2], expected.backward_tolerance(), "gradient of the weight");
    }
    expect_same_bits(first, results, "result");
  });
}

INSTANTIATE_TEST_SUITE_P(Cuda, Conv, testing::Range<size_t>(0, cases().size()),
                         [](const testing::TestParamInfo<size_t>& info) { return cases()[info.param].name; });

TEST(ConvLimits, RefuseShapesThatDoNotFit) {
  const ConvShape good = {2, 3, 8, 8, 4, 6, 6, 3, 3, 1, 1, 0, 0, 1, 1};
  EXPECT_TRUE(conv_supported(good));
  const auto refused = [&](auto change) {
    ConvShape shape = good;
    change(shape);
    EXPECT_FALSE(conv_supported(shape));
    EXPECT_EQ(cudaErrorInvalidValue, conv_forward(nullptr, nullptr, nullptr, nullptr, nullptr, false, shape, nullptr));
  };
  refused([](ConvShape& s) { s.batch = 0; });
  refused([](ConvShape& s) { s.pad_y = -1; });
  refused([](ConvShape& s) { s.out_height = 7; });  // the last window would end outside of the image
  refused([](ConvShape& s) { s.stride_x = 2; });
  refused([](ConvShape& s) { s.dilation_y = 2; });
  refused([](ConvShape& s) { s.batch = 1 << 26; });     // 2^26 * 64 pixels
  refused([](ConvShape& s) { s.channels = 1 << 28; });  // 2^28 * 9 taps
  refused([](ConvShape& s) { s.out_channels = 1 << 28; });
  refused([](ConvShape& s) { s.pad_x = 0x7FFFFFFF; });
}

// Without room for its parts a product is refused before anything runs.
// A batch of 65 has tiles enough and is not cut; one image is cut into two parts, which need a place.
TEST(ConvLimits, TheWorkspaceServesSmallerBatches) {
  const ConvShape most = {65, 256, 16, 16, 8, 16, 16, 1, 1, 1, 1, 0, 0, 1, 1};
  ConvShape one = most;
  one.batch = 1;
  const DeviceArray<float> x(Floats(256 * 256, 1.0f)), weight(Floats(8 * 256, 1.0f)), y(8 * 256);
  const DeviceArray<uint8_t> workspace(conv_forward_workspace(most));
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  check_cuda(conv_forward(stream, y.get(), x.get(), weight.get(), nullptr, false, one, workspace.get()));
  wait(stream);
  expect_equal(Floats(8 * 256, 256.0f), y.read(), "y");
  check_cuda(cudaStreamDestroy(stream));
}

TEST(ConvLimits, RefuseAMissingWorkspace) {
  const ConvShape shape = {2, 64, 4, 4, 8, 4, 4, 3, 3, 1, 1, 1, 1, 1, 1};
  ASSERT_GT(conv_forward_workspace(shape), 0u);
  EXPECT_EQ(cudaErrorInvalidValue, conv_forward(nullptr, nullptr, nullptr, nullptr, nullptr, false, shape, nullptr));
}

}  // namespace
}  // namespace adadelta::test
