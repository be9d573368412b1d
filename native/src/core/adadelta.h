// The optimizer's groups and state; the arithmetic is in adadelta_formula.h, the loop in the backends.
#pragma once

#include <optional>
#include <vector>

#include "core/tensor.h"

namespace adn {

bool is_16_bit(int32_t dtype);
// What a step on a parameter of this type computes in and keeps its state in.
int32_t state_dtype(int32_t dtype);

// Refuses what torch.optim.Adadelta refuses, NaN and infinity included. name is the argument the message begins with.
void check_adadelta_options(const adn_adadelta_options& options, const char* name);
// Refuses what cannot be had with a parameter of this type.
void check_adadelta_types(int32_t dtype, const adn_adadelta_options& options);
void check_pass_options(const adn_adadelta_pass_options& options);
void check_lr(double lr);
adn_adadelta_options default_adadelta_options();
adn_adadelta_options preset_adadelta_options(int32_t preset);
adn_adadelta_pass_options default_adadelta_pass_options();

class Adadelta {
 public:
  using Gradient = std::optional<Tensor>;  // none: the parameter is skipped

  Adadelta(std::shared_ptr<Context> context, const adn_adadelta_options& defaults);
  ~Adadelta();
  Adadelta(const Adadelta&) = delete;
  Adadelta& operator=(const Adadelta&) = delete;

  const std::shared_ptr<Context>& context() const { return context_; }
  const UseFlag::Pointer& use() const { return use_; }
  const adn_adadelta_options& defaults() const { return defaults_; }

  uint64_t add_group(const std::vector<Tensor>& parameters, const std::vector<Gradient>& gradients,
                     const adn_adadelta_options& options);
  uint64_t group_count() const { return options_.size(); }
  uint64_t parameter_count() const { return slots_.size(); }
  const adn_adadelta_options& options(uint64_t group) const;
  void set_options(uint64_t group, const adn_adadelta_options& options);
  void set_lr_tensor(uint64_t group, const std::optional<Tensor>& lr);
  double lr(uint64_t group) const;
  void set_lr(uint64_t group, double lr);
  void set_gradient(uint64_t index, const Gradient& gradient);
  const adn_adadelta_pass_options& pass_options() const { return pass_; }
  void set_pass_options(const adn_adadelta_pass_options& options);

  void step();
  // A step in two halves, for a caller that has other work in between which must not be done in vain: prepare_step does all that
  // can fail for a reason known beforehand, and finish_step has take(backend's optimizer, pass) do the step.
  adn_adadelta_pass prepare_step();
  template <class Take>
  void finish_step(const adn_adadelta_pass& pass, const Take& take) {
    record();
    touch_written();
    take(backend_optimizer_, &pass);
    if (!pending_.empty()) tape_.push_back(std::move(pending_));
    pending_.clear();
  }
  void finish_step(const adn_adadelta_pass& pass);
  // Whether a step writes to it as a parameter; known of a network's storages alone.
  bool updates(const Storage& storage) const;
  // Whether a step first copies what it will read, the gradients included.
  bool records() const;
  adn_adadelta_result result() const;

  // Derivatives of recorded steps: by parameter, tensors to read and write, or none.
  struct Cotangent {
    std::optional<Tensor> parameter, gradient, square_avg, acc_delta;
  };
  uint64_t tape_length() const { return tape_.size(); }
  void backward(double* lr_gradients, const std::vector<Cotangent>& cotangents);
  void clear_tape() { tape_.clear(); }

  uint64_t step_count() const;
  void set_step_count(uint64_t step);
  uint64_t parameter_step(uint64_t index) const;
  void set_parameter_step(uint64_t index, uint64_t step);

  struct Slot {
    Tensor parameter;
    Gradient gradient;
    Tensor square_avg, acc_delta;
    std::optional<Tensor> master, average;
    std::shared_ptr<Storage> steps;  // of the slot's group
    uint64_t place;                  // in steps
    uint64_t group;
  };
  const Slot& slot(uint64_t index) const;

 private:
  void touch_written() const;
  void check_group(uint64_t group) const;
  void check_gradient(const Gradient& gradient, const Tensor& parameter, const char* name) const;
  void check_memory(const Tensor& gradient, uint64_t index, const std::vector<Slot>& slots, const char* name) const;
  void make_weights(Slot& slot, const adn_adadelta_options& options) const;
  void take(std::vector<Slot> slots);
  void prepare_record();
  void record();

  std::shared_ptr<Context> context_;
  UseFlag::Pointer use_ = std::make_shared<UseFlag>();
  adn_adadelta_options defaults_;
  adn_adadelta_pass_options pass_;
  void* backend_optimizer_ = nullptr;
  // By group.
  std::vector<adn_adadelta_options> options_;
  std::vector<adn_adadelta_group> groups_;
  std::vector<std::optional<Tensor>> lr_tensors_;
  // By parameter.
  std::vector<Slot> slots_;
  std::vector<adn_adadelta_piece> pieces_;
  bool prepared_ = true;           // the backend knows the pieces as they are
  std::vector<Storage*> written_;  // of the parameters that have copies elsewhere

  // What a step read of one parameter.
  struct Record {
    uint64_t index;
    adn_adadelta_group group;  // with lr as it was
    Tensor parameter, gradient, square_avg, acc_delta;
  };
  std::vector<std::vector<Record>> tape_;
  std::vector<Record> pending_;  // of the step that has been prepared
};

}  // namespace adn
