// What counts as one object, and what two threads may do at once: in-use flags, copies for other threads, fork. Also what every way
// of writing a parameter does to the copies that a network keeps of it.
#include <atomic>
#include <functional>
#include <thread>

#include "support.h"

#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace adadelta::test {
namespace {

Layers small_network() { return Layers({1, 8, 8}).conv(8, 3).max_pool(2).relu().flatten().linear(5); }

std::vector<adn_tensor*> raw(const Network& network, bool gradients) {
  std::vector<adn_tensor*> tensors;
  for (uint64_t i = 0; i < network.parameter_count(); ++i) {
    tensors.push_back(gradients ? network.gradient(i) : network.value(i));
  }
  return tensors;
}

Floats evaluate(adn_network* network, const Floats& input, uint64_t batch, uint64_t outputs) {
  Floats output(batch * outputs);
  check(
      adn_network_forward(output.data(), output.size(), network, input.data(), input.size(), batch, ADN_MODE_EVALUATE));
  return output;
}

NetworkHandle clone(adn_network* network, uint64_t max_batch_size = 0, int32_t inference = 1) {
  adn_network* made = nullptr;
  check(adn_network_clone(&made, network, max_batch_size, inference));
  return NetworkHandle(made);
}

// ---- One thread at a time ----

TEST(InUse, ASecondThreadIsRefusedAndNothingIsWrong) {
  const Context context = make_context(2);
  Network network(context.get(), small_network());
  const Floats input = Random(1).reals(4 * 64);
  const Floats expected = evaluate(network.get(), input, 4, 5);
  std::atomic<int> right{0}, refused{0}, wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        Floats output(20);
        const adn_status status = adn_network_forward(output.data(), output.size(), network.get(), input.data(),
                                                      input.size(), 4, ADN_MODE_EVALUATE);
        if (status == ADN_STATUS_OK) {
          ++(output == expected ? right : wrong);
        } else {
          ++(status == ADN_STATUS_INVALID_STATE && std::strstr(adn_last_error(), "network: in use") != nullptr ? refused
                                                                                                               : wrong);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(0, wrong);
  EXPECT_EQ(2000, right + refused);
  EXPECT_GT(right, 0);
}

// Runs training steps on a thread until told to stop; every call must succeed or be refused as in use.
class Training {
 public:
  Training(Network& network, adn_adadelta* optimizer)
      : thread_([this, &network, optimizer] {
          const Floats input = Random(2).reals(16 * network.input_count());
          const std::vector<int32_t> labels = Random(3).labels(16, network.info().output_count);
          while (!stop_) {
            float loss = 0;
            const adn_status status = adn_network_train_step(&loss, network.get(), optimizer, input.data(),
                                                             input.size(), labels.data(), labels.size());
            if (status == ADN_STATUS_OK) {
              ++steps_;
              if (!std::isfinite(loss)) bad_ = true;
            } else if (status != ADN_STATUS_INVALID_STATE) {
              bad_ = true;
            }
          }
        }) {}
  ~Training() { finish(); }
  void finish() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    EXPECT_FALSE(bad_);
  }
  int steps() const { return steps_; }

 private:
  std::atomic<bool> stop_{false}, bad_{false};
  std::atomic<int> steps_{0};
  std::thread thread_;
};

// Each of these touches what a training step works on; beside one, it is done between two steps or refused.
TEST(InUse, EveryCallOnWhatATrainingStepWorksOnIsRefusedWhileItRuns) {
  const Context context = make_context(1);
  Network network(context.get(), small_network());
  const OptimizerHandle optimizer = make_optimizer(context.get(), network);
  adn_tensor *average = nullptr, *delta = nullptr;
  check(adn_adadelta_get_state(&average, &delta, optimizer.get(), 0));
  const Tensor square_avg(average), acc_delta(delta);
  Floats weights(72), logits(80), losses(1);
  std::vector<int32_t> labels(16, 1);
  uint64_t step = 0;
  double lr = 0;
  adn_adadelta_options options = adadelta_options();
  adn_adadelta_report report = {};
  report.struct_size = sizeof report;
  const std::pair<const char*, std::function<adn_status()>> calls[] = {
      {"read a parameter", [&] { return adn_tensor_read(weights.data(), 72, network.value(0)); }},
      {"read a gradient", [&] { return adn_tensor_read(weights.data(), 72, network.gradient(0)); }},
      {"read the state", [&] { return adn_tensor_read(weights.data(), 72, square_avg.get()); }},
      {"fill the state", [&] { return adn_tensor_fill(acc_delta.get(), 0); }},
      {"loss", [&] { return adn_network_loss(losses.data(), network.get(), labels.data(), 16); }},
      {"read losses", [&] { return adn_network_read_losses(losses.data(), 1, network.get()); }},
      {"set options", [&] { return adn_adadelta_set_options(optimizer.get(), 0, &options); }},
      {"get lr", [&] { return adn_adadelta_get_lr(&lr, optimizer.get(), 0); }},
      {"set lr", [&] { return adn_adadelta_set_lr(optimizer.get(), 0, 0.5); }},
      {"report", [&] { return adn_adadelta_get_report(&report, optimizer.get()); }},
      {"step count", [&] { return adn_adadelta_get_step(&step, optimizer.get()); }},
      {"step", [&] { return adn_adadelta_step(optimizer.get()); }},
  };
  Training training(network, optimizer.get());
  for (int i = 0; i < 300; ++i) {
    for (const auto& [what, call] : calls) {
      const adn_status status = call();
      // A loss may also be missing because the last pass was a whole step.
      EXPECT_TRUE(status == ADN_STATUS_OK || status == ADN_STATUS_INVALID_STATE || std::string(what) == "read losses" ||
                  std::string(what) == "loss")
          << what << ": " << adn_last_error();
    }
    check(adn_network_get_step(&step, network.get()));  // needs no turn
  }
}

TEST(InUse, DifferentObjectsOfOneContextWorkSideBySide) {
  const Context context = make_context(2);
  std::vector<std::vector<Floats>> weights(3);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      Network network(context.get(), small_network());
      const OptimizerHandle optimizer = make_optimizer(context.get(), network);
      const Floats input = Random(7).reals(16 * 64);
      for (int i = 0; i < 20; ++i) network.train_step(optimizer.get(), input, Random(8).labels(16, 5));
      weights[static_cast<size_t>(t)] = network.values();
    });
  }
  for (std::thread& thread : threads) thread.join();
  expect_same_bits(weights[0], weights[1], "weights");
  expect_same_bits(weights[0], weights[2], "weights");
}

// An optimizer that was given a tensor is one object with it, and so with the tensor's network; of several, all are.
TEST(InUse, OptimizersJoinWhatTheyAreGiven) {
  const Context context = make_context(1);
  Network first(context.get(), small_network()), second(context.get(), small_network());
  {
    // A short-lived optimizer leaves nothing behind.
    for (int i = 0; i < 100; ++i) make_optimizer(context.get(), first);
  }
  const OptimizerHandle optimizer = make_optimizer(context.get(), first);
  const std::vector<adn_tensor*> values = raw(second, false), gradients = raw(second, true);
  check(adn_adadelta_add_group(nullptr, optimizer.get(), values.data(), gradients.data(), values.size(), nullptr));
  Training training(first, optimizer.get());
  while (training.steps() == 0) std::this_thread::yield();
  const Floats input = Random(1).reals(64);
  int refused = 0;
  for (int i = 0; i < 20000 && refused == 0; ++i) {
    Floats output(5);
    const adn_status status =
        adn_network_forward(output.data(), 5, second.get(), input.data(), input.size(), 1, ADN_MODE_EVALUATE);
    if (status == ADN_STATUS_INVALID_STATE) ++refused;
  }
  EXPECT_GT(refused, 0)
      << "the second network was never in use, though each step of the optimizer writes its parameters";
}

// ---- Copies for other threads ----

TEST(Clone, InferenceCopyGivesTheSameBitsAndHasNoGradients) {
  const Context context = make_context(1);
  Network network(context.get(), reference_network());
  const Floats input = Random(1).reals(3 * 784, 0, 1);
  const NetworkHandle copy = clone(network.get(), 3);
  expect_same_bits(evaluate(network.get(), input, 3, 10), evaluate(copy.get(), input, 3, 10), "logits");
  adn_network_info info = {}, whole = network.info();
  info.struct_size = sizeof info;
  check(adn_network_get_info(&info, copy.get()));
  EXPECT_EQ(3u, info.max_batch_size);
  // The weights and their packed form, but neither gradients nor what backward passes need.
  EXPECT_LT(info.memory_bytes, whole.memory_bytes / 2);
  adn_tensor *value = nullptr, *gradient = network.gradient(0);
  check(adn_network_get_parameter(&value, &gradient, nullptr, copy.get(), 0));
  EXPECT_EQ(nullptr, gradient);
  adn_tensor_destroy(value);
  expect_failure(ADN_STATUS_INVALID_STATE,
                 adn_network_forward(nullptr, 0, copy.get(), input.data(), input.size(), 3, ADN_MODE_TRAIN),
                 {"inference"});
  const OptimizerHandle optimizer = make_optimizer(context.get());
  const std::vector<int32_t> labels(3);
  expect_failure(
      ADN_STATUS_INVALID_STATE,
      adn_network_train_step(nullptr, copy.get(), optimizer.get(), input.data(), input.size(), labels.data(), 3),
      {"inference"});
  expect_failure(ADN_STATUS_INVALID_STATE, adn_network_backward(copy.get(), nullptr, 0), {"mode TRAIN"});
}

TEST(Clone, AWholeCopyTrainsOnWithTheSameBits) {
  const Context context = make_context(1);
  const Layers layers = Layers({1, 8, 8}).conv(8, 3).relu().dropout(0.5f).flatten().linear(5);
  Network network(context.get(), layers);
  const OptimizerHandle optimizer = make_optimizer(context.get(), network);
  const Floats input = Random(1).reals(8 * 64);
  const std::vector<int32_t> labels = Random(2).labels(8, 5);
  network.train_step(optimizer.get(), input, labels);
  const NetworkHandle copy = clone(network.get(), 0, 0);
  float expected = 0, loss = 0;
  for (int i = 0; i < 2; ++i) {
    check(adn_network_forward(nullptr, 0, network.get(), input.data(), input.size(), 8, ADN_MODE_TRAIN));
    check(adn_network_loss(&expected, network.get(), labels.data(), 8));
    check(adn_network_forward(nullptr, 0, copy.get(), input.data(), input.size(), 8, ADN_MODE_TRAIN));
    check(adn_network_loss(&loss, copy.get(), labels.data(), 8));
    EXPECT_EQ(expected, loss);
  }
}

// A thread that trains without a pause, and one that renews its copy and reads it: each output is that of some whole step.
TEST(Clone, CopiesAreTakenBetweenTwoStepsOfATraining) {
  const Context context = make_context(1);
  const Layers layers = Layers({1, 1, 1}).flatten().linear(40000, 0);
  Network network(context.get(), layers, {1, ADN_REDUCTION_SUM, 0, 1});
  // With lr 0 and a decay of 1/2 a step halves every weight: between two steps all have the same power of two.
  adn_adadelta_options options = adadelta_options();
  options.lr = 1;
  options.decoupled_weight_decay = 0.5;
  options.eps = 0;
  options.zero_eps = ADN_ZERO_EPS_KEEP;
  adn_adadelta* made = nullptr;
  check(adn_adadelta_create(&made, context.get(), &options));
  const OptimizerHandle optimizer(made);
  const std::vector<adn_tensor*> values = raw(network, false), gradients = raw(network, true);
  check(adn_adadelta_add_group(nullptr, optimizer.get(), values.data(), gradients.data(), 1, nullptr));
  check(adn_tensor_fill(network.value(0), 1));
  const NetworkHandle copy = clone(network.get());
  std::atomic<bool> stop{false};
  std::thread trainer([&] {
    for (int i = 0; !stop; ++i) {
      check(adn_adadelta_step(optimizer.get()));
      if (i % 100 == 99) check(adn_tensor_fill(network.value(0), 1));
    }
  });
  const Floats one(1, 1.0f);
  for (int i = 0; i < 300; ++i) {
    check(adn_network_copy_parameters(copy.get(), network.get()));
    const Floats output = evaluate(copy.get(), one, 1, 40000);
    for (float value : output) ASSERT_EQ(output[0], value);
  }
  stop = true;
  trainer.join();
}

TEST(Clone, CopyParametersAcrossContextsAndRefusals) {
  const Context context = make_context(1), other = make_context(1);
  Network network(context.get(), small_network()), elsewhere(other.get(), small_network(), {64, 0, 0, 9});
  check(adn_network_copy_parameters(elsewhere.get(), network.get()));
  expect_same_bits(network.values(), elsewhere.values(), "weights");
  check(adn_network_copy_parameters(network.get(), network.get()));
  Network different(context.get(), Layers({1, 8, 8}).conv(8, 3).flatten().linear(5));
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_network_copy_parameters(different.get(), network.get()),
                 {"from", "names and shapes"});
  adn_network* made = nullptr;
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_network_clone(&made, network.get(), 0, 2), {"inference", "2"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_network_clone(&made, network.get(), ~uint64_t{0}, 1),
                 {"max_batch_size"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_network_clone(nullptr, network.get(), 0, 1), {"clone"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_network_clone(&made, nullptr, 0, 1), {"network"});
  EXPECT_EQ(nullptr, made);
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_network_copy_parameters(nullptr, network.get()), {"to"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_network_copy_parameters(network.get(), nullptr), {"from"});
}

TEST(Clone, TwoThatCopyEachOtherDoNotWaitForEver) {
  const Context context = make_context(1);
  Network a(context.get(), small_network()), b(context.get(), small_network());
  const auto copy = [](adn_network* to, adn_network* from) {
    for (int i = 0; i < 2000; ++i) {
      const adn_status status = adn_network_copy_parameters(to, from);
      ASSERT_TRUE(status == ADN_STATUS_OK || status == ADN_STATUS_INVALID_STATE) << adn_last_error();
    }
  };
  std::thread thread([&] { copy(a.get(), b.get()); });
  copy(b.get(), a.get());
  thread.join();
}

// ---- Every way to write a parameter ----

// The network's output after a write must be that of a fresh network with the same weights, in whichever form it keeps them.
TEST(WritePaths, NoneLeavesAStaleCopyOfAParameter) {
  const Context context = make_context(1);
  const Floats input = Random(1).reals(4 * 64);
  const std::vector<int32_t> labels = Random(2).labels(4, 5);
  struct Setup {
    Network network, other;
    OptimizerHandle optimizer;
    Tensor gradient, v, u;
  };
  const std::pair<const char*, std::function<void(Setup&)>> writes[] = {
      {"write", [](Setup& s) { write(s.network.value(0), Random(5).reals(72)); }},
      {"write_bytes",
       [](Setup& s) {
         const Floats one(1, 3.0f);
         check(adn_tensor_write_bytes(s.network.value(0), one.data(), 8, 4));
       }},
      {"fill", [](Setup& s) { check(adn_tensor_fill(s.network.value(0), 0.25f)); }},
      {"train_step", [&](Setup& s) { s.network.train_step(s.optimizer.get(), input, labels); }},
      {"step", [](Setup& s) { check(adn_adadelta_step(s.optimizer.get())); }},
      {"copy_parameters", [](Setup& s) { check(adn_network_copy_parameters(s.network.get(), s.other.get())); }},
      {"zero_gradients of an optimizer that has it as a gradient",
       [&](Setup& s) {
         const OptimizerHandle zeroing = make_optimizer(context.get());
         adn_tensor* value = s.other.value(0);
         adn_tensor* gradient = s.network.value(0);
         check(adn_adadelta_add_group(nullptr, zeroing.get(), &value, &gradient, 1, nullptr));
         adn_adadelta_pass_options pass;
         check(adn_adadelta_pass_options_init(&pass, sizeof pass));
         pass.zero_gradients = 1;
         check(adn_adadelta_set_pass_options(zeroing.get(), &pass));
         check(adn_adadelta_step(zeroing.get()));
       }},
      {"the derivative of a step",
       [&](Setup& s) {
         adn_adadelta_options options = adadelta_options();
         options.differentiable = 1;
         adn_adadelta* made = nullptr;
         check(adn_adadelta_create(&made, context.get(), &options));
         const OptimizerHandle recorded(made);
         const Tensor value = make_tensor(context.get(), {8, 1, 3, 3}),
                      gradient = make_tensor(context.get(), {8, 1, 3, 3});
         write(gradient.get(), Random(6).reals(72));
         adn_tensor* values[] = {value.get()};
         adn_tensor* gradients[] = {gradient.get()};
         check(adn_adadelta_add_group(nullptr, recorded.get(), values, gradients, 1, nullptr));
         check(adn_adadelta_step(recorded.get()));
         const adn_adadelta_cotangent cotangent = {s.v.get(), s.network.value(0), s.gradient.get(), s.u.get()};
         check(adn_tensor_fill(s.v.get(), 1));
         check(adn_adadelta_backward(nullptr, 0, recorded.get(), &cotangent, 1));
       }},
  };
  for (const auto& [what, change] : writes) {
    SCOPED_TRACE(what);
    Setup s = {Network(context.get(), small_network()),
               Network(context.get(), small_network(), {64, 0, 0, 77}),
               nullptr,
               make_tensor(context.get(), {8, 1, 3, 3}),
               make_tensor(context.get(), {8, 1, 3, 3}),
               make_tensor(context.get(), {8, 1, 3, 3})};
    s.optimizer = make_optimizer(context.get(), s.network);
    s.network.train_step(s.optimizer.get(), input, labels);
    const Floats before = evaluate(s.network.get(), input, 4, 5);
    change(s);
    const Floats after = evaluate(s.network.get(), input, 4, 5);
    EXPECT_NE(before, after) << "the write changes nothing, so that this case shows nothing";
    const NetworkHandle fresh = clone(s.network.get());
    expect_same_bits(evaluate(fresh.get(), input, 4, 5), after, "output");
  }
}

// ---- fork ----

#if !defined(_WIN32) && !defined(__SANITIZE_THREAD__)
TEST(Fork, TheChildGoesOnWithThreadsOfItsOwn) {
  const Context context = make_context(3);
  Network network(context.get(), small_network());
  const OptimizerHandle optimizer = make_optimizer(context.get(), network);
  const Floats input = Random(1).reals(16 * 64);
  const std::vector<int32_t> labels = Random(2).labels(16, 5);
  network.train_step(optimizer.get(), input, labels);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  float loss = 0;
  if (child == 0) {
    alarm(60);  // what hangs is ended
    Context inherited = make_context(3);
    bool right = adn_network_train_step(&loss, network.get(), optimizer.get(), input.data(), input.size(),
                                        labels.data(), labels.size()) == ADN_STATUS_OK;
    inherited.reset();
    _exit(right && std::isfinite(loss) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
  network.train_step(optimizer.get(), input, labels);
}

TEST(Fork, TheChildDestroysWhatItInherited) {
  Context context = make_context(3);
  auto network = std::make_unique<Network>(context.get(), small_network());
  evaluate(network->get(), Random(1).reals(64), 1, 5);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(60);
    network.reset();
    context.reset();
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
}
#endif

}  // namespace
}  // namespace adadelta::test
