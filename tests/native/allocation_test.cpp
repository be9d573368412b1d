// Forward, backward and step allocate nothing.
//
// This program defines malloc and its kin, and the library's calls find these definitions before the C library's, those of
// its own statically linked C++ runtime included. It is a program of its own so that the other tests keep the real ones, and
// it is not built with sanitizers, which bring their own.
#include <atomic>
#include <cerrno>

#include "support.h"

extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
}

namespace {

std::atomic<bool> counting{false};
std::atomic<uint64_t> allocations{0};

void count() {
  if (counting.load(std::memory_order_relaxed)) {
    allocations.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace

extern "C" {

void* malloc(size_t size) {
  count();
  return __libc_malloc(size);
}

void* calloc(size_t n, size_t size) {
  count();
  return __libc_calloc(n, size);
}

void* realloc(void* memory, size_t size) {
  count();
  return __libc_realloc(memory, size);
}

void* memalign(size_t alignment, size_t size) {
  count();
  return __libc_memalign(alignment, size);
}

void* aligned_alloc(size_t alignment, size_t size) {
  count();
  return __libc_memalign(alignment, size);
}

int posix_memalign(void** memory, size_t alignment, size_t size) {
  count();
  *memory = __libc_memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}

}  // extern "C"

namespace adadelta::test {
namespace {

template <class Body>
uint64_t allocations_of(Body body) {
  allocations = 0;
  counting = true;
  body();
  counting = false;
  return allocations;
}

class Allocation : public EachInstructionSet {};
ADN_FOR_EACH_INSTRUCTION_SET(Allocation);

TEST_P(Allocation, TrainingAllocatesNothing) {
  uint64_t seen_by_creation = 0;
  for (uint32_t threads : {1u, 2u, 3u}) {
    Context context;
    seen_by_creation += allocations_of([&] { context = make_context(threads, GetParam()); });
    const Layers layers = Layers({1, 20, 20})
                              .conv(16, 5)
                              .max_pool(2)
                              .relu()
                              .dropout(0.25f)
                              .conv(17, 3)
                              .relu()
                              .avg_pool(2)
                              .flatten()
                              .linear(33)
                              .relu()
                              .linear(10);
    NetworkSettings settings;
    settings.max_batch_size = 16;
    Network network(context.get(), layers, settings);
    const OptimizerHandle optimizer = make_optimizer(context.get(), network);
    for (uint64_t batch : {16, 5}) {
      SCOPED_TRACE(std::to_string(threads) + " threads, batch " + std::to_string(batch));
      Random random(1);
      const Floats input = random.reals(batch * 400);
      const std::vector<int32_t> labels = random.labels(batch, 10);
      Floats output(batch * 10), gradient(batch * 10, 0.1f), input_gradient(batch * 400);
      float loss = 0;
      uint64_t failures = 0;
      const uint64_t seen = allocations_of([&] {
        for (int step = 0; step < 3; ++step) {
          failures += adn_network_forward(output.data(), output.size(), network.get(), input.data(), input.size(),
                                          batch, ADN_MODE_TRAIN) != ADN_STATUS_OK;
          failures += adn_network_loss(&loss, network.get(), labels.data(), batch) != ADN_STATUS_OK;
          failures += adn_network_backward(network.get(), nullptr, 0) != ADN_STATUS_OK;
          failures += adn_network_backward(network.get(), gradient.data(), gradient.size()) != ADN_STATUS_OK;
          failures += adn_network_read_input_gradient(input_gradient.data(), input_gradient.size(), network.get()) !=
                      ADN_STATUS_OK;
          failures += adn_adadelta_step(optimizer.get()) != ADN_STATUS_OK;
          failures += adn_network_train_step(&loss, network.get(), optimizer.get(), input.data(), input.size(),
                                             labels.data(), batch) != ADN_STATUS_OK;
          failures += adn_network_forward(output.data(), output.size(), network.get(), input.data(), input.size(),
                                          batch, ADN_MODE_EVALUATE) != ADN_STATUS_OK;
        }
      });
      EXPECT_EQ(0u, failures) << adn_last_error();
      EXPECT_EQ(0u, seen);
    }
  }
  EXPECT_GT(seen_by_creation, 0u) << "the counters do not see the library's allocations";
}

// With everything that a step can do beside the update, and gradients that come and go.
TEST_P(Allocation, AStepWithEveryOptionAllocatesNothing) {
  const Context context = make_context(2, GetParam());
  adn_adadelta_options options = adadelta_options({1, 0.9, 1e-6, 0.1});
  options.decoupled_weight_decay = 0.1;
  options.clip_value = 1;
  options.average_decay = 0.9;
  options.master_weights = 1;
  const OptimizerHandle optimizer = make_optimizer(context.get());
  std::vector<Tensor> values, gradients;
  std::vector<adn_tensor*> ps, gs;
  const uint64_t shape[] = {40000};
  for (const int32_t dtype :
       {ADN_DTYPE_FLOAT32, ADN_DTYPE_FLOAT64, ADN_DTYPE_FLOAT16, ADN_DTYPE_BFLOAT16, ADN_DTYPE_COMPLEX64}) {
    for (std::vector<Tensor>* list : {&values, &gradients}) {
      adn_tensor* tensor = nullptr;
      check(adn_tensor_create_typed(&tensor, context.get(), dtype, shape, 1));
      list->emplace_back(tensor);
    }
    ps.push_back(values.back().get());
    gs.push_back(gradients.back().get());
  }
  check(adn_adadelta_add_group(nullptr, optimizer.get(), ps.data(), gs.data(), ps.size(), &options));
  adn_adadelta_pass_options pass;
  check(adn_adadelta_pass_options_init(&pass, sizeof pass));
  pass.gradient_scale = 2;
  pass.clip_norm = 1;
  pass.skip_nonfinite = 1;
  pass.zero_gradients = 1;
  check(adn_adadelta_set_pass_options(optimizer.get(), &pass));
  uint64_t failures = 0;
  const uint64_t seen = allocations_of([&] {
    for (uint64_t step = 0; step < 6; ++step) {
      failures += adn_adadelta_set_gradient(optimizer.get(), 1, step % 2 == 0 ? nullptr : gs[1]) != ADN_STATUS_OK;
      failures += adn_adadelta_step(optimizer.get()) != ADN_STATUS_OK;
    }
  });
  EXPECT_EQ(0u, failures) << adn_last_error();
  EXPECT_EQ(0u, seen);
}

}  // namespace
}  // namespace adadelta::test
