#include "core/network.h"

#include <algorithm>
#include <cmath>

#include "core/philox.h"
#include "core/random.h"

namespace adn {
namespace {

using ull = unsigned long long;

// The step shares a 64-bit stream number with the layer.
constexpr uint64_t kMaxStep = (uint64_t{1} << 40) - 1;

}  // namespace

Network::Network(std::shared_ptr<Context> context, const std::vector<adn_layer>& layers,
                 const adn_network_options& options)
    : context_(std::move(context)), plan_(make_plan(layers, options)) {
  // A network without parameters still has a place to point at.
  parameters_ = std::make_shared<Storage>(context_, std::max<uint64_t>(plan_.parameter_floats, 1) * sizeof(float));
  gradients_ = std::make_shared<Storage>(context_, std::max<uint64_t>(plan_.parameter_floats, 1) * sizeof(float));
  arena_ = std::make_shared<Storage>(context_, plan_.arena_floats * sizeof(float));
  std::vector<float> initial;
  for (size_t i = 0; i < plan_.parameters.size(); ++i) {
    const PlannedParameter& parameter = plan_.parameters[i];
    initial.resize(parameter.count);
    // kaiming_uniform(a = sqrt 5) of torch.nn.Conv2d and Linear comes to this bound, which is also the bias's.
    const float bound = static_cast<float>(1.0 / std::sqrt(static_cast<double>(parameter.fan_in)));
    random_uniform(initial.data(), parameter.count, bound, options.seed, init_stream(i));
    value(i).write(initial.data(), parameter.count);
  }
  const adn_plan view = plan_.view();
  uint64_t bytes = 0;
  context_->call(&adn_backend::network_create, &backend_network_, &bytes, context_->device(), &view);
  labels_.resize(options.max_batch_size);
  if (context_->backend().network_read_losses == nullptr) losses_.resize(ADN_LOSS_HISTORY);
  memory_bytes_ = bytes + parameters_->bytes() + gradients_->bytes() + arena_->bytes();
}

Network::~Network() {
  if (backend_network_ != nullptr) context_->backend().network_destroy(backend_network_);
}

Tensor Network::tensor(const std::shared_ptr<Storage>& storage, uint64_t parameter) const {
  const PlannedParameter& p = plan_.parameters[parameter];
  return Tensor(storage, ADN_DTYPE_FLOAT32, p.offset * sizeof(float), p.shape, p.rank);
}

adn_network_memory Network::memory() const {
  return {arena_->floats(), parameters_->floats(), gradients_->floats(), parameters_->version()};
}

void Network::check_batch_size(uint64_t batch_size) const {
  if (batch_size == 0 || batch_size > plan_.options.max_batch_size) {
    fail(ADN_STATUS_INVALID_ARGUMENT,
         "batch_size: %llu, expected 1 <= batch_size <= %llu, the network's max_batch_size",
         static_cast<ull>(batch_size), static_cast<ull>(plan_.options.max_batch_size));
  }
}

void Network::check_input(const float* input, uint64_t input_count, uint64_t batch_size) const {
  check_batch_size(batch_size);
  if (input_count != batch_size * plan_.input.count()) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "input_count: %llu, expected %llu, %llu images of shape %s",
         static_cast<ull>(input_count), static_cast<ull>(batch_size * plan_.input.count()),
         static_cast<ull>(batch_size), ShapeText(&plan_.input.channels, 3).text);
  }
  require(input, "input");
}

adn_batch Network::host_batch(const float* input, uint64_t input_count, uint64_t batch_size) const {
  check_input(input, input_count, batch_size);
  adn_batch batch = {};
  batch.count = batch_size;
  batch.input = input;
  return batch;
}

adn_batch Network::external_batch(const float* input, uint64_t input_count, uint64_t batch_size) const {
  adn_batch batch = host_batch(input, input_count, batch_size);
  if (reinterpret_cast<uintptr_t>(input) % alignof(float) != 0) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "input_external: %p, expected a multiple of 4, the alignment of float32",
         static_cast<const void*>(input));
  }
  context_->call(&adn_backend::check_external, context_->device(), static_cast<const void*>(input),
                 input_count * sizeof(float));
  batch.external = 1;
  return batch;
}

adn_batch Network::dataset_batch(const Dataset& dataset, const uint32_t* indices, uint64_t batch_size) const {
  check_batch_size(batch_size);
  if (dataset.context() != context_) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "dataset: made from another context than the network, expected the same");
  }
  if (!std::equal(dataset.shape(), dataset.shape() + 3, plan_.options.input_shape)) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "dataset: images of shape %s, expected %s, the network's input",
         ShapeText(dataset.shape(), 3).text, ShapeText(plan_.options.input_shape, 3).text);
  }
  require(indices, "indices");
  for (uint64_t i = 0; i < batch_size; ++i) {
    if (indices[i] >= dataset.count()) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "indices[%llu]: %u, expected 0 <= index < %llu, the images of the data set",
           static_cast<ull>(i), indices[i], static_cast<ull>(dataset.count()));
    }
  }
  adn_batch batch = {};
  batch.count = batch_size;
  batch.dataset = dataset.data();
  batch.indices = indices;
  return batch;
}

adn_batch Network::labelled(adn_batch batch, const int32_t* labels) const {
  check_labels(labels, batch.count);
  batch.labels = labels;
  return batch;
}

adn_batch Network::labelled(adn_batch batch, const Dataset& dataset) {
  for (uint64_t i = 0; i < batch.count; ++i) labels_[i] = dataset.label(batch.indices[i]);
  return labelled(batch, labels_.data());
}

void Network::check_labels(const int32_t* labels, uint64_t count) const {
  require(labels, "labels");
  const uint64_t classes = plan_.output.count();
  for (uint64_t i = 0; i < count; ++i) {
    if (labels[i] < 0 || static_cast<uint64_t>(labels[i]) >= classes) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "labels[%llu]: %d, expected 0 <= label < %llu, the network's output_count",
           static_cast<ull>(i), labels[i], static_cast<ull>(classes));
    }
  }
}

// Until a pass is through, the arena holds nothing that could be gone on from.
void Network::forget_pass() {
  batch_ = 0;
  can_go_back_ = has_loss_ = has_input_gradient_ = false;
}

void Network::note_pass(uint64_t batch_size, int32_t mode) {
  batch_ = batch_size;
  pass_step_ = step_;
  can_go_back_ = mode == ADN_MODE_TRAIN;
  if (can_go_back_) step_ = step_ == kMaxStep ? 0 : step_ + 1;
}

void Network::run_forward(const adn_batch& batch, int32_t mode) {
  forget_pass();
  const adn_network_memory m = memory();
  context_->call(&adn_backend::network_forward, backend_network_, &m, &batch, mode, step_);
  note_pass(batch.count, mode);
}

float Network::run_loss(const int32_t* labels) {
  float loss = 0;
  has_loss_ = false;
  const adn_network_memory m = memory();
  context_->call(&adn_backend::network_loss, &loss, backend_network_, &m, labels, batch_);
  has_loss_ = true;
  return loss;
}

void Network::run_backward(const float* output_gradient) {
  const adn_network_memory m = memory();
  has_input_gradient_ = false;
  context_->call(&adn_backend::network_backward, backend_network_, &m, output_gradient, batch_, pass_step_);
  gradients_->touch();
  // The places of the gradients are used in turn, so that of the logits is gone.
  has_loss_ = false;
  has_input_gradient_ = plan_.options.input_gradient != 0;
}

void Network::forward(float* output, uint64_t output_total, const adn_batch& batch, int32_t mode) {
  if (mode != ADN_MODE_EVALUATE && mode != ADN_MODE_TRAIN) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "mode: %d, expected 0 (evaluate) or 1 (train)", mode);
  }
  const uint64_t expected = batch.count * plan_.output.count();
  if (output_total != 0 || output != nullptr) {
    if (output_total != expected) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "output_total: %llu, expected %llu, or 0 when no output is wanted",
           static_cast<ull>(output_total), static_cast<ull>(expected));
    }
    require(output, "output");
  }
  run_forward(batch, mode);
  if (output != nullptr) {
    const adn_network_memory m = memory();
    context_->call(&adn_backend::network_read_value, output, backend_network_, &m, uint64_t{plan_.ops.size()}, batch_);
  }
}

float Network::loss(const int32_t* labels, uint64_t label_count) {
  if (batch_ == 0) fail(ADN_STATUS_INVALID_STATE, "loss: no forward pass to take the loss of");
  if (label_count != batch_) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "label_count: %llu, expected %llu, the batch size of the last forward pass",
         static_cast<ull>(label_count), static_cast<ull>(batch_));
  }
  check_labels(labels, label_count);
  return run_loss(labels);
}

void Network::backward(const float* output_gradient, uint64_t count) {
  if (!can_go_back_) fail(ADN_STATUS_INVALID_STATE, "backward: no forward pass in mode TRAIN to go back from");
  if (output_gradient == nullptr && count == 0) {
    if (!has_loss_) fail(ADN_STATUS_INVALID_STATE, "backward: no loss to go back from, and no output_gradient given");
  } else {
    require(output_gradient, "output_gradient");
    if (count != batch_ * plan_.output.count()) {
      fail(ADN_STATUS_INVALID_ARGUMENT,
           "output_gradient_count: %llu, expected %llu, %llu logits for each of %llu images", static_cast<ull>(count),
           static_cast<ull>(batch_ * plan_.output.count()), static_cast<ull>(plan_.output.count()),
           static_cast<ull>(batch_));
    }
  }
  run_backward(output_gradient);
}

// What run_forward, run_loss, run_backward and Adadelta::step do in turn, in one call of the backend.
void Network::run_train_step(float* loss, Adadelta& optimizer, const adn_batch& batch) {
  const auto run = [&](void* backend_optimizer, const adn_adadelta_pass* pass) {
    forget_pass();
    const adn_network_memory m = memory();
    context_->call(&adn_backend::network_train_step, loss, backend_network_, &m, &batch, step_, backend_optimizer,
                   pass);
    note_pass(batch.count, ADN_MODE_TRAIN);
    gradients_->touch();
    has_input_gradient_ = plan_.options.input_gradient != 0;
  };
  if (optimizer.records()) {
    run(nullptr, nullptr);
    optimizer.step();
  } else {
    optimizer.step_with([&](void* backend_optimizer, const adn_adadelta_pass& pass) { run(backend_optimizer, &pass); });
  }
}

void Network::train_step(float* loss, Adadelta& optimizer, const adn_batch& batch) {
  if (optimizer.context() != context_) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "optimizer: made from another context than the network, expected the same");
  }
  if (!losses_.empty()) {
    float& kept = losses_[losses_taken_ % ADN_LOSS_HISTORY];
    if (context_->backend().network_train_step != nullptr) {
      run_train_step(&kept, optimizer, batch);
    } else {
      run_forward(batch, ADN_MODE_TRAIN);
      kept = run_loss(batch.labels);
      run_backward(nullptr);
      optimizer.step();
    }
    if (loss != nullptr) *loss = kept;
  } else {
    run_train_step(loss, optimizer, batch);
  }
  ++losses_taken_;
}

void Network::read_losses(float* losses, uint64_t count) const {
  const uint64_t most = std::min<uint64_t>(losses_taken_, ADN_LOSS_HISTORY);
  if (count > most) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "count: %llu, expected count <= %llu, %llu training steps so far and %d kept",
         static_cast<ull>(count), static_cast<ull>(most), static_cast<ull>(losses_taken_), ADN_LOSS_HISTORY);
  }
  if (count == 0) return;
  require(losses, "losses");
  if (losses_.empty()) {
    context_->call(&adn_backend::network_read_losses, losses, backend_network_, count);
    return;
  }
  for (uint64_t i = 0; i < count; ++i) losses[i] = losses_[(losses_taken_ - count + i) % ADN_LOSS_HISTORY];
}

void Network::read_input_gradient(float* data, uint64_t count) const {
  if (plan_.options.input_gradient == 0) {
    fail(ADN_STATUS_INVALID_STATE, "input gradient: the network was made without options.input_gradient");
  }
  if (!has_input_gradient_)
    fail(ADN_STATUS_INVALID_STATE, "input gradient: no backward pass since the last forward pass");
  if (count != batch_ * plan_.input.count()) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "count: %llu, expected %llu, %llu images of shape %s", static_cast<ull>(count),
         static_cast<ull>(batch_ * plan_.input.count()), static_cast<ull>(batch_),
         ShapeText(&plan_.input.channels, 3).text);
  }
  require(data, "data");
  const adn_network_memory m = memory();
  context_->call(&adn_backend::network_read_gradient, data, backend_network_, &m, uint64_t{0}, batch_);
}

void Network::read_activation(float* data, uint64_t count, uint64_t layer) const {
  if (layer >= plan_.layers.size()) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "layer_index: %llu, expected 0 <= layer_index < %zu", static_cast<ull>(layer),
         plan_.layers.size());
  }
  const PlannedLayer& planned = plan_.layers[layer];
  if (planned.value < 0) {
    fail(ADN_STATUS_UNSUPPORTED, "layer %s (%s): its output stays inside a fused operation and is never written",
         planned.name.c_str(), layer_kind_name(planned.spec.kind));
  }
  if (batch_ == 0) fail(ADN_STATUS_INVALID_STATE, "activation: no forward pass so far");
  if (count != batch_ * planned.output.count()) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "count: %llu, expected %llu, %llu images of shape %s", static_cast<ull>(count),
         static_cast<ull>(batch_ * planned.output.count()), static_cast<ull>(batch_),
         ShapeText(&planned.output.channels, 3).text);
  }
  require(data, "data");
  const adn_network_memory m = memory();
  context_->call(&adn_backend::network_read_value, data, backend_network_, &m, static_cast<uint64_t>(planned.value),
                 batch_);
}

void Network::set_step(uint64_t step) {
  if (step > kMaxStep) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "step: %llu, expected step < 2^40", static_cast<ull>(step));
  }
  step_ = step;
}

}  // namespace adn
