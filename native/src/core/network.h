// A planned network: its storage, its state between passes, and the calls to the backend that executes it.
#pragma once

#include <atomic>

#include "core/adadelta.h"
#include "core/plan.h"
#include "core/tensor.h"

namespace adn {

class Network {
 public:
  Network(std::shared_ptr<Context> context, const std::vector<adn_layer>& layers, const adn_network_options& options);
  // The same layers, of another largest batch or for inference alone. The parameters are copied by copy_parameters.
  Network(const Network& other, uint64_t max_batch_size, bool inference);
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  const Plan& plan() const { return plan_; }
  const std::shared_ptr<Context>& context() const { return context_; }
  const UseFlag::Pointer& use() const { return use_; }
  uint64_t memory_bytes() const { return memory_bytes_; }
  Tensor value(uint64_t parameter) const { return tensor(parameters_, parameter); }
  Tensor gradient(uint64_t parameter) const { return tensor(gradients_, parameter); }

  // What a batch is made of, checked.
  adn_batch host_batch(const float* input, uint64_t input_count, uint64_t batch_size) const;
  adn_batch external_batch(const float* input, uint64_t input_count, uint64_t batch_size) const;
  adn_batch dataset_batch(const Dataset& dataset, const uint32_t* indices, uint64_t batch_size) const;
  // Adds the labels of the caller or of the data set to it.
  adn_batch labelled(adn_batch batch, const int32_t* labels) const;
  adn_batch labelled(adn_batch batch, const Dataset& dataset);

  void forward(float* output, uint64_t output_total, const adn_batch& batch, int32_t mode);
  float loss(const int32_t* labels, uint64_t label_count);
  void backward(const float* output_gradient, uint64_t count);
  // loss NULL: it is read later.
  void train_step(float* loss, Adadelta& optimizer, const adn_batch& batch);
  void read_losses(float* losses, uint64_t count) const;

  // From a network with the same parameters, on whichever context, and its step with them.
  void copy_parameters(const Network& from);

  void read_input_gradient(float* data, uint64_t count) const;
  void read_activation(float* data, uint64_t count, uint64_t layer) const;

  uint64_t step() const { return step_; }
  void set_step(uint64_t step);

 private:
  // Gives back what the backend keeps for the network.
  struct Destroy {
    const Context* context;
    void operator()(void* network) const { context->backend().network_destroy(network); }
  };

  void allocate();
  void draw_parameters();
  void check_trains(const char* call) const;
  Tensor tensor(const std::shared_ptr<Storage>& storage, uint64_t parameter) const;
  adn_network_memory memory() const;
  void check_batch_size(uint64_t batch_size) const;
  void check_input(const float* input, uint64_t input_count, uint64_t batch_size) const;
  void check_labels(const int32_t* labels, uint64_t count) const;
  void run_forward(const adn_batch& batch, int32_t mode);
  float run_loss(const int32_t* labels);
  void run_backward(const float* output_gradient);
  void run_train_step(float* loss, Adadelta& optimizer, const adn_batch& batch);
  float run_train_step_in_parts(Adadelta& optimizer, const adn_batch& batch);
  void forget_pass();
  void note_pass(uint64_t batch_size, int32_t mode);

  std::shared_ptr<Context> context_;
  UseFlag::Pointer use_ = std::make_shared<UseFlag>();
  Plan plan_;
  std::shared_ptr<Storage> parameters_, gradients_, arena_;
  std::unique_ptr<void, Destroy> backend_network_;
  uint64_t memory_bytes_ = 0;
  std::vector<int32_t> labels_;  // of a data set's batch
  std::vector<float> losses_;    // of the last training steps, in turn; where the backend does not keep them
  uint64_t losses_taken_ = 0;

  // What the arena holds.
  uint64_t batch_ = 0;        // images of the last forward pass, 0 before the first
  uint64_t pass_step_ = 0;    // its number, which dropout's backward needs
  bool can_go_back_ = false;  // it was in mode TRAIN
  bool has_loss_ = false;     // the gradient of the logits is there
  bool has_input_gradient_ = false;
  std::atomic<uint64_t> step_{0};  // read without the flag
};

}  // namespace adn
