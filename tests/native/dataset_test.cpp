// Batches from a data set on the device and from memory of the caller's on it, and losses that are read later.
#include "support.h"

namespace adadelta::test {
namespace {

constexpr adn_status invalid = ADN_STATUS_INVALID_ARGUMENT;

constexpr uint64_t kImages = 23, kClasses = 5;

class Batches : public testing::Test {
 protected:
  Batches() {
    Random random(3);
    for (uint64_t i = 0; i < kImages * layers_.input.count(); ++i) {
      pixels_.push_back(static_cast<uint8_t>(random.integer(0, 255)));
    }
    for (uint64_t i = 0; i < kImages; ++i) labels_.push_back(static_cast<uint8_t>(random.integer(0, kClasses - 1)));
  }

  Dataset make_dataset(adn_context* context) {
    adn_dataset* dataset = nullptr;
    check(
        adn_dataset_create(&dataset, context, pixels_.data(), pixels_.size(), labels_.data(), labels_.size(), shape_));
    return Dataset(dataset);
  }
  Dataset make_external(adn_context* context) {
    adn_dataset* dataset = nullptr;
    check(adn_dataset_create_external(&dataset, context, pixels_.data(), pixels_.size(), labels_.data(), labels_.size(),
                                      shape_));
    return Dataset(dataset);
  }
  // The same batch as floats, by the formula of the header.
  Floats images(const std::vector<uint32_t>& indices) const {
    Floats batch;
    const uint64_t size = layers_.input.count();
    for (uint32_t index : indices) {
      for (uint64_t i = 0; i < size; ++i) batch.push_back(static_cast<float>(pixels_[index * size + i]) / 255.0f);
    }
    return batch;
  }
  std::vector<int32_t> labels(const std::vector<uint32_t>& indices) const {
    std::vector<int32_t> batch;
    for (uint32_t index : indices) batch.push_back(labels_[index]);
    return batch;
  }

  const Layers layers_ = Layers({2, 6, 7}).conv(4, 3).max_pool(2).relu().flatten().dropout(0.25f).linear(kClasses);
  const uint64_t shape_[3] = {2, 6, 7};
  std::vector<uint8_t> pixels_, labels_;
  Context context_ = make_context(2);
};

const std::vector<std::vector<uint32_t>> kBatches = {
    {3, 1, 4, 1, 5, 9, 2, 6}, {22, 0, 7}, {5}, {3, 1, 4, 1, 5, 9, 2, 6}};

TEST_F(Batches, OfADatasetGiveTheBitsOfTheSameImages) {
  Network expected(context_.get(), layers_), actual(context_.get(), layers_);
  const OptimizerHandle expected_optimizer = make_optimizer(context_.get(), expected);
  const OptimizerHandle actual_optimizer = make_optimizer(context_.get(), actual);
  const Dataset dataset = make_dataset(context_.get());
  for (const std::vector<uint32_t>& indices : kBatches) {
    const float loss = expected.train_step(expected_optimizer.get(), images(indices), labels(indices));
    float of_dataset = 0;
    check(adn_network_train_step_dataset(&of_dataset, actual.get(), actual_optimizer.get(), dataset.get(),
                                         indices.data(), indices.size()));
    expect_same_bits(Floats{loss}, Floats{of_dataset}, "loss");
    const Floats logits = expected.forward(images(indices), ADN_MODE_EVALUATE);
    Floats read(logits.size());
    check(adn_network_forward_dataset(read.data(), read.size(), actual.get(), dataset.get(), indices.data(),
                                      indices.size(), ADN_MODE_EVALUATE));
    expect_same_bits(logits, read, "logits");
  }
  expect_same_bits(expected.values(), actual.values(), "parameter");
}

TEST_F(Batches, OfADatasetOnTheCallersPixelsGiveTheSameBits) {
  Network copied(context_.get(), layers_), external(context_.get(), layers_);
  const OptimizerHandle copied_optimizer = make_optimizer(context_.get(), copied);
  const OptimizerHandle external_optimizer = make_optimizer(context_.get(), external);
  const Dataset copy = make_dataset(context_.get()), own = make_external(context_.get());
  for (const std::vector<uint32_t>& indices : kBatches) {
    float expected = 0, actual = 0;
    check(adn_network_train_step_dataset(&expected, copied.get(), copied_optimizer.get(), copy.get(), indices.data(),
                                         indices.size()));
    check(adn_network_train_step_dataset(&actual, external.get(), external_optimizer.get(), own.get(), indices.data(),
                                         indices.size()));
    expect_same_bits(Floats{expected}, Floats{actual}, "loss");
  }
  expect_same_bits(copied.values(), external.values(), "parameter");
}

TEST_F(Batches, TheCpuReadsTheCallersPixelsInPlace) {
  Network network(context_.get(), layers_);
  const Dataset copy = make_dataset(context_.get()), own = make_external(context_.get());
  const std::vector<uint32_t> indices = kBatches[0];
  const auto logits_of = [&](const Dataset& dataset) {
    Floats logits(indices.size() * kClasses);
    check(adn_network_forward_dataset(logits.data(), logits.size(), network.get(), dataset.get(), indices.data(),
                                      indices.size(), ADN_MODE_EVALUATE));
    return logits;
  };
  const Floats before = logits_of(own);
  for (uint8_t& pixel : pixels_) pixel = static_cast<uint8_t>(~pixel);
  expect_same_bits(network.forward(images(indices), ADN_MODE_EVALUATE), logits_of(own), "logits of what is there now");
  expect_same_bits(before, logits_of(copy), "logits of the copy");
}

// What an address sanitizer sees to: the pixels are let go of with the data set, the labels at once.
TEST_F(Batches, TheCallersPixelsAreNeededAsLongAsTheDatasetAlone) {
  Network network(context_.get(), layers_);
  const OptimizerHandle optimizer = make_optimizer(context_.get(), network);
  Dataset own = make_external(context_.get());
  const std::vector<uint32_t> indices = kBatches[0];
  std::fill(labels_.begin(), labels_.end(), uint8_t{255});
  labels_ = {};
  context_.reset();
  float loss = 0;
  check(
      adn_network_train_step_dataset(&loss, network.get(), optimizer.get(), own.get(), indices.data(), indices.size()));
  own.reset();
  const Floats input = images(indices);
  pixels_ = {};
  check(adn_network_forward(nullptr, 0, network.get(), input.data(), input.size(), indices.size(), ADN_MODE_TRAIN));
  check(adn_network_backward(network.get(), Floats(indices.size() * kClasses, 1.0f).data(), indices.size() * kClasses));
}

TEST_F(Batches, OfExternalMemoryGiveTheSameBits) {
  Network expected(context_.get(), layers_), actual(context_.get(), layers_);
  const OptimizerHandle expected_optimizer = make_optimizer(context_.get(), expected);
  const OptimizerHandle actual_optimizer = make_optimizer(context_.get(), actual);
  for (const std::vector<uint32_t>& indices : kBatches) {
    const Floats input = images(indices);
    const std::vector<int32_t> classes = labels(indices);
    const float loss = expected.train_step(expected_optimizer.get(), input, classes);
    float external = 0;
    check(adn_network_train_step_external(&external, actual.get(), actual_optimizer.get(), input.data(), input.size(),
                                          classes.data(), classes.size()));
    expect_same_bits(Floats{loss}, Floats{external}, "loss");
    const Floats logits = expected.forward(input, ADN_MODE_EVALUATE);
    Floats read(logits.size());
    check(adn_network_forward_external(read.data(), read.size(), actual.get(), input.data(), input.size(),
                                       indices.size(), ADN_MODE_EVALUATE));
    expect_same_bits(logits, read, "logits");
  }
}

TEST_F(Batches, LossesCanBeReadLater) {
  Network now(context_.get(), layers_), later(context_.get(), layers_);
  const OptimizerHandle now_optimizer = make_optimizer(context_.get(), now);
  const OptimizerHandle later_optimizer = make_optimizer(context_.get(), later);
  const Dataset dataset = make_dataset(context_.get());
  float none = 0;
  expect_failure(invalid, adn_network_read_losses(&none, 1, later.get()), {"count", "1", "0"});
  Floats losses;
  for (int repeat = 0; repeat < 3; ++repeat) {
    for (const std::vector<uint32_t>& indices : kBatches) {
      losses.push_back(now.train_step(now_optimizer.get(), images(indices), labels(indices)));
      check(adn_network_train_step_dataset(nullptr, later.get(), later_optimizer.get(), dataset.get(), indices.data(),
                                           indices.size()));
    }
  }
  check(adn_context_synchronize(context_.get()));
  Floats read(losses.size());
  check(adn_network_read_losses(read.data(), read.size(), later.get()));
  expect_same_bits(losses, read, "losses");
  check(adn_network_read_losses(read.data(), 2, later.get()));
  expect_same_bits(Floats(losses.end() - 2, losses.end()), Floats(read.begin(), read.begin() + 2), "the last two");
  expect_failure(invalid, adn_network_read_losses(read.data(), read.size() + 1, later.get()), {"count", "13", "12"});
  check(adn_network_read_losses(nullptr, 0, later.get()));
}

TEST_F(Batches, OnlyTheLastLossesAreKept) {
  const Layers small = Layers({1, 1, 1}).flatten().linear(2);
  Network network(context_.get(), small);
  const OptimizerHandle optimizer = make_optimizer(context_.get(), network);
  Floats losses;
  for (int i = 0; i < ADN_LOSS_HISTORY + 10; ++i) {
    losses.push_back(network.train_step(optimizer.get(), {1.0f}, {i % 2}));
  }
  Floats read(ADN_LOSS_HISTORY);
  check(adn_network_read_losses(read.data(), read.size(), network.get()));
  expect_same_bits(Floats(losses.end() - ADN_LOSS_HISTORY, losses.end()), read, "losses");
  expect_failure(invalid, adn_network_read_losses(read.data(), ADN_LOSS_HISTORY + 1, network.get()),
                 {"count", "1025", "1024"});
}

TEST_F(Batches, BadOnesAreRefusedAndChangeNothing) {
  Network network(context_.get(), layers_);
  const OptimizerHandle optimizer = make_optimizer(context_.get(), network);
  const Dataset dataset = make_dataset(context_.get());
  const std::vector<Floats> before = network.values();
  const uint32_t indices[] = {0, 23};
  float loss = 0;
  const auto train = [&](const adn_dataset* from, uint64_t count) {
    return adn_network_train_step_dataset(&loss, network.get(), optimizer.get(), from, indices, count);
  };
  expect_failure(invalid, train(dataset.get(), 2), {"indices[1]", "23"});
  expect_failure(invalid, train(dataset.get(), 0), {"batch_size", "0"});
  expect_failure(invalid, train(dataset.get(), 65), {"batch_size", "65", "64"});
  const Context other = make_context();
  expect_failure(invalid, train(make_dataset(other.get()).get(), 1), {"dataset", "context"});

  adn_dataset* made = nullptr;
  const uint64_t turned[3] = {2, 7, 6};
  check(adn_dataset_create(&made, context_.get(), pixels_.data(), pixels_.size(), labels_.data(), kImages, turned));
  expect_failure(invalid, train(Dataset(made).get(), 1), {"dataset", "[2, 7, 6]", "[2, 6, 7]"});

  std::vector<uint8_t> labels = labels_;
  labels[0] = kClasses;
  check(adn_dataset_create(&made, context_.get(), pixels_.data(), pixels_.size(), labels.data(), kImages, shape_));
  expect_failure(invalid, train(Dataset(made).get(), 1), {"labels[0]", "5"});

  const uint64_t huge[3] = {uint64_t{1} << 40, uint64_t{1} << 40, 1}, none[3] = {2, 0, 7};
  for (const auto function : {adn_dataset_create, adn_dataset_create_external}) {
    const auto create = [&](uint64_t bytes, uint64_t count, const uint64_t* shape) {
      return function(&made, context_.get(), pixels_.data(), bytes, labels_.data(), count, shape);
    };
    expect_failure(invalid, create(pixels_.size() - 1, kImages, shape_), {"pixel_count", "1931", "1932"});
    expect_failure(invalid, create(0, 0, shape_), {"count", "0"});
    expect_failure(invalid, create(pixels_.size(), kImages, none), {"shape[1]", "0"});
    expect_failure(invalid, create(pixels_.size(), kImages, huge), {"shape[1]"});
  }
  expect_same_bits(before, network.values(), "parameter");
}

}  // namespace
}  // namespace adadelta::test
