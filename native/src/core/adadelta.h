// The optimizer's groups and state; the arithmetic is in adadelta_formula.h, the loop in the backends.
#pragma once

#include <vector>

#include "core/tensor.h"

namespace adn {

// Refuses what torch.optim.Adadelta refuses, NaN and infinity included. name is the argument the message begins with.
void check_adadelta_options(const adn_adadelta_options& options, const char* name);
adn_adadelta_options default_adadelta_options();

class Adadelta {
 public:
  Adadelta(std::shared_ptr<Context> context, const adn_adadelta_options& defaults);

  const std::shared_ptr<Context>& context() const { return context_; }
  const adn_adadelta_options& defaults() const { return defaults_; }

  uint64_t add_group(const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients,
                     const adn_adadelta_options& options);
  uint64_t group_count() const { return options_.size(); }
  const adn_adadelta_options& options(uint64_t group) const;
  void set_options(uint64_t group, const adn_adadelta_options& options);

  void step();
  uint64_t step_count() const { return step_; }
  void set_step_count(uint64_t step) { step_ = step; }

  Tensor square_avg(uint64_t index) const { return slot(index).square_avg; }
  Tensor acc_delta(uint64_t index) const { return slot(index).acc_delta; }

 private:
  struct Slot {
    Tensor parameter, gradient, square_avg, acc_delta;
  };
  const Slot& slot(uint64_t index) const;
  void check_group(uint64_t group) const;

  std::shared_ptr<Context> context_;
  adn_adadelta_options defaults_;
  std::vector<adn_adadelta_options> options_;
  std::vector<Slot> slots_;
  std::vector<adn_adadelta_piece> pieces_;
  uint64_t step_ = 0;
};

}  // namespace adn
