// Networks of one context on threads of their own, contexts side by side, and objects made and dropped without end.
// In the preset tsan the same tests look for races.
#include <sys/resource.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <thread>

#include "support.h"

namespace adadelta::test {
namespace {

bool long_form() {
  const char* form = std::getenv("ADADELTA_LONG");
  return form != nullptr && std::strcmp(form, "1") == 0;
}

Layers layers() {
  return Layers({1, 8, 8}).conv(5, 3).max_pool(2).relu().dropout(0.25f).flatten().linear(9).relu().linear(4);
}

// A training's losses and final weights: what two of them have in common is the seed alone.
Floats train(adn_context* context, uint64_t seed, int steps) {
  NetworkSettings settings;
  settings.max_batch_size = 6;
  settings.seed = seed;
  Network network(context, layers(), settings);
  const OptimizerHandle optimizer = make_optimizer(context, network, {0.5});
  Random random(seed);
  Floats outcome;
  for (int step = 0; step < steps; ++step) {
    outcome.push_back(network.train_step(optimizer.get(), random.reals(6 * 64), random.labels(6, 4)));
    if (step % 5 == 0) {
      const Floats output = network.forward(random.reals(2 * 64), ADN_MODE_EVALUATE);
      outcome.insert(outcome.end(), output.begin(), output.end());
    }
  }
  for (const Floats& value : network.values()) outcome.insert(outcome.end(), value.begin(), value.end());
  return outcome;
}

// Runs body(0), body(1), ... at the same time; what they throw ends the test.
void at_once(int count, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  std::vector<std::string> errors(static_cast<size_t>(count));
  std::atomic<int> ready{0};
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      ready.fetch_add(1);
      while (ready.load() < count) std::this_thread::yield();
      try {
        body(i);
      } catch (const std::exception& error) {
        errors[static_cast<size_t>(i)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : errors) EXPECT_EQ("", error);
}

// The bits of each training are those that it has alone.
void expect_independent(int count, const std::function<adn_context*(int)>& context_of) {
  const int steps = small_scale() ? 20 : 60;
  std::vector<Floats> alone, together(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) alone.push_back(train(make_context().get(), static_cast<uint64_t>(i), steps));
  at_once(count,
          [&](int i) { together[static_cast<size_t>(i)] = train(context_of(i), static_cast<uint64_t>(i), steps); });
  expect_same_bits(alone, together, "training");
}

TEST(Threads, NetworksOfOneContextTrainSideBySide) {
  for (const uint32_t pool : {1u, 2u}) {
    const Context context = make_context(pool);
    expect_independent(4, [&](int) { return context.get(); });
  }
}

TEST(Threads, ContextsTrainSideBySide) {
  std::vector<Context> contexts;
  for (int i = 0; i < 4; ++i) contexts.push_back(make_context(1 + static_cast<uint32_t>(i % 2)));
  expect_independent(4, [&](int i) { return contexts[static_cast<size_t>(i)].get(); });
}

// A context goes away while the networks that keep it alive train on; the last of them ends its threads.
TEST(Threads, ContextIsDestroyedWhileItsNetworksTrain) {
  const Floats expected = train(make_context().get(), 3, 10);
  for (int round = 0; round < 10; ++round) {
    Context context = make_context(2);
    adn_context* shared = context.get();
    NetworkSettings settings;
    settings.max_batch_size = 6;
    settings.seed = 3;
    std::vector<std::unique_ptr<Network>> networks;
    std::vector<OptimizerHandle> optimizers;
    for (int i = 0; i < 3; ++i) {
      networks.push_back(std::make_unique<Network>(shared, layers(), settings));
      optimizers.push_back(make_optimizer(shared, *networks.back(), {0.5}));
    }
    at_once(4, [&](int i) {
      if (i == 3) {
        context.reset();
        return;
      }
      Random random(3);
      const size_t index = static_cast<size_t>(i);
      for (int step = 0; step < 10; ++step) {
        const float loss =
            networks[index]->train_step(optimizers[index].get(), random.reals(6 * 64), random.labels(6, 4));
        if (step == 0 && loss != expected[0]) throw std::runtime_error("another loss");
        if (step % 5 == 0) networks[index]->forward(random.reals(2 * 64), ADN_MODE_EVALUATE);
      }
      // Each thread drops its own: the last one takes the context along.
      optimizers[index].reset();
      networks[index].reset();
    });
  }
}

// A copy answers beside the training and takes its weights over between steps; neither changes what the training computes.
TEST(Threads, ACopyAnswersBesideTheTraining) {
  const int steps = small_scale() ? 20 : 200;
  const Context context = make_context(2);
  NetworkSettings settings;
  settings.max_batch_size = 6;
  const auto losses_of = [&](Network& network, adn_adadelta* optimizer, const std::function<void()>& after_step) {
    Random random(1);
    Floats losses;
    for (int step = 0; step < steps; ++step) {
      losses.push_back(network.train_step(optimizer, random.reals(6 * 64), random.labels(6, 4)));
      after_step();
    }
    return losses;
  };
  Network alone(context.get(), layers(), settings);
  const Floats expected = losses_of(alone, make_optimizer(context.get(), alone, {0.5}).get(), [] {});

  Network network(context.get(), layers(), settings);
  const OptimizerHandle optimizer = make_optimizer(context.get(), network, {0.5});
  adn_network* made = nullptr;
  check(adn_network_clone(&made, network.get(), 2, 1));
  const NetworkHandle copy(made);
  Floats losses;
  std::atomic<bool> trained{false};
  at_once(2, [&](int i) {
    if (i == 0) {
      losses = losses_of(network, optimizer.get(), [] { std::this_thread::yield(); });
      trained = true;
      return;
    }
    const Floats input(2 * 64, 0.5f);
    Floats output(2 * 4);
    while (!trained) {
      check(adn_network_copy_parameters(copy.get(), network.get()));
      check(adn_network_forward(output.data(), output.size(), copy.get(), input.data(), input.size(), 2,
                                ADN_MODE_EVALUATE));
    }
  });
  expect_same_bits(expected, losses, "losses");
}

// ---- Life ----

// Resident memory in bytes; 0 where the system does not say.
uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * 4096;
}

// What a sanitizer keeps of freed memory is no leak: they report leaks themselves.
void expect_flat_memory(uint64_t before) {
#ifndef ADN_TEST_SANITIZED
  // A leak of a single block per cycle or step, 32 bytes of it, would be 5 MB after the long form's steps.
  constexpr uint64_t allowed = 4 << 20;
  EXPECT_LE(resident_bytes(), before + allowed);
#else
  (void)before;
#endif
}

TEST(Life, CyclesOfCreateStepAndDestroyKeepMemoryFlat) {
  const int cycles = long_form() ? 10000 : small_scale() ? 50 : 1000;
  uint64_t before = 0;
  Floats first;
  for (int cycle = 0; cycle < cycles; ++cycle) {
    const Context context = make_context(cycle % 8 == 0 ? 2 : 1);
    const Floats outcome = train(context.get(), 1, 2);
    if (first.empty()) first = outcome;
    ASSERT_EQ(first, outcome);
    if (cycle == cycles / 10) before = resident_bytes();
  }
  expect_flat_memory(before);
}

// The time of a step drifts where something grows with the steps: it is printed, and judged by whoever reads the long form.
TEST(Life, StepsKeepMemoryFlat) {
  const int steps = long_form() ? 200000 : small_scale() ? 500 : 5000;
  const Context context = make_context();
  NetworkSettings settings;
  settings.max_batch_size = 6;
  Network network(context.get(), layers(), settings);
  const OptimizerHandle optimizer = make_optimizer(context.get(), network, {0.5});
  Random random(1);
  const Floats input = random.reals(6 * 64);
  const std::vector<int32_t> labels = random.labels(6, 4);
  uint64_t before = 0;
  const auto processor_seconds = [] {
    rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return static_cast<double>(usage.ru_utime.tv_sec) + static_cast<double>(usage.ru_utime.tv_usec) * 1e-6;
  };
  double started = processor_seconds();
  for (int step = 0; step < steps; ++step) {
    ASSERT_TRUE(std::isfinite(network.train_step(optimizer.get(), input, labels))) << "step " << step;
    if (step == steps / 10) before = resident_bytes();
    if ((step + 1) % (steps / 10) == 0) {
      const double now = processor_seconds();
      std::printf("steps to %d: %.3f us of processor time each, %llu kB\n", step + 1, (now - started) * 1e7 / steps,
                  static_cast<unsigned long long>(resident_bytes() / 1024));
      started = now;
    }
  }
  expect_flat_memory(before);
}

}  // namespace
}  // namespace adadelta::test
