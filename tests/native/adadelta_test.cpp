// The optimizer: its arithmetic, groups, state and errors.
#include <algorithm>
#include <limits>

#include "reference.h"

namespace adadelta::test {
namespace {

using reference::Doubles;

Tensor tensor_of(adn_context* context, const Floats& values) {
  Tensor tensor = make_tensor(context, {values.size()});
  write(tensor.get(), values);
  return tensor;
}

uint64_t add_group(adn_adadelta* optimizer, std::vector<adn_tensor*> parameters, std::vector<adn_tensor*> gradients,
                   const adn_adadelta_options* options = nullptr) {
  uint64_t group = 0;
  check(adn_adadelta_add_group(&group, optimizer, parameters.data(), gradients.data(), parameters.size(), options));
  return group;
}

std::pair<Tensor, Tensor> state(const adn_adadelta* optimizer, uint64_t index) {
  adn_tensor* square_avg = nullptr;
  adn_tensor* acc_delta = nullptr;
  check(adn_adadelta_get_state(&square_avg, &acc_delta, optimizer, index));
  return {Tensor(square_avg), Tensor(acc_delta)};
}

class Adadelta : public EachInstructionSet {};
ADN_FOR_EACH_INSTRUCTION_SET(Adadelta);

// Sizes around the kernels' vectors and the threads' pieces, all in one optimizer.
const std::vector<uint64_t> sizes = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100, 1000, 4095, 4097, 50001};

struct Result {
  std::vector<Floats> p, v, u;
};

Result run(int32_t instruction_set, uint32_t threads, const AdadeltaSettings& settings, int steps) {
  const Context context = make_context(threads, instruction_set);
  const OptimizerHandle optimizer = make_optimizer(context.get(), settings);
  Random random(4);
  std::vector<Tensor> parameters, gradients;
  std::vector<adn_tensor*> p, g;
  for (uint64_t size : sizes) {
    parameters.push_back(tensor_of(context.get(), random.reals(size)));
    gradients.push_back(make_tensor(context.get(), {size}));
    p.push_back(parameters.back().get());
    g.push_back(gradients.back().get());
  }
  add_group(optimizer.get(), p, g);
  for (int step = 0; step < steps; ++step) {
    for (const Tensor& gradient : gradients) {
      write(gradient.get(), random.reals(read(gradient.get()).size()));
    }
    check(adn_adadelta_step(optimizer.get()));
  }
  Result result;
  for (uint64_t i = 0; i < sizes.size(); ++i) {
    const auto [v, u] = state(optimizer.get(), i);
    result.p.push_back(read(p[i]));
    result.v.push_back(read(v.get()));
    result.u.push_back(read(u.get()));
  }
  return result;
}

const std::vector<AdadeltaSettings> settings_list = {{},
                                                     {0.1, 0.95, 1e-6, 0, 0},
                                                     {1, 0.9, 1e-6, 0.01, 0},
                                                     {1, 0.9, 1e-6, 0.01, 1},
                                                     {0.5, 0, 1e-3, 0, 0},
                                                     {1, 1, 1e-3, 0, 0}};

// Each step's values carry about ten roundings of 2^-24 on, less those that rho forgets; 1e-5 of the norm leaves room for ten
// steps' worth and is far below what any change of the formula would do.
TEST_P(Adadelta, EqualsReference) {
  constexpr int steps = 10;
  for (const AdadeltaSettings& settings : settings_list) {
    SCOPED_TRACE(testing::Message() << "rho " << settings.rho << ", weight_decay " << settings.weight_decay
                                    << ", maximize " << settings.maximize);
    const Result actual = run(GetParam(), 2, settings, steps);
    Random random(4);
    std::vector<Doubles> p, v, u;
    for (uint64_t size : sizes) {
      const Floats start = random.reals(size);
      p.emplace_back(start.begin(), start.end());
      v.emplace_back(size);
      u.emplace_back(size);
    }
    for (int step = 0; step < steps; ++step) {
      for (size_t i = 0; i < sizes.size(); ++i) {
        const Floats gradient = random.reals(sizes[i]);
        reference::adadelta_step(p[i], v[i], u[i], Doubles(gradient.begin(), gradient.end()), settings);
      }
    }
    for (size_t i = 0; i < sizes.size(); ++i) {
      const std::string size = std::to_string(sizes[i]);
      expect_close(p[i], actual.p[i], 1e-5, "p of " + size);
      expect_close(v[i], actual.v[i], 1e-5, "square_avg of " + size);
      expect_close(u[i], actual.u[i], 1e-5, "acc_delta of " + size);
    }
  }
}

// The same formula without contraction everywhere: not close, but equal.
TEST_P(Adadelta, SameBitsOnEveryInstructionSetAndThreadCount) {
  for (const AdadeltaSettings& settings : settings_list) {
    const Result expected = run(ADN_INSTRUCTION_SET_BASELINE, 1, settings, 3);
    for (uint32_t threads : {1u, 2u, 3u, 5u}) {
      const Result actual = run(GetParam(), threads, settings, 3);
      expect_same_bits(expected.p, actual.p, "p");
      expect_same_bits(expected.v, actual.v, "square_avg");
      expect_same_bits(expected.u, actual.u, "acc_delta");
    }
  }
}

// Worked out on paper for p = 1, g = 2 and the defaults: v = 0.4, d = sqrt(1e-6)/sqrt(0.4 + 1e-6) * 2, u = d*d/10.
TEST_P(Adadelta, KnownFirstStep) {
  const Context context = make_context(1, GetParam());
  const OptimizerHandle optimizer = make_optimizer(context.get());
  const Tensor p = tensor_of(context.get(), {1}), g = tensor_of(context.get(), {2});
  add_group(optimizer.get(), {p.get()}, {g.get()});
  check(adn_adadelta_step(optimizer.get()));
  const auto [v, u] = state(optimizer.get(), 0);
  const double d = std::sqrt(1e-6) / std::sqrt(0.4 + 1e-6) * 2;
  EXPECT_NEAR(0.4, read(v.get())[0], 0.4 * 4 * 0x1p-24);
  EXPECT_NEAR(d * d / 10, read(u.get())[0], d * d / 10 * 16 * 0x1p-24);
  EXPECT_NEAR(1 - d, read(p.get())[0], 4 * 0x1p-24);
  EXPECT_EQ(Floats{2}, read(g.get())) << "gradients are not changed";
}

// An infinite or NaN gradient stays in its own element.
TEST_P(Adadelta, SpecialsStayInTheirElement) {
  const Context context = make_context(1, GetParam());
  const OptimizerHandle optimizer = make_optimizer(context.get());
  Floats gradient(40, 1.0f);
  gradient[3] = NAN;
  gradient[20] = std::numeric_limits<float>::infinity();
  const Tensor p = tensor_of(context.get(), Floats(40, 1.0f)), g = tensor_of(context.get(), gradient);
  add_group(optimizer.get(), {p.get()}, {g.get()});
  check(adn_adadelta_step(optimizer.get()));
  const Floats after = read(p.get());
  for (size_t i = 0; i < after.size(); ++i) {
    // inf/inf is NaN in the formula, as it is in PyTorch.
    EXPECT_EQ(i == 3 || i == 20, std::isnan(after[i])) << i;
    if (i != 3 && i != 20) {
      EXPECT_EQ(after[0], after[i]) << i;
    }
  }
}

// ---- Groups and options ----

TEST(AdadeltaGroups, EachTakesItsOwnOptions) {
  const Context context = make_context();
  const OptimizerHandle optimizer = make_optimizer(context.get(), {0.5});
  const Tensor p0 = tensor_of(context.get(), {1, 2}), p1 = tensor_of(context.get(), {1, 2}),
               p2 = tensor_of(context.get(), {1, 2}), g = tensor_of(context.get(), {1, -1});
  adn_adadelta_options frozen = adadelta_options({0});
  EXPECT_EQ(0u, add_group(optimizer.get(), {p0.get()}, {g.get()}));
  EXPECT_EQ(1u, add_group(optimizer.get(), {p1.get()}, {g.get()}, &frozen));
  EXPECT_EQ(2u, add_group(optimizer.get(), {p2.get()}, {g.get()}));
  uint64_t count = 0;
  check(adn_adadelta_get_group_count(&count, optimizer.get()));
  EXPECT_EQ(3u, count);

  check(adn_adadelta_step(optimizer.get()));
  EXPECT_NE((Floats{1, 2}), read(p0.get()));
  EXPECT_EQ((Floats{1, 2}), read(p1.get())) << "lr 0";
  expect_same_bits(read(p0.get()), read(p2.get()), "both with the optimizer's options");

  adn_adadelta_options options = adadelta_options();
  check(adn_adadelta_get_options(&options, optimizer.get(), 0));
  EXPECT_EQ(0.5, options.lr);
  check(adn_adadelta_get_options(&options, optimizer.get(), 1));
  EXPECT_EQ(0.0, options.lr);
  options.lr = 2;
  check(adn_adadelta_set_options(optimizer.get(), 1, &options));
  check(adn_adadelta_step(optimizer.get()));
  EXPECT_NE((Floats{1, 2}), read(p1.get()));
}

TEST(AdadeltaGroups, DefaultsArePyTorchs) {
  const Context context = make_context();
  adn_adadelta* made = nullptr;
  check(adn_adadelta_create(&made, context.get(), nullptr));
  const OptimizerHandle optimizer(made);
  const Tensor p = tensor_of(context.get(), {1}), g = tensor_of(context.get(), {1});
  add_group(optimizer.get(), {p.get()}, {g.get()});
  adn_adadelta_options options;
  options.struct_size = sizeof options;
  check(adn_adadelta_get_options(&options, optimizer.get(), 0));
  EXPECT_EQ(1.0, options.lr);
  EXPECT_EQ(0.9, options.rho);
  EXPECT_EQ(1e-6, options.eps);
  EXPECT_EQ(0.0, options.weight_decay);
  EXPECT_EQ(0, options.maximize);
}

struct BadOption {
  const char* field;
  const char* value;
  AdadeltaSettings settings;
};

TEST(AdadeltaGroups, OptionsOutOfRangeAreRefused) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  const std::vector<BadOption> bad = {
      {"lr", "-0.1", {-0.1}},
      {"lr", "nan", {nan}},
      {"lr", "inf", {infinity}},
      {"rho", "1.1", {1, 1.1}},
      {"rho", "-0.5", {1, -0.5}},
      {"rho", "nan", {1, nan}},
      {"eps", "-1", {1, 0.9, -1}},
      {"eps", "nan", {1, 0.9, nan}},
      {"eps", "inf", {1, 0.9, infinity}},
      {"weight_decay", "-2", {1, 0.9, 1e-6, -2}},
      {"weight_decay", "nan", {1, 0.9, 1e-6, nan}},
      {"weight_decay", "inf", {1, 0.9, 1e-6, infinity}},
      {"maximize", "2", {1, 0.9, 1e-6, 0, 2}},
      {"maximize", "-1", {1, 0.9, 1e-6, 0, -1}},
  };
  const Context context = make_context();
  const OptimizerHandle optimizer = make_optimizer(context.get(), {0.25});
  const Tensor p = tensor_of(context.get(), {1}), g = tensor_of(context.get(), {1}), q = tensor_of(context.get(), {1});
  add_group(optimizer.get(), {p.get()}, {g.get()});
  for (const BadOption& one : bad) {
    SCOPED_TRACE(std::string(one.field) + " " + one.value);
    const std::vector<std::string> words = {one.field, one.value, "expected"};
    const adn_adadelta_options options = adadelta_options(one.settings);
    adn_adadelta* made = nullptr;
    expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_create(&made, context.get(), &options), words);
    EXPECT_EQ(nullptr, made);
    expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_set_options(optimizer.get(), 0, &options), words);
    adn_tensor* parameters[] = {q.get()};
    adn_tensor* gradients[] = {g.get()};
    expect_failure(ADN_STATUS_INVALID_ARGUMENT,
                   adn_adadelta_add_group(nullptr, optimizer.get(), parameters, gradients, 1, &options), words);
  }
  adn_adadelta_options kept = adadelta_options();
  check(adn_adadelta_get_options(&kept, optimizer.get(), 0));
  EXPECT_EQ(0.25, kept.lr);
  uint64_t count = 0;
  check(adn_adadelta_get_group_count(&count, optimizer.get()));
  EXPECT_EQ(1u, count) << "a refused group is not kept";
}

TEST(AdadeltaGroups, WrongTensorsAreRefused) {
  const Context context = make_context(), other = make_context();
  const OptimizerHandle optimizer = make_optimizer(context.get());
  const Tensor p = make_tensor(context.get(), {2, 3}), g = make_tensor(context.get(), {2, 3}),
               transposed = make_tensor(context.get(), {3, 2}), foreign = make_tensor(other.get(), {2, 3});
  const auto add = [&](std::vector<adn_tensor*> parameters, std::vector<adn_tensor*> gradients) {
    return adn_adadelta_add_group(nullptr, optimizer.get(), parameters.data(), gradients.data(), parameters.size(),
                                  nullptr);
  };
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, add({}, {}), {"count", "0"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, add({nullptr}, {g.get()}), {"parameters[0]", "NULL"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, add({p.get()}, {transposed.get()}), {"gradients[0]", "3, 2", "2, 3"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, add({foreign.get()}, {g.get()}), {"parameters[0]", "context"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, add({p.get()}, {foreign.get()}), {"gradients[0]", "context"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, add({p.get(), p.get()}, {g.get(), g.get()}), {"parameters[1]"});
  uint64_t count = 7;
  check(adn_adadelta_get_group_count(&count, optimizer.get()));
  EXPECT_EQ(0u, count);
  check(add({p.get()}, {g.get()}));
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, add({p.get()}, {g.get()}), {"parameters[0]"});
  check(adn_adadelta_get_group_count(&count, optimizer.get()));
  EXPECT_EQ(1u, count);
}

TEST(AdadeltaGroups, PlacesOutOfRangeAreRefused) {
  const Context context = make_context();
  const OptimizerHandle optimizer = make_optimizer(context.get());
  adn_adadelta_options options = adadelta_options();
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_get_options(&options, optimizer.get(), 0), {"group", "0"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_set_options(optimizer.get(), 5, &options), {"group", "5"});
  adn_tensor* square_avg = nullptr;
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_get_state(&square_avg, nullptr, optimizer.get(), 0),
                 {"index", "0"});
  EXPECT_EQ(nullptr, square_avg);
  check(adn_adadelta_step(optimizer.get()));  // of nothing
}

// ---- State ----

// A run that is stopped, saved and loaded goes on with the same bits.
TEST(AdadeltaState, CanBeSavedAndRestored) {
  const Context context = make_context();
  Random random(2);
  const Floats start = random.reals(37), gradient = random.reals(37);
  const auto make = [&](const Floats& values, Tensor& p, Tensor& g) {
    OptimizerHandle optimizer = make_optimizer(context.get());
    p = tensor_of(context.get(), values);
    g = tensor_of(context.get(), gradient);
    add_group(optimizer.get(), {p.get()}, {g.get()});
    return optimizer;
  };
  Tensor p, g, p2, g2;
  const OptimizerHandle first = make(start, p, g);
  check(adn_adadelta_step(first.get()));
  check(adn_adadelta_step(first.get()));
  const OptimizerHandle second = make(read(p.get()), p2, g2);
  const auto [v, u] = state(first.get(), 0);
  const auto [v2, u2] = state(second.get(), 0);
  write(v2.get(), read(v.get()));
  write(u2.get(), read(u.get()));
  check(adn_adadelta_set_step(second.get(), 2));
  check(adn_adadelta_step(first.get()));
  check(adn_adadelta_step(second.get()));
  expect_same_bits(read(p.get()), read(p2.get()), "p");
  uint64_t step = 0;
  check(adn_adadelta_get_step(&step, second.get()));
  EXPECT_EQ(3u, step);
}

TEST(AdadeltaState, AddingAGroupKeepsTheOthers) {
  const Context context = make_context();
  const OptimizerHandle optimizer = make_optimizer(context.get());
  const Tensor p = tensor_of(context.get(), {1, 2, 3}), q = tensor_of(context.get(), {4}),
               g = tensor_of(context.get(), {1, 1, 1}), h = tensor_of(context.get(), {1});
  add_group(optimizer.get(), {p.get()}, {g.get()});
  check(adn_adadelta_step(optimizer.get()));
  const auto [v, u] = state(optimizer.get(), 0);
  const Floats before = read(v.get());
  add_group(optimizer.get(), {q.get()}, {h.get()});
  const auto [same, unused] = state(optimizer.get(), 0);
  expect_same_bits(before, read(same.get()), "square_avg");
  check(adn_adadelta_step(optimizer.get()));
  EXPECT_NE(before, read(v.get())) << "an old handle still shows the optimizer's storage";
  EXPECT_EQ(std::vector<uint64_t>{1}, shape_of(state(optimizer.get(), 1).first.get()));
}

TEST(AdadeltaState, ScalarsAndHighRanksHaveTheParametersShape) {
  const Context context = make_context();
  const OptimizerHandle optimizer = make_optimizer(context.get());
  const std::vector<std::vector<uint64_t>> shapes = {{}, {1, 2, 1, 3, 1, 1, 2, 1}};
  std::vector<Tensor> tensors;
  for (const auto& shape : shapes) {
    tensors.push_back(make_tensor(context.get(), shape));
    tensors.push_back(make_tensor(context.get(), shape));
    add_group(optimizer.get(), {tensors[tensors.size() - 2].get()}, {tensors.back().get()});
  }
  check(adn_adadelta_step(optimizer.get()));
  EXPECT_EQ(shapes[0], shape_of(state(optimizer.get(), 0).first.get()));
  EXPECT_EQ(shapes[1], shape_of(state(optimizer.get(), 1).second.get()));
}

}  // namespace
}  // namespace adadelta::test
