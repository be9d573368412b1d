// An optimizer's pass on the CPU: how its pieces are cut and spread over the threads. The kernel is adadelta.inl.
#pragma once

#include <vector>

#include "adadelta/backend.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"

namespace adn::cpu {

AdadeltaGroupNumbers group_numbers(const adn_adadelta_group& group, double lr, double gradient_scale,
                                   double clip_factor);

class Adadelta {
 public:
  Adadelta(ThreadPool& pool, const Kernels& kernels) : pool_(pool), kernels_(kernels) {}

  void prepare(const adn_adadelta_piece* pieces, uint64_t piece_count, uint64_t group_count);
  void step(const adn_adadelta_pass& pass);
  const adn_adadelta_result& result() const { return result_; }

 private:
  struct Chunk {
    double sum;
    bool finite;
  };
  template <class Body>
  void for_chunks(uint64_t first_piece, uint64_t last_piece, const Body& body);
  void set_numbers(const adn_adadelta_pass& pass, double clip_factor);
  void measure(const adn_adadelta_pass& pass);
  void update(const adn_adadelta_pass& pass, bool clip);

  ThreadPool& pool_;
  const Kernels& kernels_;
  const adn_adadelta_piece* pieces_ = nullptr;
  uint64_t piece_count_ = 0;
  std::vector<AdadeltaGroupNumbers> numbers_;  // by group
  std::vector<Chunk> chunks_;                  // of the norm
  adn_adadelta_result result_ = {};
};

}  // namespace adn::cpu
