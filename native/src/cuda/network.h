// Executes a plan on a GPU. Values lie row-major in the arena, [image][channel][height][width].
#pragma once

#include "cuda/kernels.h"
#include "cuda/optimizer.h"

namespace adn::cuda {

struct Dataset {
  Memory pixels;
};

class Network {
 public:
  Network(Device& device, const adn_plan& plan);

  uint64_t bytes() const;
  void forward(const adn_network_memory& memory, const adn_batch& batch, bool training, uint64_t step);
  float loss(const adn_network_memory& memory, const int32_t* labels, uint64_t batch);
  void backward(const adn_network_memory& memory, const float* output_gradient, uint64_t batch, uint64_t step);
  // optimizer and pass may be NULL. The loss is kept for read_losses; *loss, where wanted, is waited for.
  void train_step(float* loss, const adn_network_memory& memory, const adn_batch& batch, uint64_t step,
                  Optimizer* optimizer, const adn_adadelta_pass* pass);
  void read_losses(float* losses, uint64_t count);
  void read_value(float* host, const adn_network_memory& memory, uint64_t value, uint64_t batch);
  void read_gradient(float* host, const adn_network_memory& memory, uint64_t value, uint64_t batch);

  Device& device() const { return device_; }

 private:
  struct Op {
    adn_op op;
    ConvShape conv;  // CONV; of the largest batch, as pool is
    PoolShape pool;  // CONV with a pool, and both kinds of pool
    uint64_t in_size, conv_size, out_size;
    uint64_t winner_offset;  // of a max-pool, in winners_
  };

  // All that the work of a training step is made from. Whatever else it needs is read from device memory that is written
  // before each step, so a graph serves every step with the same of these.
  struct StepKey {
    uint64_t batch;
    const uint8_t* pixels;
    const float* arena;
    const float* parameters;
    float* gradients;
    bool optimizes;
    Optimizer::Launch optimizer;
    bool operator==(const StepKey& other) const;
  };
  struct StepGraph {
    StepKey key;
    GraphExecHandle
        exec;  // NULL until the step comes a second time: the first loads the kernels, which cannot be captured
  };

  float* value(const adn_network_memory& memory, size_t index) const { return memory.arena + value_offsets_[index]; }
  float* gradient(const adn_network_memory& memory, size_t index) const {
    return memory.arena + gradient_offsets_[index];
  }
  const float* parameter(const adn_network_memory& memory, int32_t index) const {
    return index < 0 ? nullptr : memory.parameters + parameter_offsets_[static_cast<size_t>(index)];
  }
  float* parameter_gradient(const adn_network_memory& memory, int32_t index) const {
    return index < 0 ? nullptr : memory.gradients + parameter_offsets_[static_cast<size_t>(index)];
  }
  void launched(int error, const char* kernel) { device_.check_launch(error, kernel); }

  // What a pass reads and the host writes: upload_* before it, run_* on the stream or into a graph.
  void upload_batch(const adn_network_memory& memory, const adn_batch& batch, uint64_t step);
  void run_gather(const adn_network_memory& memory, const uint8_t* pixels, uint64_t batch);
  void run_forward(const adn_network_memory& memory, uint64_t batch, bool training);
  void run_loss(const adn_network_memory& memory, uint64_t batch);
  void run_backward(const adn_network_memory& memory, uint64_t batch);
  void forward_conv(const Op& op, const adn_network_memory& memory, size_t index, uint64_t batch, bool training);
  void backward_conv(const Op& op, const adn_network_memory& memory, size_t index, uint64_t batch);
  void drop(const Op& op, float* to, const float* from, uint64_t batch);

  uint64_t* step() const { return inputs_.as<uint64_t>(); }
  int32_t* labels() const { return reinterpret_cast<int32_t*>(step() + 2); }
  uint32_t* indices() const { return reinterpret_cast<uint32_t*>(labels() + max_batch_); }
  float* loss_place() const { return losses_.as<float>(); }
  float* row_losses() const { return losses_.as<float>() + 64; }

  Device& device_;
  std::vector<Op> ops_;
  std::vector<uint64_t> value_offsets_, gradient_offsets_, parameter_offsets_;
  uint64_t max_batch_, seed_;
  bool mean_, input_gradient_;
  Memory inputs_;     // the step's number (16 bytes), labels, indices
  Memory losses_;     // the batch's (256 bytes), each image's
  Memory workspace_;  // of any kernel
  Memory unpooled_;   // a convolution's output before its pool, and then the gradient with respect to it
  Memory winners_;    // of every max-pool
  Staging input_staging_, image_staging_;
  PinnedHandle loss_history_;
  uint64_t losses_taken_ = 0;
  std::vector<StepGraph> graphs_;  // the latest in front
};

}  // namespace adn::cuda
