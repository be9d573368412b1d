// The optimizer beyond its plain float32 pass: types, memory of the host's own, missing gradients, lr in memory, clipping,
// skipping, averages, and what torch's own tests of Adadelta ask (test/test_optim.py, in the same order of ideas).
#include <algorithm>
#include <array>
#include <limits>

#include "reference.h"

namespace adadelta::test {
namespace {

using reference::Doubles;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

Tensor typed(adn_context* context, int32_t dtype, const std::vector<uint64_t>& shape) {
  adn_tensor* tensor = nullptr;
  check(adn_tensor_create_typed(&tensor, context, dtype, shape.data(), static_cast<uint32_t>(shape.size())));
  return Tensor(tensor);
}

template <class T>
Tensor external(adn_context* context, int32_t dtype, T* data, uint64_t count) {
  adn_tensor* tensor = nullptr;
  check(adn_tensor_create_external(&tensor, context, data, dtype, &count, 1, nullptr, nullptr));
  return Tensor(tensor);
}

template <class T>
std::vector<T> read_as(const adn_tensor* tensor, uint64_t count) {
  std::vector<T> data(count);
  check(adn_tensor_read_bytes(data.data(), 0, count * sizeof(T), tensor));
  return data;
}

template <class T>
void write_as(adn_tensor* tensor, const std::vector<T>& data) {
  check(adn_tensor_write_bytes(tensor, data.data(), 0, data.size() * sizeof(T)));
}

template <class T>
void expect_bits(const std::vector<T>& expected, const std::vector<T>& actual, const std::string& what) {
  ASSERT_EQ(expected.size(), actual.size()) << what;
  EXPECT_EQ(0, std::memcmp(expected.data(), actual.data(), expected.size() * sizeof(T))) << what;
}

// An optimizer over float64 parameters of its own, for comparisons in full precision.
class Optimizer64 {
 public:
  Optimizer64(adn_context* context, const adn_adadelta_options& options) : context_(context) {
    adn_adadelta* made = nullptr;
    check(adn_adadelta_create(&made, context, &options));
    handle_.reset(made);
  }
  void add(const std::vector<Doubles>& starts) {
    std::vector<adn_tensor*> values, gradients;
    for (const Doubles& start : starts) {
      p_.push_back(typed(context_, ADN_DTYPE_FLOAT64, {start.size()}));
      g_.push_back(typed(context_, ADN_DTYPE_FLOAT64, {start.size()}));
      sizes_.push_back(start.size());
      write_as(p_.back().get(), start);
      values.push_back(p_.back().get());
      gradients.push_back(g_.back().get());
    }
    check(adn_adadelta_add_group(nullptr, get(), values.data(), gradients.data(), values.size(), nullptr));
  }
  adn_adadelta* get() const { return handle_.get(); }
  adn_tensor* parameter(size_t i) const { return p_[i].get(); }
  adn_tensor* gradient_tensor(size_t i) const { return g_[i].get(); }
  void set_gradient(size_t i, const Doubles& gradient) {
    write_as(g_[i].get(), gradient);
    check(adn_adadelta_set_gradient(get(), i, g_[i].get()));
  }
  void no_gradient(size_t i) { check(adn_adadelta_set_gradient(get(), i, nullptr)); }
  void step() { check(adn_adadelta_step(get())); }
  Doubles p(size_t i) const { return read_as<double>(p_[i].get(), sizes_[i]); }
  Doubles g(size_t i) const { return read_as<double>(g_[i].get(), sizes_[i]); }
  Doubles v(size_t i) const { return state(i).first; }
  Doubles u(size_t i) const { return state(i).second; }
  void set_state(size_t i, const Doubles& v, const Doubles& u) {
    const auto [vt, ut] = tensors(i);
    write_as(vt.get(), v);
    write_as(ut.get(), u);
  }
  uint64_t steps(size_t i) const {
    uint64_t step = 0;
    check(adn_adadelta_get_parameter_step(&step, get(), i));
    return step;
  }

 private:
  std::pair<Tensor, Tensor> tensors(size_t i) const {
    adn_tensor* v = nullptr;
    adn_tensor* u = nullptr;
    check(adn_adadelta_get_state(&v, &u, get(), i));
    return {Tensor(v), Tensor(u)};
  }
  std::pair<Doubles, Doubles> state(size_t i) const {
    const auto [v, u] = tensors(i);
    return {read_as<double>(v.get(), sizes_[i]), read_as<double>(u.get(), sizes_[i])};
  }

  adn_context* context_;
  OptimizerHandle handle_;
  std::vector<Tensor> p_, g_;
  std::vector<uint64_t> sizes_;
};

Doubles doubles(Random& random, uint64_t count) {
  const Floats floats = random.reals(count);
  return {floats.begin(), floats.end()};
}

void set_pass(adn_adadelta* optimizer, double scale, double norm, int32_t skip, int32_t zero) {
  adn_adadelta_pass_options options;
  check(adn_adadelta_pass_options_init(&options, sizeof options));
  options.gradient_scale = scale;
  options.clip_norm = norm;
  options.skip_nonfinite = skip;
  options.zero_gradients = zero;
  check(adn_adadelta_set_pass_options(optimizer, &options));
}

adn_adadelta_report report(const adn_adadelta* optimizer) {
  adn_adadelta_report report;
  report.struct_size = sizeof report;
  check(adn_adadelta_get_report(&report, optimizer));
  return report;
}

// float64 rounds at 1.1e-16; a step makes about ten such errors in a row, and cancellation in g + weight_decay*p can
// multiply them by hundreds; an element that a step brings close to 0 keeps the errors of its former size. Any change of the
// formula is far above this.
constexpr double close64 = 1e-12;

void expect_close64(const Doubles& expected, const Doubles& actual, const std::string& what) {
  ASSERT_EQ(expected.size(), actual.size()) << what;
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(expected[i], actual[i], close64 * std::max(1e-5, std::fabs(expected[i]))) << what << "[" << i << "]";
  }
}

class AdadeltaFeatures : public EachInstructionSet {};
ADN_FOR_EACH_INSTRUCTION_SET(AdadeltaFeatures);

// ---- torch's own tests ----

TEST_P(AdadeltaFeatures, KnownValue) {
  const Context context = make_context(1, GetParam());
  Optimizer64 optimizer(context.get(), adadelta_options());
  optimizer.add({{1.0}});
  optimizer.set_gradient(0, {0.01});
  for (int step = 0; step < 3; ++step) optimizer.step();
  // Three steps, some ten roundings each, of 1.1e-16.
  EXPECT_NEAR(0.9907540797278012, optimizer.p(0)[0], 4e-16);
  EXPECT_NEAR(2.71e-5, optimizer.v(0)[0], 2.71e-5 * 3e-15);
  EXPECT_NEAR(2.582190229699127e-06, optimizer.u(0)[0], 2.582190229699127e-06 * 3e-15);
  EXPECT_EQ(3u, optimizer.steps(0));
}

struct Config {
  const char* name;
  AdadeltaSettings settings;
  int32_t capturable;
};

const std::vector<Config> configs = {{"default", {}, 0},
                                     {"lr", {0.01}, 0},
                                     {"weight_decay", {1, 0.9, 1e-6, 0.1}, 0},
                                     {"maximize", {1, 0.9, 1e-6, 0, 1}, 0},
                                     {"weight_decay, maximize", {1, 0.9, 1e-6, 0.1, 1}, 0},
                                     {"rho, weight_decay", {1, 0.95, 1e-6, 0.9}, 0},
                                     {"capturable", {}, 1},
                                     {"capturable, weight_decay", {1, 0.9, 1e-6, 0.1}, 1}};

TEST_P(AdadeltaFeatures, EveryConfigurationEqualsTheReferenceInFloat64) {
  for (const Config& config : configs) {
    SCOPED_TRACE(config.name);
    const Context context = make_context(2, GetParam());
    adn_adadelta_options options = adadelta_options(config.settings);
    options.capturable = config.capturable;
    Optimizer64 optimizer(context.get(), options);
    Random random(3);
    Doubles p = doubles(random, 1003), v(p.size()), u(p.size());
    optimizer.add({p});
    for (int step = 0; step < 10; ++step) {
      const Doubles gradient = doubles(random, p.size());
      optimizer.set_gradient(0, gradient);
      optimizer.step();
      reference::adadelta_step(p, v, u, gradient, config.settings);
      expect_bits(gradient, optimizer.g(0), "the gradient is never changed");
    }
    expect_close64(p, optimizer.p(0), "p");
    expect_close64(v, optimizer.v(0), "square_avg");
    expect_close64(u, optimizer.u(0), "acc_delta");
  }
}

// torch's test_foreach_matches_forloop: 7 float64 steps, a parameter without gradients, others that miss some of them.
TEST_P(AdadeltaFeatures, ForeachEqualsTensorByTensor) {
  for (const Config& config : configs) {
    SCOPED_TRACE(config.name);
    std::vector<std::vector<Doubles>> results;
    for (const int32_t foreach : {ADN_FOREACH_FALSE, ADN_FOREACH_TRUE, ADN_FOREACH_AUTO}) {
      for (const uint32_t threads : {1u, 3u}) {
        const Context context = make_context(threads, GetParam());
        adn_adadelta_options options = adadelta_options(config.settings);
        options.capturable = config.capturable;
        options.foreach = foreach;
        Optimizer64 optimizer(context.get(), options);
        Random random(8);
        const std::vector<uint64_t> sizes = {50, 1, 20000, 7, 300};
        std::vector<Doubles> starts;
        for (const uint64_t size : sizes) starts.push_back(doubles(random, size));
        optimizer.add(starts);
        for (int step = 0; step < 7; ++step) {
          for (size_t i = 0; i < sizes.size(); ++i) {
            const Doubles gradient = doubles(random, sizes[i]);
            if (i == 3 || (i == 4 && step % 3 == 1)) {
              optimizer.no_gradient(i);
            } else {
              optimizer.set_gradient(i, gradient);
            }
          }
          optimizer.step();
        }
        EXPECT_EQ(7u, optimizer.steps(0));
        EXPECT_EQ(0u, optimizer.steps(3)) << "a frozen layer";
        EXPECT_EQ(5u, optimizer.steps(4));
        expect_bits(starts[3], optimizer.p(3), "a frozen layer");
        std::vector<Doubles> result;
        for (size_t i = 0; i < sizes.size(); ++i) {
          for (const Doubles& array : {optimizer.p(i), optimizer.v(i), optimizer.u(i)}) result.push_back(array);
        }
        results.push_back(result);
      }
    }
    for (const auto& result : results) {
      for (size_t i = 0; i < result.size(); ++i) expect_bits(results[0][i], result[i], std::to_string(i));
    }
  }
}

// torch's test_forloop_goes_right_direction: |A w + b|^2 falls, and grows with maximize; with a schedule too.
TEST_P(AdadeltaFeatures, GoesTheRightDirection) {
  const double a[2][2] = {{2, -1}, {0.5, 1.5}}, b[2] = {1, -2};
  const auto loss = [&](const Doubles& w, Doubles* gradient) {
    double sum = 0;
    if (gradient != nullptr) *gradient = {0, 0};
    for (int i = 0; i < 2; ++i) {
      const double r = a[i][0] * w[0] + a[i][1] * w[1] + b[i];
      sum += r * r;
      for (int j = 0; j < 2 && gradient != nullptr; ++j) (*gradient)[static_cast<size_t>(j)] += 2 * r * a[i][j];
    }
    return sum;
  };
  for (const int32_t maximize : {0, 1}) {
    for (const bool schedule : {false, true}) {
      SCOPED_TRACE(testing::Message() << "maximize " << maximize << ", schedule " << schedule);
      const Context context = make_context(1, GetParam());
      AdadeltaSettings settings;
      settings.maximize = maximize;
      Optimizer64 optimizer(context.get(), adadelta_options(settings));
      optimizer.add({{0.3, -0.7}});
      const double before = loss(optimizer.p(0), nullptr);
      for (int step = 0; step < 20; ++step) {
        Doubles gradient;
        loss(optimizer.p(0), &gradient);
        optimizer.set_gradient(0, gradient);
        if (schedule) {
          adn_adadelta_options options = adadelta_options();
          check(adn_adadelta_get_options(&options, optimizer.get(), 0));
          options.lr = std::pow(0.9, step / 5);
          check(adn_adadelta_set_options(optimizer.get(), 0, &options));
        }
        optimizer.step();
      }
      const double after = loss(optimizer.p(0), nullptr);
      EXPECT_TRUE(maximize ? after > before : after < before) << before << " and " << after;
    }
  }
}

// torch's test_tensor_lr, with lr of no, one and two dimensions: the number in memory counts, at the time of the step.
TEST_P(AdadeltaFeatures, LearningRateInMemoryIsReadAtTheStep) {
  for (const int32_t dtype : {ADN_DTYPE_FLOAT32, ADN_DTYPE_FLOAT64}) {
    for (const std::vector<uint64_t>& shape : std::vector<std::vector<uint64_t>>{{}, {1}, {1, 1}}) {
      const Context context = make_context(1, GetParam());
      Optimizer64 in_memory(context.get(), adadelta_options()), in_options(context.get(), adadelta_options({0.5}));
      const Tensor lr = typed(context.get(), dtype, shape);
      for (Optimizer64* optimizer : {&in_memory, &in_options}) {
        optimizer->add({{1, 2, 3}});
        optimizer->set_gradient(0, {1, -1, 0.5});
      }
      check(adn_adadelta_set_lr_tensor(in_memory.get(), 0, lr.get()));
      check(adn_tensor_fill(lr.get(), 0.5f));
      in_memory.step();
      in_options.step();
      expect_bits(in_options.p(0), in_memory.p(0), "p");
      check(adn_tensor_fill(lr.get(), 0));
      const Doubles before = in_memory.p(0);
      in_memory.step();
      expect_bits(before, in_memory.p(0), "lr 0 in memory");
      check(adn_adadelta_set_lr_tensor(in_memory.get(), 0, nullptr));
      in_memory.step();
      EXPECT_NE(before, in_memory.p(0)) << "options.lr counts again";
    }
  }
  const Context context = make_context(), other = make_context();
  Optimizer64 optimizer(context.get(), adadelta_options());
  optimizer.add({{1}});
  const auto set = [&](const Tensor& lr, uint64_t group = 0) {
    return adn_adadelta_set_lr_tensor(optimizer.get(), group, lr.get());
  };
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, set(make_tensor(context.get(), {2})), {"lr", "[2]", "one element"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, set(typed(context.get(), ADN_DTYPE_FLOAT16, {})), {"lr", "float16"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, set(make_tensor(other.get(), {})), {"lr", "context"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, set(make_tensor(context.get(), {}), 1), {"group", "1"});
}

// What a schedule sets is what the next step takes, wherever it stands.
TEST(AdadeltaOptions, LearningRateIsReadAndSetWhereItStands) {
  const Context context = make_context();
  Optimizer64 optimizer(context.get(), adadelta_options({0.5}));
  optimizer.add({{1}});
  const auto lr = [&] {
    double value = -1;
    check(adn_adadelta_get_lr(&value, optimizer.get(), 0));
    return value;
  };
  const auto option = [&] {
    adn_adadelta_options options;
    options.struct_size = sizeof options;
    check(adn_adadelta_get_options(&options, optimizer.get(), 0));
    return options.lr;
  };
  EXPECT_EQ(0.5, lr());
  check(adn_adadelta_set_lr(optimizer.get(), 0, 0.1));
  EXPECT_EQ(0.1, lr());
  EXPECT_EQ(0.1, option());
  const Tensor narrow = typed(context.get(), ADN_DTYPE_FLOAT32, {}), wide = typed(context.get(), ADN_DTYPE_FLOAT64, {});
  check(adn_adadelta_set_lr_tensor(optimizer.get(), 0, wide.get()));
  EXPECT_EQ(0, lr());
  check(adn_adadelta_set_lr(optimizer.get(), 0, 0.2));
  EXPECT_EQ(0.2, read_as<double>(wide.get(), 1)[0]);
  check(adn_adadelta_set_lr_tensor(optimizer.get(), 0, narrow.get()));
  check(adn_adadelta_set_lr(optimizer.get(), 0, 0.3));
  EXPECT_EQ(0.3f, read_as<float>(narrow.get(), 1)[0]);
  EXPECT_EQ(double{0.3f}, lr());
  EXPECT_EQ(0.1, option()) << "the option waits until the memory is taken away";
  for (const double wrong : {-1.0, nan, infinity, 1e39}) {
    expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_set_lr(optimizer.get(), 0, wrong),
                   {"lr", "0 <= lr <= 3.40282e+38"});
  }
  EXPECT_EQ(double{0.3f}, lr());
  double value = 0;
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_get_lr(&value, optimizer.get(), 1), {"group", "1"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_set_lr(optimizer.get(), 1, 1), {"group", "1"});
  // .NET's NaN has its sign set
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_set_lr(optimizer.get(), 0, std::copysign(nan, -1.0)),
                 {"lr: nan,"});
}

// torch's test_complex and test_complex_2d: a complex parameter is a pair of real ones.
TEST_P(AdadeltaFeatures, ComplexNumbersArePairs) {
  for (const Config& config : configs) {
    SCOPED_TRACE(config.name);
    const Context context = make_context(2, GetParam());
    const OptimizerHandle pairs = make_optimizer(context.get(), config.settings),
                          complex = make_optimizer(context.get(), config.settings);
    const Tensor p = make_tensor(context.get(), {3, 5, 2}), g = make_tensor(context.get(), {3, 5, 2}),
                 cp = typed(context.get(), ADN_DTYPE_COMPLEX64, {3, 5}),
                 cg = typed(context.get(), ADN_DTYPE_COMPLEX64, {3, 5});
    Random random(6);
    const Floats start = random.reals(30);
    write(p.get(), start);
    write_as(cp.get(), start);
    adn_tensor *ps[] = {p.get()}, *gs[] = {g.get()}, *cps[] = {cp.get()}, *cgs[] = {cg.get()};
    check(adn_adadelta_add_group(nullptr, pairs.get(), ps, gs, 1, nullptr));
    check(adn_adadelta_add_group(nullptr, complex.get(), cps, cgs, 1, nullptr));
    for (int step = 0; step < 3; ++step) {
      const Floats gradient = random.reals(30);
      write(g.get(), gradient);
      write_as(cg.get(), gradient);
      check(adn_adadelta_step(pairs.get()));
      check(adn_adadelta_step(complex.get()));
    }
    expect_bits(read(p.get()), read_as<float>(cp.get(), 30), "p");
    adn_tensor *v = nullptr, *u = nullptr;
    check(adn_adadelta_get_state(&v, &u, complex.get(), 0));
    const Tensor square_avg(v), acc_delta(u);
    int32_t dtype = -1;
    check(adn_tensor_get_dtype(&dtype, v));
    EXPECT_EQ(ADN_DTYPE_COMPLEX64, dtype) << "as in PyTorch";
    EXPECT_EQ((std::vector<uint64_t>{3, 5}), shape_of(u));
  }
}

// torch's test_step_is_noop_when_params_have_no_grad and test_step_is_noop_for_zero_grads.
TEST_P(AdadeltaFeatures, MissingAndZeroGradientsChangeNothing) {
  const Context context = make_context(1, GetParam());
  Optimizer64 optimizer(context.get(), adadelta_options());
  const Doubles start = {1, -2, 1e300};
  optimizer.add({start});
  optimizer.no_gradient(0);
  optimizer.step();
  expect_bits(start, optimizer.p(0), "no gradient");
  EXPECT_EQ(0u, optimizer.steps(0));
  optimizer.set_gradient(0, {0, 0, 0});
  optimizer.step();
  expect_bits(start, optimizer.p(0), "gradients of 0");
  EXPECT_EQ(1u, optimizer.steps(0));
}

TEST(AdadeltaPresets, HaveTheNumbersOfTheirSources) {
  const auto preset = [](int32_t which) {
    adn_adadelta_options options;
    check(adn_adadelta_options_preset(&options, sizeof options, which));
    return std::array<double, 4>{options.lr, options.rho, options.eps, options.weight_decay};
  };
  EXPECT_EQ((std::array<double, 4>{1, 0.9, 1e-6, 0}), preset(ADN_PRESET_PYTORCH));
  EXPECT_EQ((std::array<double, 4>{1, 0.95, 1e-6, 0}), preset(ADN_PRESET_PAPER2012));
  EXPECT_EQ((std::array<double, 4>{0.001, 0.95, 1e-7, 0}), preset(ADN_PRESET_KERAS));
  adn_adadelta_options options;
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_options_preset(&options, sizeof options, 3),
                 {"preset", "3"});
}

// eps 0 and gradients that are always 0: NaN as in PyTorch, refused, or left as it is.
TEST_P(AdadeltaFeatures, ZeroEps) {
  const auto options = [](int32_t zero_eps) {
    adn_adadelta_options options = adadelta_options({1, 0.9, 0});
    options.zero_eps = zero_eps;
    return options;
  };
  const Context context = make_context(1, GetParam());
  for (const int32_t mode : {ADN_ZERO_EPS_NAN, ADN_ZERO_EPS_KEEP}) {
    Optimizer64 optimizer(context.get(), options(mode));
    optimizer.add({{1, 1, 1}});
    // The square of the least positive number's root is still not zero.
    optimizer.set_gradient(0, {0, 0.5, 1e-161});
    optimizer.step();
    const Doubles p = optimizer.p(0);
    EXPECT_EQ(mode == ADN_ZERO_EPS_NAN, std::isnan(p[0]));
    if (mode == ADN_ZERO_EPS_KEEP) {
      EXPECT_EQ(1, p[0]);
    }
    // u is 0 and so is d, wherever v is not.
    EXPECT_EQ(1, p[1]);
    EXPECT_EQ(1, p[2]);
  }
  const Tensor p = make_tensor(context.get(), {2}), g = make_tensor(context.get(), {2});
  const adn_adadelta_options keep = options(ADN_ZERO_EPS_KEEP), refuse = options(ADN_ZERO_EPS_REFUSE);
  adn_adadelta* made = nullptr;
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_create(&made, context.get(), &refuse), {"eps", "0"});
  check(adn_adadelta_create(&made, context.get(), &keep));
  const OptimizerHandle optimizer(made);
  adn_tensor *ps[] = {p.get()}, *gs[] = {g.get()};
  check(adn_adadelta_add_group(nullptr, made, ps, gs, 1, nullptr));
  write(g.get(), {0, std::numeric_limits<float>::denorm_min()});
  check(adn_adadelta_step(made));
  EXPECT_EQ((Floats{0, 0}), read(p.get())) << "also where the square vanishes in float32";
}

TEST(AdadeltaOptions, TheFurtherOnesAreValidatedInEveryGroup) {
  const Context context = make_context();
  struct Bad {
    std::vector<std::string> words;
    void (*set)(adn_adadelta_options&);
  };
  const std::vector<Bad> bad = {
      {{"foreach", "3"}, [](adn_adadelta_options& o) { o.foreach = 3; }},
      {{"capturable", "2"}, [](adn_adadelta_options& o) { o.capturable = 2; }},
      {{"differentiable", "-1"}, [](adn_adadelta_options& o) { o.differentiable = -1; }},
      {{"zero_eps", "4"}, [](adn_adadelta_options& o) { o.zero_eps = 4; }},
      {{"master_weights", "2"}, [](adn_adadelta_options& o) { o.master_weights = 2; }},
      {{"reserved", "1"}, [](adn_adadelta_options& o) { o.reserved = 1; }},
      {{"decoupled_weight_decay", "nan"}, [](adn_adadelta_options& o) { o.decoupled_weight_decay = nan; }},
      {{"decoupled_weight_decay", "-1"}, [](adn_adadelta_options& o) { o.decoupled_weight_decay = -1; }},
      {{"clip_value", "inf"}, [](adn_adadelta_options& o) { o.clip_value = infinity; }},
      {{"clip_value", "nan"}, [](adn_adadelta_options& o) { o.clip_value = nan; }},
      {{"average_decay", "1"}, [](adn_adadelta_options& o) { o.average_decay = 1; }},
      {{"average_decay", "nan"}, [](adn_adadelta_options& o) { o.average_decay = nan; }},
      {{"foreach", "2", "differentiable"},
       [](adn_adadelta_options& o) {
         o.foreach = ADN_FOREACH_TRUE;
         o.differentiable = 1;
       }},
      {{"clip_value", "differentiable"},
       [](adn_adadelta_options& o) {
         o.clip_value = 1;
         o.differentiable = 1;
       }},
  };
  Optimizer64 optimizer(context.get(), adadelta_options());
  optimizer.add({{1}});
  const Tensor p = make_tensor(context.get(), {1}), g = make_tensor(context.get(), {1});
  adn_tensor *ps[] = {p.get()}, *gs[] = {g.get()};
  for (const Bad& one : bad) {
    adn_adadelta_options options = adadelta_options();
    one.set(options);
    adn_adadelta* made = nullptr;
    expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_create(&made, context.get(), &options), one.words);
    expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_set_options(optimizer.get(), 0, &options), one.words);
    expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_add_group(nullptr, optimizer.get(), ps, gs, 1, &options),
                   one.words);
  }
  adn_adadelta_pass_options pass;
  const auto refused = [&](void (*set)(adn_adadelta_pass_options&), const std::vector<std::string>& words) {
    check(adn_adadelta_pass_options_init(&pass, sizeof pass));
    set(pass);
    expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_set_pass_options(optimizer.get(), &pass), words);
  };
  refused([](adn_adadelta_pass_options& o) { o.gradient_scale = 0; }, {"gradient_scale", "0"});
  refused([](adn_adadelta_pass_options& o) { o.gradient_scale = nan; }, {"gradient_scale", "nan"});
  refused([](adn_adadelta_pass_options& o) { o.clip_norm = -1; }, {"clip_norm", "-1"});
  refused([](adn_adadelta_pass_options& o) { o.clip_norm = infinity; }, {"clip_norm", "inf"});
  refused([](adn_adadelta_pass_options& o) { o.zero_gradients = 2; }, {"zero_gradients", "2"});
  refused([](adn_adadelta_pass_options& o) { o.skip_nonfinite = 2; }, {"skip_nonfinite", "2"});
  refused([](adn_adadelta_pass_options& o) { o.reserved = 9; }, {"reserved", "9"});
  pass.struct_size = sizeof pass;
  check(adn_adadelta_get_pass_options(&pass, optimizer.get()));
  EXPECT_EQ(1, pass.gradient_scale);
  EXPECT_EQ(0, pass.clip_norm);
}

// ---- 16-bit parameters ----

// The number that 16 bits stand for, worked out from sign, exponent and fraction.
double decode(int32_t dtype, uint16_t bits) {
  const int fraction_bits = dtype == ADN_DTYPE_FLOAT16 ? 10 : 7, exponent_bits = 15 - fraction_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1, exponent = (bits & 0x7fff) >> fraction_bits;
  const int fraction = bits & ((1 << fraction_bits) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return fraction != 0 ? nan : sign * infinity;
  return sign * std::ldexp(exponent == 0 ? fraction : fraction + (1 << fraction_bits),
                           (exponent == 0 ? 1 : exponent) - bias - fraction_bits);
}

TEST_P(AdadeltaFeatures, SixteenBitNumbersAreConvertedExactly) {
  const Context context = make_context(1, GetParam());
  for (const int32_t dtype : {ADN_DTYPE_FLOAT16, ADN_DTYPE_BFLOAT16}) {
    SCOPED_TRACE(dtype);
    std::vector<uint16_t> all(65536), gradients(65536);
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
    const std::vector<uint16_t> before = all;
    const Tensor p = external(context.get(), dtype, all.data(), all.size()),
                 g = external(context.get(), dtype, gradients.data(), gradients.size());
    adn_adadelta_options options = adadelta_options();
    options.master_weights = 1;
    const OptimizerHandle optimizer = make_optimizer(context.get());
    adn_tensor *ps[] = {p.get()}, *gs[] = {g.get()};
    check(adn_adadelta_add_group(nullptr, optimizer.get(), ps, gs, 1, &options));
    adn_tensor* master = nullptr;
    check(adn_adadelta_get_weights(&master, nullptr, optimizer.get(), 0));
    const Floats wide = read(Tensor(master).get());
    for (size_t i = 0; i < all.size(); ++i) {
      const double expected = decode(dtype, before[i]);
      EXPECT_TRUE(expected == static_cast<double>(wide[i]) || (std::isnan(expected) && std::isnan(wide[i]))) << i;
    }
    // There and back, with and without the copy: a step without gradient moves nothing.
    for (const int32_t copies : {1, 0}) {
      options.master_weights = copies;
      check(adn_adadelta_set_options(optimizer.get(), 0, &options));
      check(adn_adadelta_step(optimizer.get()));
      for (size_t i = 0; i < all.size(); ++i) {
        EXPECT_TRUE(all[i] == before[i] || (std::isnan(decode(dtype, all[i])) && std::isnan(decode(dtype, before[i]))))
            << i;
      }
    }
  }
}

TEST(Tensors, SixteenBitNumbersAreRoundedToTheNearestEven) {
  const Context context = make_context();
  Random random(12);
  for (const int32_t dtype : {ADN_DTYPE_FLOAT16, ADN_DTYPE_BFLOAT16}) {
    const Tensor tensor = typed(context.get(), dtype, {});
    Floats values = {0.0f,     -0.0f,    1.0f,         65504.0f,   65519.9f,       65520.0f, 1e30f,   -1e30f,
                     5.96e-8f, 2.98e-8f, 2.980233e-8f, 6.0976e-5f, 6.10351562e-5f, 1e-40f,   3.4e38f, -2.0000001f};
    for (const float x : random.reals(2000)) {
      values.push_back(x);
      values.push_back(x * 1e-5f);
      values.push_back(x * 1e5f);
    }
    // Half-way between two neighbours.
    for (uint16_t bits : {uint16_t{0x3c00}, uint16_t{0x3c01}, uint16_t{0x0001}, uint16_t{0x0002}, uint16_t{0x03ff}}) {
      values.push_back(static_cast<float>((decode(dtype, bits) + decode(dtype, static_cast<uint16_t>(bits + 1))) / 2));
    }
    for (const float value : values) {
      check(adn_tensor_fill(tensor.get(), value));
      const uint16_t bits = read_as<uint16_t>(tensor.get(), 1)[0];
      const double x = value, rounded = decode(dtype, bits);
      EXPECT_EQ(std::signbit(value), (bits & 0x8000) != 0) << value;
      if (std::isinf(rounded)) {
        // Half a step beyond the largest finite number.
        const double largest = decode(dtype, static_cast<uint16_t>((bits & 0x7fff) - 1));
        const double below = decode(dtype, static_cast<uint16_t>((bits & 0x7fff) - 2));
        EXPECT_GE(std::fabs(x), largest + (largest - below) / 2) << value;
        continue;
      }
      const double error = std::fabs(rounded - x);
      for (const int step : {-1, 1}) {
        if (step == -1 && (bits & 0x7fff) == 0) continue;
        const double neighbour = decode(dtype, static_cast<uint16_t>(bits + step));
        if (std::isinf(neighbour)) continue;
        const double other = std::fabs(neighbour - x);
        EXPECT_TRUE(error < other || (error == other && bits % 2 == 0)) << value;
      }
    }
    check(adn_tensor_fill(tensor.get(), std::numeric_limits<float>::quiet_NaN()));
    EXPECT_TRUE(std::isnan(decode(dtype, read_as<uint16_t>(tensor.get(), 1)[0])));
    check(adn_tensor_fill(tensor.get(), std::numeric_limits<float>::infinity()));
    EXPECT_EQ(infinity, decode(dtype, read_as<uint16_t>(tensor.get(), 1)[0]));
  }
}

// A 16-bit parameter loses up to half a unit in its last place at each step; with a copy in full it is the copy, rounded.
TEST_P(AdadeltaFeatures, SixteenBitParametersKeepTheirStateInFloat32) {
  constexpr uint64_t n = 1003;
  constexpr int steps = 20;
  for (const int32_t dtype : {ADN_DTYPE_FLOAT16, ADN_DTYPE_BFLOAT16}) {
    for (const int32_t copies : {0, 1}) {
      SCOPED_TRACE(testing::Message() << "dtype " << dtype << ", master_weights " << copies);
      const Context context = make_context(2, GetParam());
      Random random(5);
      const Tensor p = typed(context.get(), dtype, {n}), g = typed(context.get(), dtype, {n}),
                   full_p = make_tensor(context.get(), {n}), full_g = make_tensor(context.get(), {n});
      const Floats start = random.reals(n);
      std::vector<uint16_t> bits(n);
      for (uint64_t i = 0; i < n; ++i) {
        // Any finite number near the start will do.
        bits[i] = static_cast<uint16_t>((dtype == ADN_DTYPE_FLOAT16 ? 0x2c00 : 0x3d00) + i % 700 + (i % 2 << 15));
      }
      write_as(p.get(), bits);
      const auto wide = [&](const std::vector<uint16_t>& from) {
        Floats floats;
        for (const uint16_t x : from) floats.push_back(static_cast<float>(decode(dtype, x)));
        return floats;
      };
      write(full_p.get(), wide(bits));
      adn_adadelta_options options = adadelta_options({1, 0.9, 1e-6, 0.01});
      options.master_weights = copies;
      const OptimizerHandle optimizer = make_optimizer(context.get()), full = make_optimizer(context.get());
      adn_tensor *ps[] = {p.get()}, *gs[] = {g.get()}, *fps[] = {full_p.get()}, *fgs[] = {full_g.get()};
      check(adn_adadelta_add_group(nullptr, optimizer.get(), ps, gs, 1, &options));
      check(adn_adadelta_add_group(nullptr, full.get(), fps, fgs, 1, &options));
      for (int step = 0; step < steps; ++step) {
        for (uint64_t i = 0; i < n; ++i)
          bits[i] = static_cast<uint16_t>(random.integer(0x2000, 0x3bff) | (i % 3 << 15));
        write_as(g.get(), bits);
        write(full_g.get(), wide(bits));
        if (copies == 0) write(full_p.get(), wide(read_as<uint16_t>(p.get(), n)));
        check(adn_adadelta_step(optimizer.get()));
        check(adn_adadelta_step(full.get()));
        const Floats rounded = wide(read_as<uint16_t>(p.get(), n)), exact = read(full_p.get());
        const double half_unit = dtype == ADN_DTYPE_FLOAT16 ? 0x1p-11 : 0x1p-8;
        for (uint64_t i = 0; i < n; ++i) {
          ASSERT_NEAR(exact[i], rounded[i], half_unit * std::fabs(static_cast<double>(exact[i])) + 0x1p-25) << i;
        }
      }
      adn_tensor *v = nullptr, *u = nullptr, *fv = nullptr, *fu = nullptr, *master = nullptr;
      check(adn_adadelta_get_state(&v, &u, optimizer.get(), 0));
      check(adn_adadelta_get_state(&fv, &fu, full.get(), 0));
      const Tensor owners[] = {Tensor(v), Tensor(u), Tensor(fv), Tensor(fu)};
      expect_same_bits(read(fv), read(v), "square_avg");
      expect_same_bits(read(fu), read(u), "acc_delta");
      check(adn_adadelta_get_weights(&master, nullptr, optimizer.get(), 0));
      EXPECT_EQ(copies == 1, master != nullptr);
      if (copies == 1) {
        expect_same_bits(read(full_p.get()), read(Tensor(master).get()), "the copy in full");
      }
    }
  }
}

// ---- Memory of the host's own ----

TEST(AdadeltaExternal, MemoryIsUsedInPlaceAndGivenBackOnce) {
  const Context context = make_context(2);
  Floats p = {1, 2, 3}, g = {1, 1, 1};
  int released = 0;
  const auto release = [](void* user) { ++*static_cast<int*>(user); };
  const uint64_t shape[] = {3};
  adn_tensor* tensor = nullptr;
  check(adn_tensor_create_external(&tensor, context.get(), p.data(), ADN_DTYPE_FLOAT32, shape, 1, release, &released));
  Tensor value(tensor);
  const Tensor gradient = external(context.get(), ADN_DTYPE_FLOAT32, g.data(), 3);
  OptimizerHandle optimizer = make_optimizer(context.get());
  adn_tensor *ps[] = {value.get()}, *gs[] = {gradient.get()};
  check(adn_adadelta_add_group(nullptr, optimizer.get(), ps, gs, 1, nullptr));
  check(adn_adadelta_step(optimizer.get()));
  EXPECT_LT(p[0], 1.0f);
  EXPECT_EQ(p, read(value.get()));
  p[1] = 7;
  EXPECT_EQ(7, read(value.get())[1]);
  value.reset();
  EXPECT_EQ(0, released) << "the optimizer still uses it";
  optimizer.reset();
  EXPECT_EQ(1, released);
}

TEST(AdadeltaExternal, WhatCannotBeUsedIsRefused) {
  const Context context = make_context();
  double memory[4] = {};
  const uint64_t shape[] = {2};
  adn_tensor* tensor = nullptr;
  int released = 0;
  const auto create = [&](void* data, int32_t dtype) {
    return adn_tensor_create_external(
        &tensor, context.get(), data, dtype, shape, 1, [](void* user) { ++*static_cast<int*>(user); }, &released);
  };
  unsigned char* bytes = reinterpret_cast<unsigned char*>(memory);
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, create(nullptr, 0), {"data", "NULL"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, create(bytes + 2, ADN_DTYPE_FLOAT32),
                 {"data", "multiple of 4", "float32"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, create(bytes + 4, ADN_DTYPE_FLOAT64), {"data", "multiple of 8"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, create(bytes + 1, ADN_DTYPE_BFLOAT16), {"data", "multiple of 2"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, create(memory, 5), {"dtype", "5"});
  EXPECT_EQ(nullptr, tensor);
  EXPECT_EQ(0, released);
  check(create(bytes + 4, ADN_DTYPE_COMPLEX64));
  adn_tensor_destroy(tensor);
  EXPECT_EQ(1, released);
}

// Two tensors on one place are found out by their addresses.
TEST(AdadeltaExternal, MemoryThatIsAlreadyAParameterIsRefused) {
  const Context context = make_context();
  Floats memory(10), gradients(20);
  const Tensor p = external(context.get(), ADN_DTYPE_FLOAT32, memory.data(), 6),
               part = external(context.get(), ADN_DTYPE_FLOAT32, memory.data() + 5, 5),
               g = external(context.get(), ADN_DTYPE_FLOAT32, gradients.data(), 6),
               h = external(context.get(), ADN_DTYPE_FLOAT32, gradients.data() + 6, 5),
               halves = typed(context.get(), ADN_DTYPE_FLOAT16, {6});
  const OptimizerHandle optimizer = make_optimizer(context.get());
  const auto add = [&](const Tensor& value, const Tensor& gradient) {
    adn_tensor *ps[] = {value.get()}, *gs[] = {gradient.get()};
    return adn_adadelta_add_group(nullptr, optimizer.get(), ps, gs, 1, nullptr);
  };
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, add(p, p), {"gradients[0]", "memory"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, add(p, halves), {"gradients[0]", "float16", "float32"});
  check(add(p, g));
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, add(part, h), {"parameters[0]", "already parameter 0"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_set_gradient(optimizer.get(), 0, h.get()),
                 {"gradient", "[5]"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_set_gradient(optimizer.get(), 1, nullptr), {"index", "1"});
}

// A step would write what it has still to read, in an order that depends on the number of threads.
TEST(AdadeltaExternal, GradientsThatAStepWritesBeforeItReadsThemAreRefused) {
  const Context context = make_context();
  const Tensor p = make_tensor(context.get(), {2}), g = make_tensor(context.get(), {2}),
               q = make_tensor(context.get(), {2}), h = make_tensor(context.get(), {2});
  const OptimizerHandle optimizer = make_optimizer(context.get());
  const auto add = [&](std::vector<adn_tensor*> ps, std::vector<adn_tensor*> gs) {
    return adn_adadelta_add_group(nullptr, optimizer.get(), ps.data(), gs.data(), ps.size(), nullptr);
  };
  const auto zero = [&](int32_t value) {
    adn_adadelta_pass_options options;
    check(adn_adadelta_pass_options_init(&options, sizeof options));
    options.zero_gradients = value;
    return adn_adadelta_set_pass_options(optimizer.get(), &options);
  };
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, add({p.get(), q.get()}, {g.get(), p.get()}),
                 {"gradients[1]", "memory of parameter 0,"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, add({p.get(), q.get()}, {q.get(), h.get()}),
                 {"gradients[0]", "memory of parameter 1,"});
  check(add({p.get()}, {g.get()}));
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, add({g.get()}, {h.get()}),
                 {"parameters[0]", "memory of parameter 0's gradient"});
  check(add({q.get()}, {g.get()}));                                                     // a gradient may be shared …
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, zero(1), {"zero_gradients", "0 and 1"});  // … unless it is zeroed
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_set_gradient(optimizer.get(), 1, p.get()),
                 {"gradient", "memory of parameter 0,"});
  check(adn_adadelta_set_gradient(optimizer.get(), 1, h.get()));
  check(zero(1));
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_set_gradient(optimizer.get(), 1, g.get()),
                 {"gradient", "parameter 0's gradient", "zero_gradients"});
  const Tensor r = make_tensor(context.get(), {2});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, add({r.get()}, {h.get()}),
                 {"gradients[0]", "parameter 1's gradient", "zero_gradients"});
  check(zero(0));
  check(add({r.get()}, {h.get()}));
}

TEST(Tensors, OtherTypesAreReadAsTheirBytes) {
  const Context context = make_context();
  const Tensor tensor = typed(context.get(), ADN_DTYPE_FLOAT64, {2});
  float one[2];
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_tensor_read(one, 2, tensor.get()), {"float64", "float32"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_tensor_write(tensor.get(), one, 2), {"float64", "float32"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_tensor_read_bytes(one, 9, 8, tensor.get()),
                 {"byte_count", "8", "7", "9"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_tensor_read_bytes(one, 17, 0, tensor.get()),
                 {"byte_offset", "17", "16"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_tensor_write_bytes(tensor.get(), one, 16, 1),
                 {"byte_count", "1", "0"});
  check(adn_tensor_fill(tensor.get(), 2.5f));
  EXPECT_EQ((Doubles{2.5, 2.5}), read_as<double>(tensor.get(), 2));
  const Tensor complex = typed(context.get(), ADN_DTYPE_COMPLEX64, {});
  check(adn_tensor_fill(complex.get(), 3));
  EXPECT_EQ((Floats{3, 0}), read_as<float>(complex.get(), 2));
}

// ---- What a step does beside the update ----

TEST_P(AdadeltaFeatures, ClippingAndUnscalingEqualTheReference) {
  for (const bool by_value : {false, true}) {
    for (const bool by_norm : {false, true}) {
      for (const double scale : {1.0, 1024.0}) {
        SCOPED_TRACE(testing::Message() << "value " << by_value << ", norm " << by_norm << ", scale " << scale);
        const Context context = make_context(2, GetParam());
        adn_adadelta_options options = adadelta_options({0.5, 0.9, 1e-6, 0.1, 1});
        options.clip_value = by_value ? 0.4 : 0;
        Optimizer64 optimizer(context.get(), options);
        set_pass(optimizer.get(), scale, by_norm ? 2.5 : 0, 0, 0);
        Random random(11);
        std::vector<Doubles> p = {doubles(random, 777), doubles(random, 20000)};
        optimizer.add(p);
        std::vector<Doubles> v, u;
        for (const Doubles& one : p) {
          v.emplace_back(one.size());
          u.emplace_back(one.size());
        }
        for (int step = 0; step < 4; ++step) {
          std::vector<Doubles> gradients;
          double squares = 0;
          for (size_t i = 0; i < p.size(); ++i) {
            Doubles gradient = doubles(random, p[i].size());
            for (double& x : gradient) x *= scale;
            optimizer.set_gradient(i, gradient);
            for (double& x : gradient) {
              x /= scale;
              if (by_value) x = std::clamp(x, -0.4, 0.4);
              squares += x * x;
            }
            gradients.push_back(gradient);
          }
          const double norm = std::sqrt(squares);
          for (size_t i = 0; i < p.size(); ++i) {
            for (double& x : gradients[i]) x *= by_norm ? std::min(1.0, 2.5 / (norm + 1e-6)) : 1.0;
            reference::adadelta_step(p[i], v[i], u[i], gradients[i], {0.5, 0.9, 1e-6, 0.1, 1});
          }
          optimizer.step();
          EXPECT_NEAR(by_norm ? norm : 0, report(optimizer.get()).norm, 1e-12 * norm);
        }
        for (size_t i = 0; i < p.size(); ++i) {
          expect_close64(p[i], optimizer.p(i), "p");
          expect_close64(v[i], optimizer.v(i), "square_avg");
          expect_close64(u[i], optimizer.u(i), "acc_delta");
        }
      }
    }
  }
}

// The norm is added up in an order that neither threads nor instruction sets change, nor does foreach.
TEST_P(AdadeltaFeatures, ClippingByNormGivesTheSameBitsEverywhere) {
  const auto run = [](int32_t instruction_set, uint32_t threads, int32_t foreach) {
    const Context context = make_context(threads, instruction_set);
    adn_adadelta_options options = adadelta_options();
    options.foreach = foreach;
    const OptimizerHandle optimizer = make_optimizer(context.get());
    set_pass(optimizer.get(), 3, 0.7, 1, 0);
    Random random(2);
    std::vector<Tensor> tensors;
    for (const uint64_t size : {3, 100003, 17, 40000}) {
      tensors.push_back(make_tensor(context.get(), {size}));
      tensors.push_back(make_tensor(context.get(), {size}));
      write(tensors[tensors.size() - 2].get(), random.reals(size));
      write(tensors.back().get(), random.reals(size));
      adn_tensor *ps[] = {tensors[tensors.size() - 2].get()}, *gs[] = {tensors.back().get()};
      check(adn_adadelta_add_group(nullptr, optimizer.get(), ps, gs, 1, &options));
    }
    check(adn_adadelta_step(optimizer.get()));
    std::vector<Floats> result;
    for (size_t i = 0; i < tensors.size(); i += 2) result.push_back(read(tensors[i].get()));
    return std::make_pair(result, report(optimizer.get()).norm);
  };
  const auto [expected, norm] = run(ADN_INSTRUCTION_SET_BASELINE, 1, ADN_FOREACH_TRUE);
  for (const uint32_t threads : {1u, 2u, 5u}) {
    for (const int32_t foreach : {ADN_FOREACH_FALSE, ADN_FOREACH_TRUE}) {
      const auto [actual, actual_norm] = run(GetParam(), threads, foreach);
      EXPECT_EQ(norm, actual_norm);
      expect_same_bits(expected, actual, "p");
    }
  }
}

TEST_P(AdadeltaFeatures, ANonfiniteGradientSkipsTheWholeStep) {
  for (const double bad : {infinity, -infinity, nan}) {
    for (const int32_t zero : {0, 1}) {
      const Context context = make_context(2, GetParam());
      adn_adadelta_options options = adadelta_options();
      options.clip_value = 1;  // which would hide an infinite one
      options.average_decay = 0.5;
      Optimizer64 optimizer(context.get(), options);
      set_pass(optimizer.get(), 8, 1, 1, zero);
      Random random(1);
      optimizer.add({doubles(random, 100), doubles(random, 20001)});
      Doubles first = doubles(random, 100), second = doubles(random, 20001);
      optimizer.set_gradient(0, first);
      optimizer.set_gradient(1, second);
      optimizer.step();
      EXPECT_EQ(0, report(optimizer.get()).skipped);
      const Doubles p = optimizer.p(0), v = optimizer.v(0), u = optimizer.u(1);
      second[17001] = bad;
      optimizer.set_gradient(0, first);
      optimizer.set_gradient(1, second);
      optimizer.step();
      EXPECT_EQ(1, report(optimizer.get()).skipped);
      expect_bits(p, optimizer.p(0), "p");
      expect_bits(v, optimizer.v(0), "square_avg");
      expect_bits(u, optimizer.u(1), "acc_delta");
      EXPECT_EQ(1u, optimizer.steps(0));
      EXPECT_EQ(zero == 1 ? Doubles(100) : first, optimizer.g(0)) << "gradients are zeroed where that is asked for";
      second[17001] = 1;
      optimizer.set_gradient(1, second);
      optimizer.step();
      EXPECT_EQ(0, report(optimizer.get()).skipped);
      EXPECT_EQ(2u, optimizer.steps(0));
    }
  }
}

TEST_P(AdadeltaFeatures, GradientsAreZeroedWhereThatIsAskedFor) {
  const Context context = make_context(2, GetParam());
  Optimizer64 plain(context.get(), adadelta_options()), zeroing(context.get(), adadelta_options());
  set_pass(zeroing.get(), 1, 0, 0, 1);
  Random random(1);
  const Doubles start = doubles(random, 1500), gradient = doubles(random, 1500);
  for (Optimizer64* optimizer : {&plain, &zeroing}) {
    optimizer->add({start});
    optimizer->set_gradient(0, gradient);
    optimizer->step();
  }
  expect_bits(plain.p(0), zeroing.p(0), "p");
  expect_bits(Doubles(1500), zeroing.g(0), "zeroed");
  expect_bits(gradient, plain.g(0), "left alone");
}

TEST_P(AdadeltaFeatures, DecoupledDecayAndTheAverageEqualTheReference) {
  const Context context = make_context(2, GetParam());
  adn_adadelta_options options = adadelta_options({0.5, 0.9, 1e-6, 0.1});
  options.decoupled_weight_decay = 0.2;
  options.average_decay = 0.75;
  Optimizer64 optimizer(context.get(), options);
  Random random(9);
  Doubles p = doubles(random, 1200), v(p.size()), u(p.size()), average = p;
  optimizer.add({p});
  for (int step = 0; step < 5; ++step) {
    const Doubles gradient = doubles(random, p.size()), before = p;
    optimizer.set_gradient(0, gradient);
    optimizer.step();
    reference::adadelta_step(p, v, u, gradient, {0.5, 0.9, 1e-6, 0.1});
    for (size_t i = 0; i < p.size(); ++i) {
      p[i] -= 0.5 * 0.2 * before[i];
      average[i] = 0.75 * average[i] + 0.25 * p[i];
    }
  }
  expect_close64(p, optimizer.p(0), "p");
  const auto kept = [&] {
    adn_tensor* tensor = nullptr;
    check(adn_adadelta_get_weights(nullptr, &tensor, optimizer.get(), 0));
    return Tensor(tensor);
  };
  expect_close64(average, read_as<double>(kept().get(), p.size()), "the average");
  options.average_decay = 0;
  check(adn_adadelta_set_options(optimizer.get(), 0, &options));
  EXPECT_EQ(nullptr, kept().get());
  options.average_decay = 0.5;
  check(adn_adadelta_set_options(optimizer.get(), 0, &options));
  expect_bits(optimizer.p(0), read_as<double>(kept().get(), p.size()), "it starts from the parameter");
}

// ---- State ----

TEST(AdadeltaState, CountsAreKeptForEachParameter) {
  const Context context = make_context();
  Optimizer64 optimizer(context.get(), adadelta_options());
  optimizer.add({{1}, {2}});
  optimizer.no_gradient(1);
  optimizer.step();
  optimizer.step();
  EXPECT_EQ(2u, optimizer.steps(0));
  EXPECT_EQ(0u, optimizer.steps(1));
  uint64_t most = 0, count = 0;
  check(adn_adadelta_get_step(&most, optimizer.get()));
  EXPECT_EQ(2u, most);
  check(adn_adadelta_set_parameter_step(optimizer.get(), 1, 40));
  check(adn_adadelta_get_step(&most, optimizer.get()));
  EXPECT_EQ(40u, most);
  check(adn_adadelta_set_step(optimizer.get(), 5));
  EXPECT_EQ(5u, optimizer.steps(0));
  EXPECT_EQ(5u, optimizer.steps(1));
  check(adn_adadelta_get_parameter_count(&count, optimizer.get()));
  EXPECT_EQ(2u, count);
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_get_parameter_step(&most, optimizer.get(), 2),
                 {"index", "2"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_set_parameter_step(optimizer.get(), 2, 0), {"index", "2"});
}

// ---- Differentiable ----

class Differentiable {
 public:
  Differentiable(adn_context* context, uint64_t n, const adn_adadelta_options& options)
      : n_(n), optimizer_(context, options) {
    optimizer_.add({Doubles(n)});
    for (Tensor& bar : bars_) bar = typed(context, ADN_DTYPE_FLOAT64, {n});
  }
  // A function of the state after the steps: the sum of each array's product with its weights.
  double value(const std::array<Doubles, 3>& start, const std::vector<Doubles>& gradients,
               const std::array<Doubles, 3>& weights) {
    write_as(optimizer_.parameter(0), start[0]);
    optimizer_.set_state(0, start[1], start[2]);
    for (const Doubles& gradient : gradients) {
      optimizer_.set_gradient(0, gradient);
      optimizer_.step();
    }
    const Doubles after[3] = {optimizer_.p(0), optimizer_.v(0), optimizer_.u(0)};
    double sum = 0;
    for (size_t array = 0; array < 3; ++array) {
      for (size_t i = 0; i < n_; ++i) sum += weights[array][i] * after[array][i];
    }
    return sum;
  }
  // Its gradients by p, square_avg and acc_delta before the steps, by each step's gradient and by lr.
  struct Gradients {
    std::array<Doubles, 3> start;
    std::vector<Doubles> gradients;
    double lr = 0;
  };
  Gradients back(size_t steps, const std::array<Doubles, 3>& weights) {
    Gradients result;
    result.gradients.resize(steps);
    write_as(bars_[0].get(), weights[0]);
    write_as(bars_[2].get(), weights[1]);
    write_as(bars_[3].get(), weights[2]);
    const adn_adadelta_cotangent cotangent = {bars_[0].get(), bars_[1].get(), bars_[2].get(), bars_[3].get()};
    for (size_t step = steps; step-- > 0;) {
      check(adn_adadelta_backward(&result.lr, 1, optimizer_.get(), &cotangent, 1));
      result.gradients[step] = read_as<double>(bars_[1].get(), n_);
    }
    result.start = {read_as<double>(bars_[0].get(), n_), read_as<double>(bars_[2].get(), n_),
                    read_as<double>(bars_[3].get(), n_)};
    return result;
  }
  Optimizer64& optimizer() { return optimizer_; }
  void set_lr(double lr) {
    adn_adadelta_options options = adadelta_options();
    check(adn_adadelta_get_options(&options, optimizer_.get(), 0));
    options.lr = lr;
    check(adn_adadelta_set_options(optimizer_.get(), 0, &options));
  }

 private:
  uint64_t n_;
  Optimizer64 optimizer_;
  Tensor bars_[4];
};

adn_adadelta_options differentiable_options(const AdadeltaSettings& settings) {
  adn_adadelta_options options = adadelta_options(settings);
  options.differentiable = 1;
  return options;
}

// torch's test_differentiable: n = 10, lr 0.9, weight_decay 0.1, 10 steps, a random state; gradcheck's step and tolerances.
// A central difference with h = 1e-6 is off by about h^2 and by 1e-16 / h of the value.
TEST(AdadeltaDifferentiable, EqualsFiniteDifferences) {
  constexpr uint64_t n = 10;
  constexpr size_t steps = 10;
  constexpr double h = 1e-6;
  for (const int variant : {0, 1}) {
    adn_adadelta_options options = differentiable_options({0.9, 0.9, 1e-6, 0.1, variant});
    options.decoupled_weight_decay = variant * 0.3;
    const Context context = make_context();
    Differentiable d(context.get(), n, options);
    Random random(21);
    std::array<Doubles, 3> start, weights;
    for (Doubles& array : start) array = doubles(random, n);
    for (double& x : start[1]) x = std::fabs(x);
    for (double& x : start[2]) x = std::fabs(x);
    for (Doubles& array : weights) array = doubles(random, n);
    std::vector<Doubles> gradients;
    for (size_t step = 0; step < steps; ++step) gradients.push_back(doubles(random, n));

    d.value(start, gradients, weights);
    uint64_t length = 0;
    check(adn_adadelta_get_tape_length(&length, d.optimizer().get()));
    EXPECT_EQ(steps, length);
    const Differentiable::Gradients actual = d.back(steps, weights);
    check(adn_adadelta_get_tape_length(&length, d.optimizer().get()));
    EXPECT_EQ(0u, length);

    const auto difference = [&](double& x) {
      const double kept = x;
      x = kept + h;
      const double above = d.value(start, gradients, weights);
      x = kept - h;
      const double below = d.value(start, gradients, weights);
      x = kept;
      return (above - below) / (2 * h);
    };
    const auto expect = [](double expected, double found, const std::string& what) {
      EXPECT_NEAR(expected, found, 1e-5 + 1e-3 * std::fabs(expected)) << what;
      EXPECT_NEAR(expected, found, 1e-7 + 1e-5 * std::fabs(expected)) << what;
    };
    for (size_t i = 0; i < n; ++i) {
      for (size_t array = 0; array < 3; ++array) {
        expect(difference(start[array][i]), actual.start[array][i], "array " + std::to_string(array));
      }
      for (size_t step = 0; step < steps; ++step) {
        expect(difference(gradients[step][i]), actual.gradients[step][i], "gradient of step " + std::to_string(step));
      }
    }
    d.set_lr(0.9 + h);
    const double above = d.value(start, gradients, weights);
    d.set_lr(0.9 - h);
    const double below = d.value(start, gradients, weights);
    expect((above - below) / (2 * h), actual.lr, "lr");
    check(adn_adadelta_clear_tape(d.optimizer().get()));
  }
}

// PyTorch's formula for two steps in decimal arithmetic of 60 digits, differentiated by central differences with h = 1e-20.
// A float64 computation makes some tens of roundings of 1.1e-16.
TEST(AdadeltaDifferentiable, EqualsNumbersOfADecimalComputation) {
  const Context context = make_context();
  Differentiable d(context.get(), 1, differentiable_options({0.9, 0.9, 1e-6, 0.125}));
  const std::array<Doubles, 3> start = {Doubles{0.5}, Doubles{0.02}, Doubles{0.003}},
                               weights = {Doubles{1}, Doubles{-2}, Doubles{3}};
  d.value(start, {{-0.25}, {0.75}}, weights);
  const auto near = [](double expected, double actual) { EXPECT_NEAR(expected, actual, 1e-13 * std::fabs(expected)); };
  near(0.421339294834607169805342464325563676720996899, d.optimizer().p(0)[0]);
  near(0.0866660203957192498501340340312679106314264010, d.optimizer().v(0)[0]);
  near(0.00534956068086467602835443347907882629003553691, d.optimizer().u(0)[0]);
  const Differentiable::Gradients actual = d.back(2, weights);
  near(0.93584899762416238191437612393907144168125, actual.start[0][0]);
  near(-1.9335606228559964153462251868982282133880, actual.start[1][0]);
  near(-8.23253511288345550000827246386610898471395, actual.start[2][0]);
  near(-0.1505175775789637111900930918954858262527, actual.gradients[0][0]);
  near(-0.36269044142773723349489791659194264029775, actual.gradients[1][0]);
  near(-0.0905754149894766379627100849807690432775, actual.lr);
}

// An element that zero_eps keeps is p itself, so that nothing but p's own gradient goes through it.
TEST(AdadeltaDifferentiable, AKeptElementIsTheIdentity) {
  const Context context = make_context();
  adn_adadelta_options options = differentiable_options({1, 0.75, 0, 0});
  options.zero_eps = ADN_ZERO_EPS_KEEP;
  Differentiable d(context.get(), 1, options);
  d.value({Doubles{0.5}, Doubles{0}, Doubles{0}}, {{0}}, {Doubles{1}, Doubles{-2}, Doubles{3}});
  const Differentiable::Gradients back = d.back(1, {Doubles{1}, Doubles{-2}, Doubles{3}});
  EXPECT_EQ(1, back.start[0][0]);
  EXPECT_EQ(-2 * 0.75, back.start[1][0]);
  EXPECT_EQ(3 * 0.75, back.start[2][0]);
  EXPECT_EQ(0, back.gradients[0][0]);
  EXPECT_EQ(0, back.lr);
}

TEST(AdadeltaDifferentiable, RefusesWhatItCannotGoBackThrough) {
  const Context context = make_context();
  Differentiable d(context.get(), 2, differentiable_options({}));
  adn_adadelta* optimizer = d.optimizer().get();
  const adn_adadelta_cotangent none = {};
  expect_failure(ADN_STATUS_INVALID_STATE, adn_adadelta_backward(nullptr, 0, optimizer, &none, 1),
                 {"no recorded step"});
  d.optimizer().step();
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_backward(nullptr, 0, optimizer, &none, 1),
                 {"cotangents[0].parameter", "NULL"});
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_backward(nullptr, 0, optimizer, &none, 2),
                 {"cotangent_count", "2", "1"});
  double lr[2];
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_backward(lr, 2, optimizer, &none, 1),
                 {"lr_count", "2", "1"});
  const Tensor wrong = typed(context.get(), ADN_DTYPE_FLOAT32, {2});
  const adn_adadelta_cotangent other = {wrong.get(), wrong.get(), wrong.get(), wrong.get()};
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_backward(nullptr, 0, optimizer, &other, 1),
                 {"cotangents[0].parameter", "float32", "float64"});
  set_pass(optimizer, 1, 1, 0, 0);
  expect_failure(ADN_STATUS_INVALID_STATE, adn_adadelta_step(optimizer), {"differentiable", "clip_norm"});
  uint64_t length = 0;
  check(adn_adadelta_get_tape_length(&length, optimizer));
  EXPECT_EQ(1u, length);
  const Tensor p = typed(context.get(), ADN_DTYPE_FLOAT16, {2}), g = typed(context.get(), ADN_DTYPE_FLOAT16, {2});
  adn_tensor *ps[] = {p.get()}, *gs[] = {g.get()};
  expect_failure(ADN_STATUS_INVALID_ARGUMENT, adn_adadelta_add_group(nullptr, optimizer, ps, gs, 1, nullptr),
                 {"differentiable", "float16"});
}

}  // namespace
}  // namespace adadelta::test
