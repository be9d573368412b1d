// The fused Adadelta step: its tables in device memory, uploaded when they change.
#pragma once

#include "cuda/device.h"
#include "cuda/kernels.h"

namespace adn::cuda {

class Optimizer {
 public:
  explicit Optimizer(Device& device);

  void prepare(const adn_adadelta_piece* pieces, uint64_t piece_count, uint64_t group_count);
  // What a step reads beside its tables. It is kept out of a captured graph, since it may change with every step.
  void upload(const adn_adadelta_pass& pass);
  // The step itself, with the pass uploaded last.
  void launch();
  // What launch() puts on the stream depends on nothing else.
  struct Launch {
    AdadeltaTables tables;
    bool measure;
    bool operator==(const Launch& other) const;
  };
  const Launch& next_launch() const { return launch_; }
  adn_adadelta_result result();

  Device& device() const { return device_; }

 private:
  Device& device_;
  Memory pieces_, chunks_, parts_, state_;
  Memory pass_;  // an adn_adadelta_pass and its groups
  std::unique_ptr<Staging> staging_;
  std::vector<unsigned char> uploaded_, next_;  // the bytes of pass_
  uint64_t piece_room_ = 0, chunk_room_ = 0, group_room_ = 0;
  Launch launch_ = {};
};

// Adds to *lr_bar; waits for it.
void adadelta_vjp(double* lr_bar, Device& device, const adn_adadelta_vjp& vjp, const adn_adadelta_group& group);

}  // namespace adn::cuda
