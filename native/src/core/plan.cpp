#include "core/plan.h"

#include <algorithm>
#include <cstring>

#include "core/options.h"
#include "core/tensor.h"

namespace adn {
namespace {

using ull = unsigned long long;

constexpr uint64_t kMaxExtent = uint64_t{1} << 31;    // of any one dimension, kernel, stride …
constexpr uint64_t kMaxElements = uint64_t{1} << 40;  // of any one value or parameter

struct Kind {
  const char* type;    // PyTorch's module
  const char* prefix;  // of default names
};

Kind kind_of(int32_t kind) {
  switch (kind) {
    case ADN_LAYER_CONV2D:
      return {"Conv2d", "conv"};
    case ADN_LAYER_MAXPOOL2D:
      return {"MaxPool2d", "pool"};
    case ADN_LAYER_AVGPOOL2D:
      return {"AvgPool2d", "pool"};
    case ADN_LAYER_RELU:
      return {"ReLU", "relu"};
    case ADN_LAYER_FLATTEN:
      return {"Flatten", "flatten"};
    case ADN_LAYER_LINEAR:
      return {"Linear", "fc"};
    case ADN_LAYER_DROPOUT:
      return {"Dropout", "dropout"};
    default:
      return {nullptr, nullptr};
  }
}

struct ShapeOf : ShapeText {
  explicit ShapeOf(const Shape3& s) : ShapeText(&s.channels, s.flat ? 1 : 3) {}
};

class Planner {
 public:
  Planner(const std::vector<adn_layer>& layers, const adn_network_options& options) {
    plan_.options = options;
    plan_.input = {options.input_shape[0], options.input_shape[1], options.input_shape[2], false};
    check_options();
    name_layers(layers);
    shape_ = image_ = plan_.input;
    for (size_t i = 0; i < plan_.layers.size(); ++i) add_layer(i);
    if (plan_.ops.empty()) {
      fail(ADN_STATUS_INVALID_ARGUMENT,
           "layers: none of the %llu computes anything, expected at least one layer beside Flatten",
           static_cast<ull>(layers.size()));
    }
    plan_.output = shape_;
    plan_.place_values();
  }

  Plan take() { return std::move(plan_); }

 private:
  void check_options() {
    const adn_network_options& o = plan_.options;
    for (int i = 0; i < 3; ++i) {
      if (o.input_shape[i] == 0 || o.input_shape[i] >= kMaxExtent) {
        fail(ADN_STATUS_INVALID_ARGUMENT, "options.input_shape[%d]: %llu, expected 1 <= extent < 2^31", i,
             static_cast<ull>(o.input_shape[i]));
      }
    }
    if (o.max_batch_size == 0 || o.max_batch_size >= kMaxExtent) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "options.max_batch_size: %llu, expected 1 <= max_batch_size < 2^31",
           static_cast<ull>(o.max_batch_size));
    }
    if (too_large(plan_.input)) {
      fail(ADN_STATUS_INVALID_ARGUMENT,
           "options.input_shape: %s and a batch of %llu, expected at most 2^40 elements in all",
           ShapeOf(plan_.input).text, static_cast<ull>(o.max_batch_size));
    }
    if (o.reduction != ADN_REDUCTION_MEAN && o.reduction != ADN_REDUCTION_SUM) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "options.reduction: %d, expected 0 (mean) or 1 (sum)", o.reduction);
    }
    check_flag(o.input_gradient, "options", "input_gradient");
    check_flag(o.inference, "options", "inference");
    if (o.inference != 0 && o.input_gradient != 0) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "options.input_gradient: 1 with inference 1, expected 0");
    }
  }

  void name_layers(const std::vector<adn_layer>& layers) {
    for (size_t i = 0; i < layers.size(); ++i) {
      const adn_layer& spec = layers[i];
      const Kind kind = kind_of(spec.kind);
      if (kind.type == nullptr) {
        fail(ADN_STATUS_INVALID_ARGUMENT, "layers[%zu].kind: %d, expected 1 <= kind <= %d", i, spec.kind,
             ADN_LAYER_DROPOUT);
      }
      PlannedLayer layer = {};
      layer.spec = spec;
      layer.spec.name = nullptr;
      layer.name = spec.name != nullptr ? checked_name(spec.name, i) : default_name(kind.prefix);
      for (size_t j = 0; j < i; ++j) {
        if (plan_.layers[j].name == layer.name) {
          fail(ADN_STATUS_INVALID_ARGUMENT,
               "layers[%zu].name: \"%s\", expected a name that no other layer has, but layers[%zu] has it", i,
               layer.name.c_str(), j);
        }
      }
      plan_.layers.push_back(layer);
    }
  }

  static std::string checked_name(const char* name, size_t index) {
    const size_t length = strnlen(name, 64);
    const bool allowed = length != 0 && length < 64 && std::all_of(name, name + length, [](char c) {
                           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                                  c == '_' || c == '-' || c == '.';
                         });
    if (!allowed) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "layers[%zu].name: \"%.63s\", expected 1 to 63 characters of [A-Za-z0-9_-.]",
           index, name);
    }
    return name;
  }

  // The n-th layer with this prefix is prefix + n, whether or not the others have names of their own.
  std::string default_name(const char* prefix) const {
    const auto same = [&](const PlannedLayer& layer) {
      return std::strcmp(kind_of(layer.spec.kind).prefix, prefix) == 0;
    };
    return prefix + std::to_string(1 + std::count_if(plan_.layers.begin(), plan_.layers.end(), same));
  }

  [[noreturn]] void refuse(const PlannedLayer& layer, const char* property, uint64_t value,
                           const char* expected) const {
    fail(ADN_STATUS_INVALID_ARGUMENT, "layer %s (%s): %s: %llu, expected %s", layer.name.c_str(),
         layer_kind_name(layer.spec.kind), property, static_cast<ull>(value), expected);
  }

  void require_image(const PlannedLayer& layer) const {
    if (shape_.flat) {
      fail(ADN_STATUS_INVALID_ARGUMENT,
           "layer %s (%s): input shape %s is flat, expected an image [channels, height, width]", layer.name.c_str(),
           layer_kind_name(layer.spec.kind), ShapeOf(shape_).text);
    }
  }

  // Output extents of a window that slides over the current shape.
  Shape3 slide(const PlannedLayer& layer, uint64_t channels) const {
    const adn_layer& s = layer.spec;
    const bool pool = s.kind != ADN_LAYER_CONV2D;
    static const char* const kKernel[] = {"kernel[0]", "kernel[1]"};
    static const char* const kStride[] = {"stride[0]", "stride[1]"};
    static const char* const kPadding[] = {"padding[0]", "padding[1]"};
    static const char* const kDilation[] = {"dilation[0]", "dilation[1]"};
    const uint64_t in[2] = {shape_.height, shape_.width};
    uint64_t out[2], needed[2];
    for (int i = 0; i < 2; ++i) {
      if (s.kernel[i] == 0 || s.kernel[i] >= kMaxExtent) refuse(layer, kKernel[i], s.kernel[i], "1 <= kernel < 2^31");
      if (s.stride[i] == 0 || s.stride[i] >= kMaxExtent) refuse(layer, kStride[i], s.stride[i], "1 <= stride < 2^31");
      if (s.padding[i] >= kMaxExtent) refuse(layer, kPadding[i], s.padding[i], "0 <= padding < 2^31");
      if (s.dilation[i] == 0 || s.dilation[i] >= kMaxExtent) {
        refuse(layer, kDilation[i], s.dilation[i], "1 <= dilation < 2^31");
      }
      if (pool && s.dilation[i] != 1) refuse(layer, kDilation[i], s.dilation[i], "1 for pooling");
      if (pool && s.padding[i] > s.kernel[i] / 2) {
        refuse(layer, kPadding[i], s.padding[i], "at most half the kernel for pooling");
      }
      needed[i] = s.dilation[i] * (s.kernel[i] - 1) + 1;
      out[i] = in[i] + 2 * s.padding[i] < needed[i] ? 0 : (in[i] + 2 * s.padding[i] - needed[i]) / s.stride[i] + 1;
    }
    const Shape3 padded = {shape_.channels, in[0] + 2 * s.padding[0], in[1] + 2 * s.padding[1], false};
    if (too_large(padded)) {
      fail(ADN_STATUS_INVALID_ARGUMENT,
           "layer %s (%s): padding [%llu, %llu]: a padded input of %s and a batch of %llu, expected at most 2^40 "
           "elements "
           "in all",
           layer.name.c_str(), layer_kind_name(s.kind), static_cast<ull>(s.padding[0]), static_cast<ull>(s.padding[1]),
           ShapeOf(padded).text, static_cast<ull>(plan_.options.max_batch_size));
    }
    if (out[0] == 0 || out[1] == 0) {
      fail(ADN_STATUS_INVALID_ARGUMENT,
           "layer %s (%s): input shape %s with padding [%llu, %llu] is smaller than the window, expected at least %s",
           layer.name.c_str(), layer_kind_name(s.kind), ShapeOf(shape_).text, static_cast<ull>(s.padding[0]),
           static_cast<ull>(s.padding[1]), ShapeOf({shape_.channels, needed[0], needed[1], false}).text);
    }
    return {channels, out[0], out[1], false};
  }

  void add_layer(size_t index) {
    PlannedLayer& layer = plan_.layers[index];
    adn_layer& spec = layer.spec;
    switch (spec.kind) {
      case ADN_LAYER_CONV2D:
        require_image(layer);
        check_features(layer);
        emit(index, ADN_OP_CONV, slide(layer, spec.out_features));
        break;
      case ADN_LAYER_LINEAR:
        if (!shape_.flat) {
          fail(ADN_STATUS_INVALID_ARGUMENT,
               "layer %s (Linear): input shape %s is an image, expected a flat [%llu]: put Flatten before it",
               layer.name.c_str(), ShapeOf(shape_).text, static_cast<ull>(shape_.count()));
        }
        check_features(layer);
        emit(index, ADN_OP_CONV, {spec.out_features, 1, 1, true});
        break;
      case ADN_LAYER_MAXPOOL2D:
      case ADN_LAYER_AVGPOOL2D: {
        require_image(layer);
        for (int i = 0; i < 2; ++i) {
          if (spec.stride[i] == 0) spec.stride[i] = spec.kernel[i];
        }
        const Shape3 out = slide(layer, shape_.channels);
        if (spec.kind == ADN_LAYER_AVGPOOL2D) {
          emit(index, ADN_OP_AVGPOOL, out);
        } else if (!fuse_pool(layer, out)) {
          emit(index, ADN_OP_MAXPOOL, out);
        }
        break;
      }
      case ADN_LAYER_RELU:
        if (!fuse_relu()) emit(index, ADN_OP_RELU, shape_);
        break;
      case ADN_LAYER_FLATTEN:
        shape_ = {shape_.count(), 1, 1, true};
        break;
      case ADN_LAYER_DROPOUT:
        if (!(spec.probability >= 0.0f && spec.probability < 1.0f)) {
          fail(ADN_STATUS_INVALID_ARGUMENT, "layer %s (Dropout): probability: %g, expected 0 <= probability < 1",
               layer.name.c_str(), shown(static_cast<double>(spec.probability)));
        }
        emit(index, ADN_OP_DROPOUT, shape_);
        break;
      default:  // name_layers has refused every other kind
        fail(ADN_STATUS_INTERNAL_ERROR, "layer kind %d", spec.kind);
    }
    layer.output = shape_;
    check_size(layer);
    layer.value = last_value();
  }

  int64_t last_value() const { return static_cast<int64_t>(plan_.ops.size()); }

  // The last operation takes one more layer in: what it put out so far is no longer a value that anybody can read.
  void absorb() {
    for (PlannedLayer& layer : plan_.layers) {
      if (layer.value == last_value()) layer.value = -1;
    }
  }

  void check_features(const PlannedLayer& layer) const {
    const uint64_t features = layer.spec.out_features;
    if (features == 0 || features >= kMaxExtent) {
      refuse(layer, "out_features", features, "1 <= out_features < 2^31");
    }
    if (layer.spec.bias != 0 && layer.spec.bias != 1) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "layer %s (%s): bias: %d, expected 0 or 1", layer.name.c_str(),
           layer_kind_name(layer.spec.kind), layer.spec.bias);
    }
  }

  // Divides, since the product of extents that are each in bounds may not fit 64 bits.
  bool too_large(const Shape3& s) const {
    const uint64_t limit = kMaxElements / plan_.options.max_batch_size;
    return s.channels > limit || s.height > limit / s.channels || s.width > limit / s.channels / s.height;
  }

  void check_size(const PlannedLayer& layer) const {
    if (too_large(shape_)) {
      fail(ADN_STATUS_INVALID_ARGUMENT,
           "layer %s (%s): output shape %s and a batch of %llu, expected at most 2^40 elements in all",
           layer.name.c_str(), layer_kind_name(layer.spec.kind), ShapeOf(shape_).text,
           static_cast<ull>(plan_.options.max_batch_size));
    }
  }

  static void put(uint64_t* shape, const Shape3& s) {
    shape[0] = s.channels;
    shape[1] = s.height;
    shape[2] = s.width;
  }

  void emit(size_t index, adn_op_kind kind, const Shape3& out) {
    PlannedLayer& layer = plan_.layers[index];
    const adn_layer& s = layer.spec;
    adn_op op = {};
    op.kind = kind;
    op.weight = op.bias = -1;
    op.layer = static_cast<uint32_t>(index);
    op.probability = s.probability;
    std::copy_n(s.kernel, 2, op.kernel);
    std::copy_n(s.stride, 2, op.stride);
    std::copy_n(s.padding, 2, op.padding);
    std::copy_n(s.dilation, 2, op.dilation);
    if (s.kind == ADN_LAYER_LINEAR) {
      op.kernel[0] = image_.height;
      op.kernel[1] = image_.width;
      op.stride[0] = op.stride[1] = op.dilation[0] = op.dilation[1] = 1;
      op.padding[0] = op.padding[1] = 0;
    }
    put(op.in_shape, image_);
    // Element by element, Flatten makes no difference: the value stays an image for the layers behind.
    if (kind != ADN_OP_RELU && kind != ADN_OP_DROPOUT) image_ = out;
    put(op.conv_shape, image_);
    put(op.out_shape, image_);
    if (kind == ADN_OP_CONV) add_parameters(layer, op);
    plan_.ops.push_back(op);
    shape_ = out;
  }

  void add_parameters(PlannedLayer& layer, adn_op& op) {
    const bool linear = layer.spec.kind == ADN_LAYER_LINEAR;
    const uint64_t fan_in = op.in_shape[0] * op.kernel[0] * op.kernel[1];
    if (op.kernel[0] * op.kernel[1] > kMaxElements / op.in_shape[0] ||
        fan_in > kMaxElements / layer.spec.out_features) {
      fail(ADN_STATUS_INVALID_ARGUMENT,
           "layer %s (%s): a weight of [%llu, %llu, %llu, %llu], expected at most 2^40 elements", layer.name.c_str(),
           layer_kind_name(layer.spec.kind), static_cast<ull>(layer.spec.out_features),
           static_cast<ull>(op.in_shape[0]), static_cast<ull>(op.kernel[0]), static_cast<ull>(op.kernel[1]));
    }
    PlannedParameter weight = {layer.name + ".weight",
                               {layer.spec.out_features, op.in_shape[0], op.kernel[0], op.kernel[1]},
                               4,
                               0,
                               layer.spec.out_features * fan_in,
                               fan_in};
    if (linear) {
      weight.rank = 2;
      weight.shape[1] = fan_in;
      weight.shape[2] = weight.shape[3] = 0;
    }
    op.weight = add_parameter(layer, weight);
    if (layer.spec.bias != 0) {
      op.bias = add_parameter(
          layer, {layer.name + ".bias", {layer.spec.out_features, 0, 0, 0}, 1, 0, layer.spec.out_features, fan_in});
    }
  }

  int32_t add_parameter(PlannedLayer& layer, PlannedParameter parameter) {
    parameter.offset = plan_.parameter_floats;
    plan_.parameter_floats += aligned(parameter.count);
    layer.parameter_elements += parameter.count;
    plan_.parameters.push_back(parameter);
    return static_cast<int32_t>(plan_.parameters.size() - 1);
  }

  // A max-pool whose windows do not overlap is fused into the convolution before it. A ReLU between them keeps its place, since
  // it decides which element of a window of negatives gets the gradient.
  bool fuse_pool(const PlannedLayer& layer, const Shape3& out) {
    if (plan_.ops.empty()) return false;
    adn_op& op = plan_.ops.back();
    const adn_layer& s = layer.spec;
    const bool apart =
        s.stride[0] >= s.kernel[0] && s.stride[1] >= s.kernel[1] && s.padding[0] == 0 && s.padding[1] == 0;
    if (op.kind != ADN_OP_CONV || op.pool_kernel[0] != 0 || !apart || s.kernel[0] > 255 / s.kernel[1]) return false;
    op.relu_before_pool = op.relu;
    op.relu = 0;
    std::copy_n(s.kernel, 2, op.pool_kernel);
    std::copy_n(s.stride, 2, op.pool_stride);
    put(op.out_shape, out);
    shape_ = image_ = out;
    absorb();
    return true;
  }

  // A second ReLU changes nothing, so it is taken in as well.
  bool fuse_relu() {
    if (plan_.ops.empty() || plan_.ops.back().kind != ADN_OP_CONV) return false;
    plan_.ops.back().relu = 1;
    absorb();
    return true;
  }

  Plan plan_;
  Shape3 shape_ = {};  // after the layers so far
  Shape3 image_ = {};  // the same before Flatten, which is how a Linear layer sees it
};

}  // namespace

const char* layer_kind_name(int32_t kind) { return kind_of(kind).type; }

Plan make_plan(const std::vector<adn_layer>& layers, const adn_network_options& options) {
  return Planner(layers, options).take();
}

}  // namespace adn
