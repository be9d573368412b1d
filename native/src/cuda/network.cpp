#include "cuda/network.h"

#include <algorithm>
#include <cstring>

#include "core/op_kind.h"
#include "cuda/products.h"

namespace adn::cuda {
namespace {

using ull = unsigned long long;

// Steps that may wait for the device while the host prepares the next: many of the small part, two of the images.
constexpr size_t kInputSlots = 8, kImageSlots = 2;
// A run sees few kinds of step: whole batches, and the last of an epoch.
constexpr size_t kGraphs = 4;

uint64_t count_of(const uint64_t* shape) { return shape[0] * shape[1] * shape[2]; }

int32_t narrow(uint64_t value) {
  if (value >= uint64_t{1} << 31) {
    fail(ADN_STATUS_UNSUPPORTED, "extent: %llu, expected less than 2^31 on CUDA", static_cast<ull>(value));
  }
  return static_cast<int32_t>(value);
}

ConvShape conv_shape(const adn_op& op, uint64_t batch) {
  return {narrow(batch),
          narrow(op.in_shape[0]),
          narrow(op.in_shape[1]),
          narrow(op.in_shape[2]),
          narrow(op.conv_shape[0]),
          narrow(op.conv_shape[1]),
          narrow(op.conv_shape[2]),
          narrow(op.kernel[0]),
          narrow(op.kernel[1]),
          narrow(op.stride[0]),
          narrow(op.stride[1]),
          narrow(op.padding[0]),
          narrow(op.padding[1]),
          narrow(op.dilation[0]),
          narrow(op.dilation[1])};
}

bool pools(const adn_op& op) {
  return op.kind == ADN_OP_MAXPOOL || op.kind == ADN_OP_AVGPOOL || (op.kind == ADN_OP_CONV && op.pool_kernel[0] != 0);
}

// The pool of a convolution's epilogue, or the one that the operation is.
PoolShape pool_shape(const adn_op& op, uint64_t batch) {
  const bool alone = op.kind != ADN_OP_CONV;
  const uint64_t* in = alone ? op.in_shape : op.conv_shape;
  const uint64_t* kernel = alone ? op.kernel : op.pool_kernel;
  const uint64_t* stride = alone ? op.stride : op.pool_stride;
  return {static_cast<int64_t>(batch * in[0]),
          narrow(in[1]),
          narrow(in[2]),
          narrow(op.out_shape[1]),
          narrow(op.out_shape[2]),
          narrow(kernel[0]),
          narrow(kernel[1]),
          narrow(stride[0]),
          narrow(stride[1]),
          alone ? narrow(op.padding[0]) : 0,
          alone ? narrow(op.padding[1]) : 0};
}

ConvShape of_batch(ConvShape shape, uint64_t batch) {
  shape.batch = static_cast<int32_t>(batch);
  return shape;
}

PoolShape of_batch(PoolShape shape, uint64_t channels, uint64_t batch) {
  shape.planes = static_cast<int64_t>(channels * batch);
  return shape;
}

const uint8_t* pixels_of(const adn_batch& batch) {
  return batch.dataset != nullptr ? static_cast<const Dataset*>(batch.dataset)->pixels.as<const uint8_t>() : nullptr;
}

PoolRelu pool_relu(const adn_op& op) {
  if (op.kind != ADN_OP_CONV) return {false, false};
  return {op.relu_before_pool != 0, op.relu != 0};
}

}  // namespace

Network::Network(Device& device, const adn_plan& plan)
    : device_(device),
      value_offsets_(plan.value_offsets, plan.value_offsets + plan.op_count + 1),
      gradient_offsets_(plan.gradient_offsets, plan.gradient_offsets + plan.op_count + 1),
      parameter_offsets_(plan.parameter_offsets, plan.parameter_offsets + plan.parameter_count),
      max_batch_(plan.max_batch_size),
      seed_(plan.seed),
      mean_(plan.reduction == ADN_REDUCTION_MEAN),
      input_gradient_(plan.input_gradient != 0),
      inputs_(device, 16 + max_batch_ * (sizeof(int32_t) + sizeof(uint32_t))),
      losses_(device, 256 + max_batch_ * sizeof(float)),
      input_staging_(device, inputs_.bytes(), kInputSlots),
      image_staging_(device, max_batch_ * count_of(plan.ops[0].in_shape) * sizeof(float), kImageSlots),
      loss_history_(make_pinned(ADN_LOSS_HISTORY * sizeof(float))) {
  uint64_t workspace = 0, unpooled = 0, winners = 0;
  for (uint64_t i = 0; i < plan.op_count; ++i) {
    const adn_op& op = plan.ops[i];
    check_op_kind(op.kind);
    Op made = {op, {}, {}, count_of(op.in_shape), count_of(op.conv_shape), count_of(op.out_shape), winners};
    if (op.kind == ADN_OP_CONV) {
      made.conv = conv_shape(op, max_batch_);
      if (!conv_supported(made.conv)) {
        fail(ADN_STATUS_UNSUPPORTED,
             "layers[%u]: a batch of %llu images of [%llu, %llu, %llu] and %llu features of a kernel of [%llu, %llu], "
             "expected less than 2^31 elements an image, elements a kernel and pixels a batch on CUDA",
             op.layer, static_cast<ull>(max_batch_), static_cast<ull>(op.in_shape[0]), static_cast<ull>(op.in_shape[1]),
             static_cast<ull>(op.in_shape[2]), static_cast<ull>(op.conv_shape[0]), static_cast<ull>(op.kernel[0]),
             static_cast<ull>(op.kernel[1]));
      }
      workspace =
          std::max({workspace, device.products().workspace(made.conv),
                    bias_gradient_workspace(max_batch_, op.conv_shape[0], op.conv_shape[1] * op.conv_shape[2])});
    }
    if (pools(op)) {
      made.pool = pool_shape(op, max_batch_);
      if (!pool_supported(made.pool)) {
        fail(ADN_STATUS_UNSUPPORTED,
             "layers[%u]: a window of [%d, %d] on [%d, %d], expected less than 2^31 elements in each on CUDA", op.layer,
             made.pool.kernel_y, made.pool.kernel_x, made.pool.height, made.pool.width);
      }
      if (op.kind == ADN_OP_CONV) unpooled = std::max(unpooled, made.conv_size * max_batch_);
      if (op.kind != ADN_OP_AVGPOOL && plan.inference == 0)
        winners += (max_pool_winner_bytes(made.pool) + 255) / 256 * 256;
    }
    ops_.push_back(made);
  }
  workspace_ = Memory(device, workspace);
  unpooled_ = Memory(device, unpooled * sizeof(float));
  winners_ = Memory(device, winners);
  graphs_.reserve(kGraphs + 1);
}

uint64_t Network::bytes() const {
  return inputs_.bytes() + losses_.bytes() + workspace_.bytes() + unpooled_.bytes() + winners_.bytes();
}

bool Network::StepKey::operator==(const StepKey& other) const {
  return batch == other.batch && pixels == other.pixels && arena == other.arena && parameters == other.parameters &&
         gradients == other.gradients && optimizes == other.optimizes && optimizer == other.optimizer;
}

// ---- What the host writes --------------------------------------------------------------------------------------------

void Network::upload_batch(const adn_network_memory& memory, const adn_batch& batch, uint64_t number) {
  const uint64_t used =
      batch.dataset != nullptr ? inputs_.bytes() : 16 + (batch.labels != nullptr ? batch.count * sizeof(int32_t) : 0);
  input_staging_.upload(inputs_.as<void>(), used, [&](unsigned char* pinned) {
    std::memcpy(pinned, &number, sizeof number);
    std::memset(pinned + 8, 0, 8);
    unsigned char* to = pinned + 16;
    if (batch.labels != nullptr) std::memcpy(to, batch.labels, batch.count * sizeof(int32_t));
    if (batch.dataset != nullptr) {
      std::memcpy(to + max_batch_ * sizeof(int32_t), batch.indices, batch.count * sizeof(uint32_t));
    }
  });
  if (batch.dataset != nullptr) return;
  const uint64_t bytes = batch.count * ops_[0].in_size * sizeof(float);
  if (batch.external != 0) {
    device_.copy(value(memory, 0), batch.input, bytes);
  } else {
    image_staging_.upload(value(memory, 0), bytes,
                          [&](unsigned char* pinned) { std::memcpy(pinned, batch.input, bytes); });
  }
}

// ---- What is put on the stream -----------------------------------------------------------------------------------------

void Network::run_gather(const adn_network_memory& memory, const uint8_t* pixels, uint64_t batch) {
  if (pixels == nullptr) return;
  launched(gather_images(device_.stream(), value(memory, 0), pixels, ops_[0].in_size, indices(), batch),
           "gather_images");
}

void Network::drop(const Op& op, float* to, const float* from, uint64_t batch) {
  const uint64_t* shape = op.op.out_shape;
  launched(dropout_images(device_.stream(), to, from, batch, shape[0], shape[1] * shape[2], op.op.probability, seed_,
                          op.op.layer, step()),
           "dropout_images");
}

void Network::forward_conv(const Op& op, const adn_network_memory& memory, size_t index, uint64_t batch,
                           bool training) {
  const bool pooled = pools(op.op);
  float* out = value(memory, index + 1);
  float* y = pooled ? unpooled_.as<float>() : out;
  device_.products().forward(y, value(memory, index), parameter(memory, op.op.weight), parameter(memory, op.op.bias),
                             !pooled && op.op.relu != 0, of_batch(op.conv, batch), workspace_);
  if (!pooled) return;
  launched(max_pool_forward(device_.stream(), out, training ? winners_.as<unsigned char>() + op.winner_offset : nullptr,
                            y, pool_relu(op.op), of_batch(op.pool, op.op.conv_shape[0], batch)),
           "max_pool_forward");
}

void Network::run_forward(const adn_network_memory& memory, uint64_t batch, bool training) {
  for (size_t i = 0; i < ops_.size(); ++i) {
    const Op& op = ops_[i];
    const float* in = value(memory, i);
    float* out = value(memory, i + 1);
    switch (op.op.kind) {
      case ADN_OP_CONV:
        forward_conv(op, memory, i, batch, training);
        break;
      case ADN_OP_MAXPOOL:
        launched(max_pool_forward(device_.stream(), out,
                                  training ? winners_.as<unsigned char>() + op.winner_offset : nullptr, in,
                                  pool_relu(op.op), of_batch(op.pool, op.op.in_shape[0], batch)),
                 "max_pool_forward");
        break;
      case ADN_OP_AVGPOOL:
        launched(avg_pool_forward(device_.stream(), out, in, of_batch(op.pool, op.op.in_shape[0], batch)),
                 "avg_pool_forward");
        break;
      case ADN_OP_RELU:
        launched(bias_relu(device_.stream(), out, in, nullptr, true, batch, 1, op.out_size), "bias_relu");
        break;
      case ADN_OP_DROPOUT:
        if (training) {
          drop(op, out, in, batch);
        } else {
          device_.copy(out, in, batch * op.out_size * sizeof(float));
        }
        break;
    }
  }
}

void Network::run_loss(const adn_network_memory& memory, uint64_t batch) {
  const size_t last = ops_.size();
  launched(
      softmax_cross_entropy(device_.stream(), loss_place(), row_losses(), gradient(memory, last), value(memory, last),
                            labels(), mean_ ? 1.0f / static_cast<float>(batch) : 1.0f, batch, ops_.back().out_size),
      "softmax_cross_entropy");
}

void Network::backward_conv(const Op& op, const adn_network_memory& memory, size_t index, uint64_t batch) {
  const Stream stream = device_.stream();
  const ConvShape shape = of_batch(op.conv, batch);
  float* y_gradient = gradient(memory, index + 1);
  if (pools(op.op)) {
    launched(max_pool_backward(stream, unpooled_.as<float>(), value(memory, index + 1), y_gradient,
                               winners_.as<unsigned char>() + op.winner_offset, pool_relu(op.op),
                               of_batch(op.pool, op.op.conv_shape[0], batch)),
             "max_pool_backward");
    y_gradient = unpooled_.as<float>();
  } else if (op.op.relu != 0) {
    launched(relu_backward(stream, y_gradient, value(memory, index + 1), y_gradient, batch * op.out_size),
             "relu_backward");
  }
  if (op.op.bias >= 0) {
    launched(bias_gradient(stream, parameter_gradient(memory, op.op.bias), y_gradient, batch, op.op.conv_shape[0],
                           op.op.conv_shape[1] * op.op.conv_shape[2], workspace_.as<void>()),
             "bias_gradient");
  }
  device_.products().backward_weights(parameter_gradient(memory, op.op.weight), value(memory, index), y_gradient, shape,
                                      workspace_);
  if (index > 0 || input_gradient_) {
    device_.products().backward_data(gradient(memory, index), y_gradient, parameter(memory, op.op.weight), shape,
                                     workspace_);
  }
}

void Network::run_backward(const adn_network_memory& memory, uint64_t batch) {
  for (size_t i = ops_.size(); i-- > 0;) {
    const Op& op = ops_[i];
    if (op.op.kind == ADN_OP_CONV) {
      backward_conv(op, memory, i, batch);
      continue;
    }
    if (i == 0 && !input_gradient_) continue;
    const float* out = value(memory, i + 1);
    const float* out_gradient = gradient(memory, i + 1);
    float* in_gradient = gradient(memory, i);
    switch (op.op.kind) {
      case ADN_OP_MAXPOOL:
        launched(max_pool_backward(device_.stream(), in_gradient, out, out_gradient,
                                   winners_.as<unsigned char>() + op.winner_offset, pool_relu(op.op),
                                   of_batch(op.pool, op.op.in_shape[0], batch)),
                 "max_pool_backward");
        break;
      case ADN_OP_AVGPOOL:
        launched(
            avg_pool_backward(device_.stream(), in_gradient, out_gradient, of_batch(op.pool, op.op.in_shape[0], batch)),
            "avg_pool_backward");
        break;
      case ADN_OP_RELU:
        launched(relu_backward(device_.stream(), in_gradient, out, out_gradient, batch * op.out_size), "relu_backward");
        break;
      case ADN_OP_CONV:  // above
        break;
      case ADN_OP_DROPOUT:
        drop(op, in_gradient, out_gradient, batch);
        break;
    }
  }
}

// ---- Passes ------------------------------------------------------------------------------------------------------------

void Network::forward(const adn_network_memory& memory, const adn_batch& batch, bool training, uint64_t number) {
  upload_batch(memory, batch, number);
  run_gather(memory, pixels_of(batch), batch.count);
  run_forward(memory, batch.count, training);
}

float Network::loss(const adn_network_memory& memory, const int32_t* host_labels, uint64_t batch) {
  device_.write(labels(), host_labels, batch * sizeof(int32_t));
  run_loss(memory, batch);
  float loss = 0;
  device_.read(&loss, loss_place(), sizeof loss);
  return loss;
}

void Network::backward(const adn_network_memory& memory, const float* output_gradient, uint64_t batch,
                       uint64_t number) {
  device_.write(step(), &number, sizeof number);
  if (output_gradient != nullptr) {
    device_.write(gradient(memory, ops_.size()), output_gradient, batch * ops_.back().out_size * sizeof(float));
  }
  run_backward(memory, batch);
}

void Network::train_step(float* loss, const adn_network_memory& memory, const adn_batch& batch, uint64_t number,
                         Optimizer* optimizer, const adn_adadelta_pass* pass) {
  if (optimizer != nullptr) optimizer->upload(*pass);
  upload_batch(memory, batch, number);
  const auto run = [&] {
    run_gather(memory, pixels_of(batch), batch.count);
    run_forward(memory, batch.count, true);
    run_loss(memory, batch.count);
    run_backward(memory, batch.count);
    if (optimizer != nullptr) optimizer->launch();
  };
  if (!device_.graphs()) {
    run();
  } else {
    const StepKey key = {batch.count,
                         pixels_of(batch),
                         memory.arena,
                         memory.parameters,
                         memory.gradients,
                         optimizer != nullptr,
                         optimizer != nullptr ? optimizer->next_launch() : Optimizer::Launch{}};
    const auto same = [&](const StepGraph& graph) { return graph.key == key; };
    const auto found = std::find_if(graphs_.begin(), graphs_.end(), same);
    if (found == graphs_.end()) {
      if (graphs_.size() == kGraphs) graphs_.pop_back();
      graphs_.insert(graphs_.begin(), StepGraph{key, nullptr});
      run();
    } else {
      std::rotate(graphs_.begin(), found, found + 1);
      StepGraph& graph = graphs_.front();
      if (!graph.exec) graph.exec = device_.capture(run);
      device_.check(cudaGraphLaunch(graph.exec.get(), device_.stream()), "cudaGraphLaunch");
    }
  }
  float* kept = reinterpret_cast<float*>(loss_history_.get()) + losses_taken_ % ADN_LOSS_HISTORY;
  device_.check(cudaMemcpyAsync(kept, loss_place(), sizeof *kept, cudaMemcpyDeviceToHost, device_.stream()),
                "cudaMemcpyAsync");
  ++losses_taken_;
  if (loss == nullptr) return;
  device_.synchronize();
  *loss = *kept;
}

void Network::read_losses(float* losses, uint64_t count) {
  device_.synchronize();
  const auto* history = reinterpret_cast<const float*>(loss_history_.get());
  for (uint64_t i = 0; i < count; ++i) losses[i] = history[(losses_taken_ - count + i) % ADN_LOSS_HISTORY];
}

void Network::read_value(float* host, const adn_network_memory& memory, uint64_t index, uint64_t batch) {
  const uint64_t size = index == 0 ? ops_[0].in_size : ops_[index - 1].out_size;
  device_.read(host, value(memory, index), batch * size * sizeof(float));
}

void Network::read_gradient(float* host, const adn_network_memory& memory, uint64_t index, uint64_t batch) {
  const uint64_t size = index == 0 ? ops_[0].in_size : ops_[index - 1].out_size;
  device_.read(host, gradient(memory, index), batch * size * sizeof(float));
}

}  // namespace adn::cuda
