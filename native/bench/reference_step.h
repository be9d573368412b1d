// A training step of the reference network through the C ABI, as a host written in C++ takes it.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <vector>

#include "adadelta/adadelta.h"

namespace bench {

inline void check(adn_status status) {
  if (status == ADN_STATUS_OK) return;
  std::fprintf(stderr, "%s: %s\n", adn_status_name(status), adn_last_error());
  std::exit(1);
}

// Images and labels are random, with many more sets of labels than of images, so that the network cannot learn them by heart and
// its gradients stay of the size that they have in training.
class ReferenceStep {
 public:
  ReferenceStep(uint64_t batch, uint32_t threads, int32_t instruction_set) : batch_(batch) {
    adn_context_options context_options;
    check(adn_context_options_init(&context_options, sizeof context_options));
    context_options.device_type = ADN_DEVICE_CPU;
    context_options.thread_count = threads;
    context_options.instruction_set = instruction_set;
    check(adn_context_create(&context_, &context_options));
    const adn_layer layers[] = {
        layer(ADN_LAYER_CONV2D, 32, 5),   layer(ADN_LAYER_MAXPOOL2D, 0, 2), layer(ADN_LAYER_RELU),
        layer(ADN_LAYER_CONV2D, 64, 5),   layer(ADN_LAYER_MAXPOOL2D, 0, 2), layer(ADN_LAYER_RELU),
        layer(ADN_LAYER_FLATTEN),         layer(ADN_LAYER_LINEAR, 512),     layer(ADN_LAYER_RELU),
        layer(ADN_LAYER_LINEAR, kClasses)};
    adn_network_options options;
    check(adn_network_options_init(&options, sizeof options));
    options.input_shape[0] = 1;
    options.input_shape[1] = options.input_shape[2] = 28;
    options.max_batch_size = batch;
    check(adn_network_create(&network_, context_, layers, std::size(layers), &options));
    adn_network_info info = {};
    info.struct_size = sizeof info;
    check(adn_network_get_info(&info, network_));
    values_.resize(info.parameter_count);
    gradients_.resize(info.parameter_count);
    for (uint64_t i = 0; i < info.parameter_count; ++i) {
      check(adn_network_get_parameter(&values_[i], &gradients_[i], nullptr, network_, i));
    }
    adn_adadelta_options adadelta;
    check(adn_adadelta_options_init(&adadelta, sizeof adadelta));
    adadelta.lr = 0.1;
    check(adn_adadelta_create(&optimizer_, context_, &adadelta));
    check(adn_adadelta_add_group(nullptr, optimizer_, values_.data(), gradients_.data(), values_.size(), nullptr));

    std::vector<uint32_t> bits(kImageBatches * batch * kPixels + kLabelBatches * batch);
    check(adn_random_bits(bits.data(), bits.size(), 1, 0, 0));
    const uint64_t pixels = kImageBatches * batch * kPixels;
    for (uint64_t i = 0; i < pixels; ++i) images_.push_back(static_cast<float>(bits[i] >> 8) * 0x1p-24f);
    for (uint64_t i = pixels; i < bits.size(); ++i) labels_.push_back(static_cast<int32_t>(bits[i] % kClasses));
  }

  ~ReferenceStep() {
    adn_adadelta_destroy(optimizer_);
    for (adn_tensor* tensor : values_) adn_tensor_destroy(tensor);
    for (adn_tensor* tensor : gradients_) adn_tensor_destroy(tensor);
    adn_network_destroy(network_);
    adn_context_destroy(context_);
  }

  ReferenceStep(const ReferenceStep&) = delete;
  ReferenceStep& operator=(const ReferenceStep&) = delete;

  void run() {
    float loss;
    check(adn_network_train_step(&loss, network_, optimizer_, &images_[steps_ % kImageBatches * batch_ * kPixels],
                                 batch_ * kPixels, &labels_[steps_ % kLabelBatches * batch_], batch_));
    ++steps_;
  }

  // Of one step: forward, gradients by the weights, and gradients by the input of every layer but the first.
  double flops() const {
    constexpr double kConv1 = 24.0 * 24 * 32 * 25, kConv2 = 8.0 * 8 * 64 * 800,
                     kLinear = 1024.0 * 512 + 512.0 * kClasses;
    return 2 * static_cast<double>(batch_) * (2 * kConv1 + 3 * kConv2 + 3 * kLinear);
  }

 private:
  static constexpr uint64_t kPixels = 28 * 28, kClasses = 10, kImageBatches = 4, kLabelBatches = 61;

  static adn_layer layer(int32_t kind, uint64_t out = 0, uint64_t kernel = 1) {
    adn_layer layer;
    check(adn_layer_init(&layer, sizeof layer, kind));
    layer.out_features = out;
    layer.kernel[0] = layer.kernel[1] = kernel;
    return layer;
  }

  const uint64_t batch_;
  adn_context* context_ = nullptr;
  adn_network* network_ = nullptr;
  adn_adadelta* optimizer_ = nullptr;
  std::vector<adn_tensor*> values_, gradients_;
  std::vector<float> images_;
  std::vector<int32_t> labels_;
  uint64_t steps_ = 0;
};

}  // namespace bench
