#include "core/network.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

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
    : context_(std::move(context)),
      plan_(make_plan(layers, options)),
      backend_network_(nullptr, Destroy{context_.get()}) {
  allocate();
  draw_parameters();
}

Network::Network(const Network& other, uint64_t max_batch_size, bool inference)
    : context_(other.context_),
      plan_(other.plan_.with(max_batch_size, inference)),
      backend_network_(nullptr, Destroy{context_.get()}) {
  allocate();
}

void Network::allocate() {
  const bool inference = plan_.options.inference != 0;
  // A network without parameters still has an address to point at.
  const uint64_t parameters = std::max<uint64_t>(plan_.parameter_floats, 1) * sizeof(float);
  const uint64_t gradients = inference ? sizeof(float) : parameters, arena = plan_.arena_floats * sizeof(float);
  uint64_t workspaces = 0;
  labels_.resize(plan_.options.max_batch_size);
  if (context_->backend().network_read_losses == nullptr) losses_.resize(ADN_LOSS_HISTORY);
  try {
    parameters_ = std::make_shared<Storage>(context_, parameters, use_);
    gradients_ = std::make_shared<Storage>(context_, gradients, use_);
    arena_ = std::make_shared<Storage>(context_, arena, use_);
    const adn_plan view = plan_.view();
    void* made = nullptr;
    context_->call(&adn_backend::network_create, &made, &workspaces, context_->device(), &view);
    backend_network_.reset(made);
  } catch (const Error& error) {
    if (error.status != ADN_STATUS_OUT_OF_MEMORY) throw;
    char cause[256];
    std::snprintf(cause, sizeof cause, "%s", last_error());
    fail(ADN_STATUS_OUT_OF_MEMORY,
         "%s, for a network with %llu bytes of parameters, %llu of gradients and %llu of activations for a batch of "
         "%llu, and "
         "its workspaces",
         cause, static_cast<ull>(parameters), static_cast<ull>(gradients), static_cast<ull>(arena),
         static_cast<ull>(plan_.options.max_batch_size));
  }
  parameters_->note_copies();
  memory_bytes_ =
      workspaces + parameters + gradients + arena + labels_.size() * sizeof(int32_t) + losses_.size() * sizeof(float);
}

void Network::draw_parameters() {
  std::vector<float> initial;
  for (size_t i = 0; i < plan_.parameters.size(); ++i) {
    const PlannedParameter& parameter = plan_.parameters[i];
    initial.resize(parameter.count);
    // kaiming_uniform(a = sqrt 5) of torch.nn.Conv2d and Linear comes to this bound, which is also the bias's.
    const float bound = static_cast<float>(1.0 / std::sqrt(static_cast<double>(parameter.fan_in)));
    random_uniform(initial.data(), parameter.count, bound, plan_.options.seed, init_stream(i));
    value(i).write(initial.data(), parameter.count);
  }
}

void Network::copy_parameters(const Network& from) {
  const auto same = [](const PlannedParameter& a, const PlannedParameter& b) {
    return a.name == b.name && a.rank == b.rank && std::equal(a.shape, a.shape + a.rank, b.shape);
  };
  const auto &mine = plan_.parameters, &theirs = from.plan_.parameters;
  if (mine.size() != theirs.size() || !std::equal(mine.begin(), mine.end(), theirs.begin(), same)) {
    fail(ADN_STATUS_INVALID_ARGUMENT,
         "from: %zu parameters that are not those of the network to copy to (%zu), expected the same names and shapes",
         theirs.size(), mine.size());
  }
  parameters_->touch();
  if (from.context_ == context_) {
    context_->call(&adn_backend::copy, context_->device(), static_cast<void*>(parameters_->data()),
                   static_cast<const void*>(from.parameters_->data()), parameters_->bytes());
  } else {
    std::vector<unsigned char> bytes(parameters_->bytes());
    from.context_->call(&adn_backend::read, static_cast<void*>(bytes.data()), from.context_->device(),
                        static_cast<const void*>(from.parameters_->data()), uint64_t{bytes.size()});
    context_->call(&adn_backend::write, context_->device(), static_cast<void*>(parameters_->data()),
                   static_cast<const void*>(bytes.data()), uint64_t{bytes.size()});
  }
  step_ = from.step_.load();
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

void Network::check_trains(const char* call) const {
  if (plan_.options.inference != 0) {
    fail(ADN_STATUS_INVALID_STATE, "%s: the network was made for inference, expected one made to train", call);
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
  if (can_go_back_) step_ = pass_step_ == kMaxStep ? 0 : pass_step_ + 1;
}

void Network::run_forward(const adn_batch& batch, int32_t mode) {
  forget_pass();
  const adn_network_memory m = memory();
  context_->call(&adn_backend::network_forward, backend_network_.get(), &m, &batch, mode, step_.load());
  note_pass(batch.count, mode);
}

float Network::run_loss(const int32_t* labels) {
  float loss = 0;
  has_loss_ = false;
  const adn_network_memory m = memory();
  context_->call(&adn_backend::network_loss, &loss, backend_network_.get(), &m, labels, batch_);
  has_loss_ = true;
  return loss;
}

void Network::run_backward(const float* output_gradient) {
  const adn_network_memory m = memory();
  has_input_gradient_ = false;
  gradients_->touch();
  context_->call(&adn_backend::network_backward, backend_network_.get(), &m, output_gradient, batch_, pass_step_);
  // The places of the gradients are used in turn, so that of the logits is gone.
  has_loss_ = false;
  has_input_gradient_ = plan_.options.input_gradient != 0;
}

void Network::forward(float* output, uint64_t output_total, const adn_batch& batch, int32_t mode) {
  if (mode != ADN_MODE_EVALUATE && mode != ADN_MODE_TRAIN) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "mode: %d, expected 0 (evaluate) or 1 (train)", mode);
  }
  if (mode == ADN_MODE_TRAIN) check_trains("mode");
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
    context_->call(&adn_backend::network_read_value, output, backend_network_.get(), &m, uint64_t{plan_.ops.size()},
                   batch_);
  }
}

float Network::loss(const int32_t* labels, uint64_t label_count) {
  check_trains("loss");
  if (batch_ == 0) fail(ADN_STATUS_INVALID_STATE, "loss: no forward pass to take the loss of");
  if (label_count != batch_) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "label_count: %llu, expected %llu, the batch size of the last forward pass",
         static_cast<ull>(label_count), static_cast<ull>(batch_));
  }
  check_labels(labels, label_count);
  return run_loss(labels);
}

void Network::backward(const float* output_gradient, uint64_t count) {
  if (!can_go_back_) fail(ADN_STATUS_INVALID_STATE, "backward: no forward pass in mode TRAIN before it");
  if (output_gradient == nullptr && count == 0) {
    if (!has_loss_) fail(ADN_STATUS_INVALID_STATE, "backward: no loss before it, and no output_gradient given");
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
  const adn_adadelta_pass pass = optimizer.prepare_step();
  const auto run = [&](void* backend_optimizer, const adn_adadelta_pass* step_pass) {
    forget_pass();
    const adn_network_memory m = memory();
    gradients_->touch();
    context_->call(&adn_backend::network_train_step, loss, backend_network_.get(), &m, &batch, step_.load(),
                   backend_optimizer, step_pass);
    note_pass(batch.count, ADN_MODE_TRAIN);
    has_input_gradient_ = plan_.options.input_gradient != 0;
  };
  if (optimizer.records()) {
    run(nullptr, nullptr);
    optimizer.finish_step(pass);
  } else {
    optimizer.finish_step(pass, run);
  }
}

// All that can fail comes before anything changes: what a step needs is allocated, and the batch has been checked.
float Network::run_train_step_in_parts(Adadelta& optimizer, const adn_batch& batch) {
  const adn_adadelta_pass pass = optimizer.prepare_step();
  run_forward(batch, ADN_MODE_TRAIN);
  const float loss = run_loss(batch.labels);
  run_backward(nullptr);
  optimizer.finish_step(pass);
  return loss;
}

void Network::train_step(float* loss, Adadelta& optimizer, const adn_batch& batch) {
  check_trains("train_step");
  if (optimizer.context() != context_) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "optimizer: made from another context than the network, expected the same");
  }
  if (!optimizer.updates(*parameters_)) {
    fail(ADN_STATUS_INVALID_ARGUMENT,
         "optimizer: holds none of the network's %zu parameters, expected at least one, since a step would change "
         "nothing",
         plan_.parameters.size());
  }
  if (!losses_.empty()) {
    float& kept = losses_[losses_taken_ % ADN_LOSS_HISTORY];
    if (context_->backend().network_train_step != nullptr) {
      run_train_step(&kept, optimizer, batch);
    } else {
      kept = run_train_step_in_parts(optimizer, batch);
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
    context_->call(&adn_backend::network_read_losses, losses, backend_network_.get(), count);
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
  context_->call(&adn_backend::network_read_gradient, data, backend_network_.get(), &m, uint64_t{0}, batch_);
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
  context_->call(&adn_backend::network_read_value, data, backend_network_.get(), &m,
                 static_cast<uint64_t>(planned.value), batch_);
}

void Network::set_step(uint64_t step) {
  if (step > kMaxStep) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "step: %llu, expected step < 2^40", static_cast<ull>(step));
  }
  step_ = step;
}

}  // namespace adn
