// The same bits for every number of threads, repeated runs, larger plans, and one call for several.
#include <thread>

#include "support.h"

namespace adadelta::test {
namespace {

// What a short training leaves behind.
struct Outcome {
  Floats losses, logits, input_gradient;
  std::vector<Floats> values, gradients;
};

void expect_same(const Outcome& expected, const Outcome& actual) {
  expect_same_bits(expected.losses, actual.losses, "losses");
  expect_same_bits(expected.logits, actual.logits, "logits");
  expect_same_bits(expected.input_gradient, actual.input_gradient, "gradient of the input");
  expect_same_bits(expected.values, actual.values, "parameter");
  expect_same_bits(expected.gradients, actual.gradients, "gradient of parameter");
}

struct Training {
  Layers layers;
  uint64_t batch;
  uint64_t max_batch_size;
  bool in_one_call = true;
  int32_t input_gradient = 1;
};

Outcome train(adn_context* context, const Training& training) {
  NetworkSettings settings;
  settings.max_batch_size = training.max_batch_size;
  settings.input_gradient = training.input_gradient;
  Network network(context, training.layers, settings);
  const OptimizerHandle optimizer = make_optimizer(context, network, {0.5});
  Random random(3);
  Outcome outcome;
  for (int step = 0; step < 3; ++step) {
    // The last batch is short.
    const uint64_t batch = step == 2 && training.batch > 1 ? training.batch - 1 : training.batch;
    const Floats input = random.reals(batch * network.input_count());
    const std::vector<int32_t> labels = random.labels(batch, network.info().output_count);
    if (training.in_one_call) {
      outcome.losses.push_back(network.train_step(optimizer.get(), input, labels));
    } else {
      network.forward(input);
      outcome.losses.push_back(network.loss(labels));
      network.backward();
      check(adn_adadelta_step(optimizer.get()));
    }
  }
  if (training.input_gradient) {
    outcome.input_gradient = network.input_gradient();
  }
  outcome.values = network.values();
  outcome.gradients = network.gradients();
  outcome.logits = network.forward(random.reals(training.batch * network.input_count()), ADN_MODE_EVALUATE);
  return outcome;
}

Outcome train(const Training& training, uint32_t threads, int32_t instruction_set) {
  return train(make_context(threads, instruction_set).get(), training);
}

std::vector<Training> trainings() {
  std::vector<Training> all = {
      {Layers({1, 16, 16}).conv(8, 5).max_pool(2).relu().conv(17, 3).relu().flatten().linear(33).relu().linear(10), 13,
       13},
      {Layers({3, 11, 9}).conv(7, {3, 2}, 2, 1).relu().max_pool(2, 1).dropout(0.3f).flatten().linear(5), 5, 5},
      {Layers({2, 8, 8}).avg_pool(2).conv(40, 3, 1, 1, 1, 0).dropout(0.5f).relu().flatten().linear(4), 1, 1},
      {Layers({50, 1, 1}).flatten().linear(200).relu().dropout(0.5f).linear(3), 31, 31},
  };
  if (!small_scale()) {
    all.push_back({reference_network(), 64, 64});
  }
  return all;
}

class Determinism : public EachInstructionSet {};
ADN_FOR_EACH_INSTRUCTION_SET(Determinism);

TEST_P(Determinism, SameBitsForEveryNumberOfThreads) {
  for (const Training& training : trainings()) {
    SCOPED_TRACE(describe(training.layers));
    const Outcome expected = train(training, 1, GetParam());
    for (uint32_t threads : {1u, 2u, 3u, 5u}) {
      SCOPED_TRACE(std::to_string(threads) + " threads");
      expect_same(expected, train(training, threads, GetParam()));
    }
  }
}

TEST_P(Determinism, SameBitsForABatchPlannedLargerThanItIs) {
  for (Training training : trainings()) {
    SCOPED_TRACE(describe(training.layers));
    const Outcome expected = train(training, 2, GetParam());
    training.max_batch_size += 51;
    expect_same(expected, train(training, 2, GetParam()));
  }
}

TEST_P(Determinism, OneTrainStepEqualsItsParts) {
  for (Training training : trainings()) {
    SCOPED_TRACE(describe(training.layers));
    const Outcome expected = train(training, 2, GetParam());
    training.in_one_call = false;
    expect_same(expected, train(training, 2, GetParam()));
  }
}

TEST_P(Determinism, WithoutInputGradientTheOthersAreTheSame) {
  for (Training training : trainings()) {
    SCOPED_TRACE(describe(training.layers));
    Outcome expected = train(training, 2, GetParam());
    expected.input_gradient.clear();
    training.input_gradient = 0;
    expect_same(expected, train(training, 2, GetParam()));
  }
}

// Without dropout, training and evaluation compute the same logits, whatever pass came before.
TEST_P(Determinism, ModesAgreeWithoutDropout) {
  const Context context = make_context(2, GetParam());
  const Layers layers = Layers({1, 12, 12}).conv(8, 5).max_pool(2).relu().flatten().linear(33).relu().linear(10);
  Network network(context.get(), layers);
  Random random(1);
  const Floats input = random.reals(7 * network.input_count()), other = random.reals(64 * network.input_count());
  const Floats expected = network.forward(input, ADN_MODE_TRAIN);
  network.forward(other, ADN_MODE_EVALUATE);
  expect_same_bits(expected, network.forward(input, ADN_MODE_EVALUATE), "logits");
  network.forward(other, ADN_MODE_TRAIN);
  network.loss(random.labels(64, 10));
  network.backward();
  expect_same_bits(expected, network.forward(input, ADN_MODE_TRAIN), "logits");
}

// An evaluation needs less than a training pass; what it left out is made up for by the next one.
TEST_P(Determinism, TrainingAfterAnEvaluationIsTheSame) {
  const Context context = make_context(2, GetParam());
  const Layers layers = Layers({3, 8, 8}).conv(8, 3).max_pool(2).relu().flatten().linear(5);
  Random random(1);
  const Floats input = random.reals(9 * 192), gradient = random.reals(9 * 5);
  Network network(context.get(), layers), evaluated(context.get(), layers);
  evaluated.forward(input, ADN_MODE_EVALUATE);
  for (Network* one : {&network, &evaluated}) {
    one->forward(input);
    one->backward(gradient);
  }
  expect_same_bits(network.gradients(), evaluated.gradients(), "gradient");
  expect_same_bits(network.input_gradient(), evaluated.input_gradient(), "gradient of the input");
}

// Gradients are overwritten, not added to.
TEST_P(Determinism, BackwardLeavesNothingOver) {
  const Context context = make_context(2, GetParam());
  Network network(context.get(), Layers({1, 8, 8}).conv(8, 3).max_pool(2).relu().flatten().linear(5));
  Random random(1);
  const Floats input = random.reals(9 * 64), other = random.reals(30 * 64);
  const Floats gradient = random.reals(9 * 5), other_gradient = random.reals(30 * 5);
  network.forward(input);
  network.backward(gradient);
  const std::vector<Floats> expected = network.gradients();
  const Floats expected_input = network.input_gradient();
  network.forward(other);
  network.backward(other_gradient);
  network.forward(input);
  network.backward(gradient);
  expect_same_bits(expected, network.gradients(), "gradient");
  expect_same_bits(expected_input, network.input_gradient(), "gradient of the input");
}

// Different objects may be used by different threads at once: contexts of their own, and networks of one context.
TEST(Concurrency, DifferentObjectsInDifferentThreads) {
  const Training training = trainings()[0];
  const Outcome expected = train(training, 2, ADN_INSTRUCTION_SET_AUTO);
  const Context shared = make_context(2);
  std::vector<Outcome> outcomes(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    threads.emplace_back([&, i] {
      outcomes[i] = i % 2 == 0 ? train(shared.get(), training) : train(training, 2, ADN_INSTRUCTION_SET_AUTO);
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const Outcome& outcome : outcomes) {
    expect_same(expected, outcome);
  }
}

// A context may be left and destroyed by another thread than its maker's.
TEST(Concurrency, ObjectsMayMoveBetweenThreads) {
  Context context;
  std::unique_ptr<Network> network;
  std::thread([&] {
    context = make_context(3);
    network = std::make_unique<Network>(context.get(), Layers({1, 8, 8}).conv(8, 3).relu());
  }).join();
  const Floats input = Random(1).reals(64);
  const Floats expected = network->forward(input);
  std::thread([&] { expect_same_bits(expected, network->forward(input), "logits"); }).join();
  std::thread([&] {
    network.reset();
    context.reset();
  }).join();
}

}  // namespace
}  // namespace adadelta::test
