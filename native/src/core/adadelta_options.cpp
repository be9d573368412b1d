// What the optimizer's options may be.
#include <cmath>
#include <limits>
#include <utility>

#include "core/adadelta.h"
#include "core/options.h"

namespace adn {
namespace {

constexpr double kMostFloat = std::numeric_limits<float>::max();
// A gradient's scale and its reciprocal are both normal float32 numbers: outside, all gradients would become 0 or infinite.
constexpr double kLeastScale = 0x1p-126, kMostScale = 0x1p+126;

void check_not_negative(double value, const char* name, const char* field) {
  if (!(std::isfinite(value) && value >= 0)) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "%s.%s: %g, expected a finite %s >= 0", name, field, shown(value), field);
  }
}

void check_choice(int32_t value, const char* name, const char* field) {
  if (value < 0 || value > 2) fail(ADN_STATUS_INVALID_ARGUMENT, "%s.%s: %d, expected 0, 1 or 2", name, field, value);
}

void check_reserved(uint32_t value, const char* name) {
  if (value != 0) fail(ADN_STATUS_INVALID_ARGUMENT, "%s.reserved: %u, expected 0", name, value);
}

}  // namespace

bool is_16_bit(int32_t dtype) { return dtype == ADN_DTYPE_FLOAT16 || dtype == ADN_DTYPE_BFLOAT16; }

int32_t state_dtype(int32_t dtype) { return is_16_bit(dtype) ? ADN_DTYPE_FLOAT32 : dtype; }

adn_adadelta_options default_adadelta_options() { return preset_adadelta_options(ADN_PRESET_PYTORCH); }

adn_adadelta_options preset_adadelta_options(int32_t preset) {
  adn_adadelta_options options = {};
  options.struct_size = sizeof options;
  options.lr = 1.0;
  options.rho = 0.95;
  options.eps = 1e-6;
  switch (preset) {
    case ADN_PRESET_PYTORCH:
      options.rho = 0.9;
      break;
    case ADN_PRESET_PAPER2012:
      break;
    case ADN_PRESET_KERAS:
      options.lr = 0.001;
      options.eps = 1e-7;
      break;
    default:
      fail(ADN_STATUS_INVALID_ARGUMENT, "preset: %d, expected 0 (PyTorch), 1 (the paper of 2012) or 2 (Keras)", preset);
  }
  return options;
}

adn_adadelta_pass_options default_adadelta_pass_options() {
  adn_adadelta_pass_options options = {};
  options.struct_size = sizeof options;
  options.gradient_scale = 1.0;
  return options;
}

void check_adadelta_options(const adn_adadelta_options& options, const char* name) {
  check_not_negative(options.lr, name, "lr");
  if (!(options.rho >= 0 && options.rho <= 1)) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "%s.rho: %g, expected 0 <= rho <= 1", name, shown(options.rho));
  }
  check_not_negative(options.eps, name, "eps");
  check_not_negative(options.weight_decay, name, "weight_decay");
  check_flag(options.maximize, name, "maximize");
  check_choice(options.foreach, name, "foreach");
  check_flag(options.capturable, name, "capturable");
  check_flag(options.differentiable, name, "differentiable");
  check_choice(options.zero_eps, name, "zero_eps");
  check_flag(options.master_weights, name, "master_weights");
  check_reserved(options.reserved, name);
  check_not_negative(options.decoupled_weight_decay, name, "decoupled_weight_decay");
  check_not_negative(options.clip_value, name, "clip_value");
  if (!(options.average_decay >= 0 && options.average_decay < 1)) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "%s.average_decay: %g, expected 0 <= average_decay < 1", name,
         shown(options.average_decay));
  }
  if (options.differentiable != 0 && options.foreach == ADN_FOREACH_TRUE) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "%s.foreach: 2 (true) with differentiable 1, expected 0 (auto) or 1 (false)",
         name);
  }
  if (options.differentiable != 0 && options.clip_value != 0) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "%s.clip_value: %g with differentiable 1, expected 0", name, options.clip_value);
  }
  if (options.zero_eps == ADN_ZERO_EPS_REFUSE && options.eps == 0) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "%s.eps: 0, expected eps > 0 with zero_eps 1 (refuse)", name);
  }
}

// The options as the type that the parameter's step computes in has them: no number may leave its range there, and none that is
// not zero may become zero where that would change what the step is.
void check_adadelta_types(int32_t dtype, const adn_adadelta_options& options) {
  if (options.differentiable != 0 && is_16_bit(dtype)) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "options.differentiable: 1 with a parameter of type %s, expected 0",
         dtype_name(dtype));
  }
  if (state_dtype(dtype) == ADN_DTYPE_FLOAT64) return;
  const auto refuse = [&](const char* field, double value, const char* expected) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "options.%s: %g, expected %s, since a step on %s is computed in float32", field,
         value, expected, dtype_name(dtype));
  };
  const std::pair<const char*, double> numbers[] = {{"lr", options.lr},
                                                    {"eps", options.eps},
                                                    {"weight_decay", options.weight_decay},
                                                    {"decoupled_weight_decay", options.decoupled_weight_decay}};
  for (const auto& [field, value] : numbers) {
    if (value > kMostFloat) refuse(field, value, "at most 3.40282e+38");
  }
  if (options.zero_eps == ADN_ZERO_EPS_REFUSE && static_cast<float>(options.eps) == 0) {
    refuse("eps", options.eps, "at least 1.4013e-45 with zero_eps 1 (refuse)");
  }
  if (options.clip_value != 0 && static_cast<float>(options.clip_value) == 0) {
    refuse("clip_value", options.clip_value, "0, for none, or at least 1.4013e-45");
  }
  if (static_cast<float>(options.average_decay) >= 1) {
    refuse("average_decay", options.average_decay, "at most 0.99999994");
  }
}

void check_pass_options(const adn_adadelta_pass_options& options) {
  check_flag(options.zero_gradients, "options", "zero_gradients");
  if (!(options.gradient_scale >= kLeastScale && options.gradient_scale <= kMostScale)) {
    fail(ADN_STATUS_INVALID_ARGUMENT,
         "options.gradient_scale: %g, expected 1.17549e-38 <= gradient_scale <= 8.50706e+37, so that gradients keep "
         "their range",
         shown(options.gradient_scale));
  }
  check_not_negative(options.clip_norm, "options", "clip_norm");
  check_flag(options.skip_nonfinite, "options", "skip_nonfinite");
  check_reserved(options.reserved, "options");
}

void check_lr(double lr) {
  // One bound for all groups, whichever type one's memory has.
  if (!(lr >= 0 && lr <= kMostFloat)) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "lr: %g, expected 0 <= lr <= %g", shown(lr), kMostFloat);
  }
}

}  // namespace adn
