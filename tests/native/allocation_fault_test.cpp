// Every allocation of a training fails in turn: the call says OUT_OF_MEMORY, nothing is leaked, and the same call made again
// goes on to the bits of the training in which nothing failed.
//
// A program of its own, as allocation_test.cpp: its malloc stands before the C library's.
#include <atomic>
#include <cerrno>

#include "support.h"

extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* memory);
}

namespace {

// Allocations until one fails; below 0 none does. A burst fails all that follow it too.
std::atomic<int64_t> until_failure{-1};
std::atomic<bool> burst{false}, hit{false};
std::atomic<int64_t> live{0};

bool fails() {
  const int64_t left = until_failure.load(std::memory_order_relaxed);
  if (left < 0) return false;
  if (left > 0) {
    until_failure = left - 1;
    return false;
  }
  hit = true;
  if (!burst) until_failure = -1;
  return true;
}

void* counted(void* memory) {
  if (memory != nullptr) live.fetch_add(1, std::memory_order_relaxed);
  return memory;
}

}  // namespace

extern "C" {

void* malloc(size_t size) { return fails() ? nullptr : counted(__libc_malloc(size)); }
void* calloc(size_t n, size_t size) { return fails() ? nullptr : counted(__libc_calloc(n, size)); }
void* realloc(void* memory, size_t size) {
  if (fails()) return nullptr;
  return memory == nullptr ? counted(__libc_realloc(memory, size)) : __libc_realloc(memory, size);
}
void* memalign(size_t alignment, size_t size) { return fails() ? nullptr : counted(__libc_memalign(alignment, size)); }
void* aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void** memory, size_t alignment, size_t size) {
  *memory = memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}
void free(void* memory) {
  if (memory != nullptr) live.fetch_sub(1, std::memory_order_relaxed);
  __libc_free(memory);
}

}  // extern "C"

namespace adadelta::test {
namespace {

// What fails in one run: the allocation of this number, counted from 0 over all calls; -1: none.
struct Fault {
  int64_t number = -1;
  bool burst = false;
};

// A training over every call that makes something, each repeated when its allocation failed. Nothing of the test's own is
// allocated while a call is armed, and what it keeps is freed before the blocks are counted.
class Training {
 public:
  Training(uint32_t threads, Fault fault) : threads_(threads), left_(fault.number), burst_(fault.burst) {}

  // The call that met the fault; NULL where none did.
  const char* failed() const { return failed_; }
  const Floats& outcome() const { return outcome_; }
  const std::string& wrong() const { return wrong_; }

  void train() {
    adn_context_options context_options = cpu_options(threads_);
    Layers layers = Layers({1, 6, 6}).conv(3, 3).max_pool(2).relu().dropout(0.25f).flatten().linear(5).relu().linear(4);
    adn_network_options network_options = test::network_options(layers.input, {4});
    adn_adadelta_options options = adadelta_options({0.5});
    options.average_decay = 0.9;
    Random random(1);
    const Floats input = random.reals(4 * 36);
    const std::vector<int32_t> labels = random.labels(4, 4);
    std::vector<uint8_t> pixels(6 * 36), classes(6);
    for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random.integer(0, 255));
    for (uint8_t& label : classes) label = static_cast<uint8_t>(random.integer(0, 3));
    const uint64_t image[] = {1, 6, 6}, shape[] = {2, 3};
    const uint32_t indices[] = {4, 0, 5};

    adn_context* context = nullptr;
    call("context", [&] { return adn_context_create(&context, &context_options); });
    adn_dataset* dataset = nullptr;
    call("dataset", [&] {
      return adn_dataset_create(&dataset, context, pixels.data(), pixels.size(), classes.data(), classes.size(), image);
    });
    adn_network* network = nullptr;
    call("network", [&] {
      return adn_network_create(&network, context, layers.list.data(), layers.list.size(), &network_options);
    });
    adn_adadelta* optimizer = nullptr;
    call("optimizer", [&] { return adn_adadelta_create(&optimizer, context, &options); });
    constexpr uint64_t count = 6;
    adn_tensor *values[count] = {}, *gradients[count] = {}, *states[2 * count] = {}, *averages[count] = {};
    for (uint64_t i = 0; i < count; ++i) {
      call("parameter", [&] { return adn_network_get_parameter(&values[i], &gradients[i], nullptr, network, i); });
    }
    call("first group", [&] { return adn_adadelta_add_group(nullptr, optimizer, values, gradients, 2, nullptr); });
    call("second group",
         [&] { return adn_adadelta_add_group(nullptr, optimizer, values + 2, gradients + 2, count - 2, nullptr); });
    float loss = 0;
    const auto step = [&] {
      call("step", [&] {
        return adn_network_train_step(&loss, network, optimizer, input.data(), input.size(), labels.data(), 4);
      });
      outcome_.push_back(loss);
      call("step of a data set",
           [&] { return adn_network_train_step_dataset(&loss, network, optimizer, dataset, indices, 3); });
      outcome_.push_back(loss);
    };
    step();
    // Options that make and drop tensors of an optimizer at work.
    options.average_decay = 0;
    call("average off", [&] { return adn_adadelta_set_options(optimizer, 0, &options); });
    options.average_decay = 0.5;
    call("average on", [&] { return adn_adadelta_set_options(optimizer, 0, &options); });
    step();
    Floats output(16);
    call("forward", [&] {
      return adn_network_forward(output.data(), output.size(), network, input.data(), input.size(), 4, ADN_MODE_TRAIN);
    });
    outcome_.insert(outcome_.end(), output.begin(), output.end());
    call("loss", [&] { return adn_network_loss(&loss, network, labels.data(), 4); });
    call("backward", [&] { return adn_network_backward(network, nullptr, 0); });
    adn_network *copy = nullptr, *inference = nullptr;
    call("copy", [&] { return adn_network_clone(&copy, network, 0, 0); });
    call("copy for inference", [&] { return adn_network_clone(&inference, network, 2, 1); });
    call("copy of the parameters", [&] { return adn_network_copy_parameters(copy, network); });
    call("forward of the copy", [&] {
      return adn_network_forward(output.data(), 8, inference, input.data(), input.size() / 2, 2, ADN_MODE_EVALUATE);
    });
    outcome_.insert(outcome_.end(), output.begin(), output.begin() + 8);
    // A recorded step is the one kind that allocates.
    options.differentiable = 1;
    call("differentiable", [&] { return adn_adadelta_set_options(optimizer, 1, &options); });
    call("recorded step", [&] { return adn_adadelta_step(optimizer); });
    call("clear the tape", [&] { return adn_adadelta_clear_tape(optimizer); });
    for (uint64_t i = 0; i < count; ++i) {
      call("state", [&] { return adn_adadelta_get_state(&states[2 * i], &states[2 * i + 1], optimizer, i); });
      call("average", [&] { return adn_adadelta_get_weights(nullptr, &averages[i], optimizer, i); });
    }
    adn_tensor *tensor = nullptr, *external = nullptr;
    double memory[6] = {};
    call("tensor", [&] { return adn_tensor_create_typed(&tensor, context, ADN_DTYPE_BFLOAT16, shape, 2); });
    call("external tensor", [&] {
      return adn_tensor_create_external(&external, context, memory, ADN_DTYPE_FLOAT64, shape, 2, nullptr, nullptr);
    });
    uint32_t order[9];
    call("permutation", [&] { return adn_random_permutation(order, 9, 1, 2); });

    for (adn_tensor* const* list : {values, averages}) {
      for (uint64_t i = 0; i < count; ++i) {
        const Floats data = read(list[i]);
        outcome_.insert(outcome_.end(), data.begin(), data.end());
      }
    }
    for (const adn_tensor* state : states) {
      const Floats data = read(state);
      outcome_.insert(outcome_.end(), data.begin(), data.end());
    }
    // Not in the order in which they were made.
    adn_context_destroy(context);
    adn_tensor_destroy(external);
    adn_network_destroy(network);
    adn_network_destroy(inference);
    adn_network_destroy(copy);
    for (adn_tensor* value : values) adn_tensor_destroy(value);
    for (adn_tensor* state : states) adn_tensor_destroy(state);
    adn_adadelta_destroy(optimizer);
    adn_dataset_destroy(dataset);
    for (adn_tensor* gradient : gradients) adn_tensor_destroy(gradient);
    for (adn_tensor* average : averages) adn_tensor_destroy(average);
    adn_tensor_destroy(tensor);
  }

 private:
  template <class Body>
  void call(const char* what, Body body) {
    ::hit = false;
    burst = burst_;
    until_failure = left_;
    const adn_status status = body();
    const int64_t left = until_failure.exchange(-1);
    const bool failed = ::hit.exchange(false);
    if (!failed) {
      left_ = left;
    } else {
      left_ = -1;
      failed_ = what;
    }
    if (failed && status != ADN_STATUS_OUT_OF_MEMORY && status != ADN_STATUS_OK) {
      wrong_ = std::string(what) + ": " + adn_status_name(status) + ": " + adn_last_error();
    }
    if (status != ADN_STATUS_OK) check(body());
  }

  uint32_t threads_;
  int64_t left_;
  bool burst_;
  const char* failed_ = nullptr;
  Floats outcome_;
  std::string wrong_;
};

class AllocationFault : public testing::TestWithParam<std::tuple<uint32_t, bool>> {};

TEST_P(AllocationFault, EveryOneInTurnIsReportedAndLeaksNothing) {
  const auto [threads, bursts] = GetParam();
  Floats expected;
  {
    Training run(threads, {});
    run.train();
    expected = run.outcome();
  }
  int64_t number = 0;
  for (const char* failed = ""; failed != nullptr; ++number) {
    SCOPED_TRACE("allocation " + std::to_string(number));
    ASSERT_LT(number, 100000) << "the training never gets by";
    const int64_t before = live;
    {
      Training run(threads, {number, bursts});
      run.train();
      failed = run.failed();
      EXPECT_EQ("", run.wrong());
      expect_same_bits(expected, run.outcome(), "outcome");
    }
    EXPECT_EQ(before, live) << "blocks that were allocated and not freed, where "
                            << (failed == nullptr ? "nothing" : failed) << " failed";
    if (HasFailure()) {
      return;
    }
  }
  // The context, its backend's device, and a dozen of objects beside them at the least.
  EXPECT_GT(number, 100) << "the faults do not reach the library's allocations";
  std::printf("%lld allocations failed in turn\n", static_cast<long long>(number - 1));
}

INSTANTIATE_TEST_SUITE_P(Cpu, AllocationFault, testing::Combine(testing::Values(1u, 2u), testing::Bool()),
                         [](const testing::TestParamInfo<std::tuple<uint32_t, bool>>& info) {
                           return std::to_string(std::get<0>(info.param)) +
                                  (std::get<1>(info.param) ? "ThreadsAndAllThatFollow" : "ThreadsOneAllocation");
                         });

}  // namespace
}  // namespace adadelta::test
