#include "core/adadelta.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "core/float16.h"
#include "core/options.h"

namespace adn {
namespace {

using ull = unsigned long long;

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

bool is_16_bit(int32_t dtype) { return dtype == ADN_DTYPE_FLOAT16 || dtype == ADN_DTYPE_BFLOAT16; }

// What a step computes in and keeps its state in.
int32_t state_dtype(int32_t dtype) { return is_16_bit(dtype) ? ADN_DTYPE_FLOAT32 : dtype; }

adn_adadelta_group to_group(const adn_adadelta_options& o, const std::optional<Tensor>& lr) {
  adn_adadelta_group group = {};
  group.lr = o.lr;
  group.rho = o.rho;
  group.eps = o.eps;
  group.weight_decay = o.weight_decay;
  group.decoupled_weight_decay = o.decoupled_weight_decay;
  group.clip_value = o.clip_value > 0 ? o.clip_value : std::numeric_limits<double>::infinity();
  group.average_decay = o.average_decay;
  group.lr_memory = lr ? lr->data() : nullptr;
  group.lr_dtype = lr ? lr->dtype() : ADN_DTYPE_FLOAT64;
  group.maximize = o.maximize;
  group.keep_zero = o.zero_eps == ADN_ZERO_EPS_KEEP;
  group.tensor_by_tensor = o.foreach == ADN_FOREACH_FALSE;
  return group;
}

void* data_of(const std::optional<Tensor>& tensor) { return tensor ? tensor->data() : nullptr; }

adn_adadelta_piece to_piece(const Adadelta::Slot& slot, uint64_t start) {
  const bool complex = slot.parameter.dtype() == ADN_DTYPE_COMPLEX64;
  return {slot.parameter.data(),
          data_of(slot.gradient),
          slot.square_avg.data(),
          slot.acc_delta.data(),
          data_of(slot.master),
          data_of(slot.average),
          reinterpret_cast<uint64_t*>(slot.steps->data()) + slot.place,
          complex ? 2 * slot.parameter.count() : slot.parameter.count(),
          start,
          static_cast<uint32_t>(slot.group),
          complex ? ADN_DTYPE_FLOAT32 : slot.parameter.dtype()};
}

template <class From>
Tensor widened(const Tensor& from) {
  std::vector<From> elements(from.count());
  from.read_bytes(elements.data(), from.bytes());
  std::vector<float> floats(from.count());
  std::transform(elements.begin(), elements.end(), floats.begin(), [](From x) { return to_float(x); });
  Tensor to = Tensor::zeros(from.storage()->context(), ADN_DTYPE_FLOAT32, from.shape(), from.rank());
  to.write(floats.data(), floats.size());
  return to;
}

// A copy in the type that the step computes in.
Tensor wide_copy(const Tensor& from) {
  if (from.dtype() == ADN_DTYPE_FLOAT16) return widened<Half>(from);
  if (from.dtype() == ADN_DTYPE_BFLOAT16) return widened<BFloat16>(from);
  Tensor to = Tensor::zeros(from.storage()->context(), from.dtype(), from.shape(), from.rank());
  from.context().call(&adn_backend::copy, from.context().device(), to.data(), static_cast<const void*>(from.data()),
                      from.bytes());
  return to;
}

}  // namespace

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

Adadelta::Adadelta(std::shared_ptr<Context> context, const adn_adadelta_options& defaults)
    : context_(std::move(context)), defaults_(defaults), pass_(default_adadelta_pass_options()) {
  check_adadelta_options(defaults, "options");
  context_->call(&adn_backend::adadelta_create, &backend_optimizer_, context_->device());
}

Adadelta::~Adadelta() {
  if (backend_optimizer_ != nullptr) context_->backend().adadelta_destroy(backend_optimizer_);
}

void Adadelta::check_gradient(const Gradient& gradient, const Tensor& parameter, const char* name) const {
  if (!gradient) return;
  if (gradient->storage()->context() != context_) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "%s: made from another context than the optimizer, expected the same", name);
  }
  if (!parameter.same_shape(*gradient)) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "%s: shape %s, expected %s, that of its parameter", name,
         ShapeText(gradient->shape(), gradient->rank()).text, ShapeText(parameter.shape(), parameter.rank()).text);
  }
  if (parameter.dtype() != gradient->dtype()) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "%s: of type %s, expected %s, that of its parameter", name,
         dtype_name(gradient->dtype()), dtype_name(parameter.dtype()));
  }
}

// A step writes parameters and, where it zeroes them, gradients: the gradient of parameter `index` may be none of those that
// are written before it is read.
void Adadelta::check_memory(const Tensor& gradient, uint64_t index, const std::vector<Slot>& slots,
                            const char* name) const {
  for (uint64_t i = 0; i < slots.size(); ++i) {
    if (gradient.overlaps(slots[i].parameter)) {
      if (i == index) {
        fail(ADN_STATUS_INVALID_ARGUMENT, "%s: the memory of its parameter, expected memory of its own", name);
      }
      fail(ADN_STATUS_INVALID_ARGUMENT, "%s: the memory of parameter %llu, expected memory of its own", name,
           static_cast<ull>(i));
    }
    if (pass_.zero_gradients != 0 && i != index && slots[i].gradient && gradient.overlaps(*slots[i].gradient)) {
      fail(ADN_STATUS_INVALID_ARGUMENT,
           "%s: the memory of parameter %llu's gradient, expected memory of its own with zero_gradients 1", name,
           static_cast<ull>(i));
    }
  }
}

void Adadelta::check_differentiable(const Tensor& parameter, const adn_adadelta_options& options) const {
  if (options.differentiable != 0 && is_16_bit(parameter.dtype())) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "options.differentiable: 1 with a parameter of type %s, expected 0",
         dtype_name(parameter.dtype()));
  }
}

// Makes or drops what the options keep beside the state.
void Adadelta::make_weights(Slot& slot, const adn_adadelta_options& options) const {
  if (options.master_weights == 0 || !is_16_bit(slot.parameter.dtype())) {
    slot.master.reset();
  } else if (!slot.master) {
    slot.master = wide_copy(slot.parameter);
  }
  if (options.average_decay == 0) {
    slot.average.reset();
  } else if (!slot.average) {
    slot.average = wide_copy(slot.master ? *slot.master : slot.parameter);
  }
}

// Makes the pieces of the slots and hands them to the backend; on failure the former ones stay.
void Adadelta::take(std::vector<Slot> slots) {
  std::vector<adn_adadelta_piece> pieces;
  pieces.reserve(slots.size());
  uint64_t start = 0, groups = 0;
  for (const Slot& slot : slots) {
    pieces.push_back(to_piece(slot, start));
    start += pieces.back().count;
    groups = slot.group + 1;
  }
  context_->call(&adn_backend::adadelta_prepare, backend_optimizer_,
                 static_cast<const adn_adadelta_piece*>(pieces.data()), uint64_t{pieces.size()}, groups);
  slots_ = std::move(slots);
  pieces_ = std::move(pieces);
  prepared_ = true;
}

uint64_t Adadelta::add_group(const std::vector<Tensor>& parameters, const std::vector<Gradient>& gradients,
                             const adn_adadelta_options& options) {
  check_adadelta_options(options, "options");
  const uint64_t group = options_.size();
  std::vector<Slot> slots = slots_;
  const auto steps = std::make_shared<Storage>(context_, parameters.size() * sizeof(uint64_t));
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& p = parameters[i];
    if (p.storage()->context() != context_) {
      fail(ADN_STATUS_INVALID_ARGUMENT,
           "parameters[%zu]: made from another context than the optimizer, expected the same", i);
    }
    char name[48];
    std::snprintf(name, sizeof name, "gradients[%zu]", i);
    check_gradient(gradients[i], p, name);
    for (size_t j = 0; j < slots.size(); ++j) {
      if (p.overlaps(slots[j].parameter)) {
        fail(ADN_STATUS_INVALID_ARGUMENT, "parameters[%zu]: already parameter %zu of the optimizer, expected each once",
             i, j);
      }
    }
    const int32_t dtype = state_dtype(p.dtype());
    slots.push_back({p, gradients[i], Tensor::zeros(context_, dtype, p.shape(), p.rank()),
                     Tensor::zeros(context_, dtype, p.shape(), p.rank()), std::nullopt, std::nullopt, steps, i, group});
    check_differentiable(p, options);
    make_weights(slots.back(), options);
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    for (size_t j = 0; j < slots_.size(); ++j) {
      if (slots_[j].gradient && parameters[i].overlaps(*slots_[j].gradient)) {
        fail(ADN_STATUS_INVALID_ARGUMENT,
             "parameters[%zu]: the memory of parameter %zu's gradient, expected memory of its own", i, j);
      }
    }
    char name[48];
    std::snprintf(name, sizeof name, "gradients[%zu]", i);
    if (gradients[i]) check_memory(*gradients[i], slots_.size() + i, slots, name);
  }
  options_.reserve(group + 1);
  groups_.reserve(group + 1);
  lr_tensors_.reserve(group + 1);
  take(std::move(slots));
  options_.push_back(options);
  groups_.push_back(to_group(options, std::nullopt));
  lr_tensors_.push_back(std::nullopt);
  return group;
}

void Adadelta::check_group(uint64_t group) const {
  if (group >= options_.size()) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "group: %llu, expected 0 <= group < %zu", static_cast<ull>(group),
         options_.size());
  }
}

const adn_adadelta_options& Adadelta::options(uint64_t group) const {
  check_group(group);
  return options_[group];
}

void Adadelta::set_options(uint64_t group, const adn_adadelta_options& options) {
  check_group(group);
  check_adadelta_options(options, "options");
  for (const Slot& slot : slots_) {
    if (slot.group == group) check_differentiable(slot.parameter, options);
  }
  const adn_adadelta_options& former = options_[group];
  if (options.master_weights != former.master_weights || (options.average_decay != 0) != (former.average_decay != 0)) {
    std::vector<Slot> slots = slots_;
    for (Slot& slot : slots) {
      if (slot.group == group) make_weights(slot, options);
    }
    take(std::move(slots));
  }
  options_[group] = options;
  groups_[group] = to_group(options, lr_tensors_[group]);
}

void Adadelta::set_lr_tensor(uint64_t group, const std::optional<Tensor>& lr) {
  check_group(group);
  if (lr) {
    if (lr->storage()->context() != context_) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "lr: made from another context than the optimizer, expected the same");
    }
    if (lr->count() != 1) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "lr: shape %s, expected one element", ShapeText(lr->shape(), lr->rank()).text);
    }
    if (lr->dtype() != ADN_DTYPE_FLOAT32 && lr->dtype() != ADN_DTYPE_FLOAT64) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "lr: of type %s, expected float32 or float64", dtype_name(lr->dtype()));
    }
  }
  lr_tensors_[group] = lr;
  groups_[group] = to_group(options_[group], lr);
}

double Adadelta::lr(uint64_t group) const {
  check_group(group);
  const auto& lr = lr_tensors_[group];
  if (!lr) return options_[group].lr;
  double wide = 0;
  float narrow = 0;
  const bool is_wide = lr->dtype() == ADN_DTYPE_FLOAT64;
  lr->read_bytes(is_wide ? static_cast<void*>(&wide) : &narrow, lr->bytes());
  return is_wide ? wide : static_cast<double>(narrow);
}

void Adadelta::set_lr(uint64_t group, double lr) {
  check_group(group);
  // one bound for all groups, whichever type one's memory has
  constexpr float most = std::numeric_limits<float>::max();
  if (!(lr >= 0 && lr <= double{most})) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "lr: %g, expected 0 <= lr <= %g", shown(lr), double{most});
  }
  if (auto& memory = lr_tensors_[group]) {
    const float narrow = static_cast<float>(lr);
    const bool is_wide = memory->dtype() == ADN_DTYPE_FLOAT64;
    memory->write_bytes(is_wide ? static_cast<const void*>(&lr) : &narrow, memory->bytes());
  } else {
    options_[group].lr = lr;
    groups_[group].lr = lr;
  }
}

void Adadelta::set_gradient(uint64_t index, const Gradient& gradient) {
  check_gradient(gradient, slot(index).parameter, "gradient");
  if (pieces_[index].g != data_of(gradient)) {
    if (gradient) check_memory(*gradient, index, slots_, "gradient");
    pieces_[index].g = data_of(gradient);
    prepared_ = false;
  }
  slots_[index].gradient = gradient;
}

void Adadelta::set_pass_options(const adn_adadelta_pass_options& options) {
  check_flag(options.zero_gradients, "options", "zero_gradients");
  if (!(std::isfinite(options.gradient_scale) && options.gradient_scale > 0)) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "options.gradient_scale: %g, expected a finite gradient_scale > 0",
         shown(options.gradient_scale));
  }
  check_not_negative(options.clip_norm, "options", "clip_norm");
  check_flag(options.skip_nonfinite, "options", "skip_nonfinite");
  check_reserved(options.reserved, "options");
  if (options.zero_gradients != 0 && pass_.zero_gradients == 0) {
    for (uint64_t i = 0; i < slots_.size(); ++i) {
      for (uint64_t j = 0; j < i; ++j) {
        if (slots_[i].gradient && slots_[j].gradient && slots_[i].gradient->overlaps(*slots_[j].gradient)) {
          fail(ADN_STATUS_INVALID_ARGUMENT,
               "options.zero_gradients: 1 with one gradient for parameters %llu and %llu, expected 0",
               static_cast<ull>(j), static_cast<ull>(i));
        }
      }
    }
  }
  pass_ = options;
}

void Adadelta::step() {
  step_with([&](void* optimizer, const adn_adadelta_pass& pass) {
    context_->call(&adn_backend::adadelta_step, optimizer, &pass);
  });
}

adn_adadelta_pass Adadelta::prepare() {
  if (!prepared_) {
    context_->call(&adn_backend::adadelta_prepare, backend_optimizer_,
                   static_cast<const adn_adadelta_piece*>(pieces_.data()), uint64_t{pieces_.size()},
                   uint64_t{groups_.size()});
    prepared_ = true;
  }
  adn_adadelta_pass pass = {};
  pass.groups = groups_.data();
  pass.group_count = groups_.size();
  pass.gradient_scale = pass_.gradient_scale;
  pass.clip_norm = pass_.clip_norm > 0 ? pass_.clip_norm : std::numeric_limits<double>::infinity();
  pass.skip_nonfinite = pass_.skip_nonfinite;
  pass.zero_gradients = pass_.zero_gradients;
  return pass;
}

void Adadelta::stepped() {
  for (const Slot& slot : slots_) slot.parameter.storage()->touch();
}

bool Adadelta::records() const {
  return std::any_of(options_.begin(), options_.end(), [](const auto& o) { return o.differentiable != 0; });
}

// Puts what a step is about to read on the tape, for the groups that are differentiable.
void Adadelta::record() {
  std::vector<Record> records;
  for (uint64_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (options_[slot.group].differentiable == 0 || !slot.gradient) continue;
    if (pass_.gradient_scale != 1 || pass_.clip_norm != 0 || pass_.skip_nonfinite != 0) {
      fail(ADN_STATUS_INVALID_STATE,
           "step: group %llu is differentiable, expected pass options without gradient_scale, clip_norm and "
           "skip_nonfinite",
           static_cast<ull>(slot.group));
    }
    adn_adadelta_group group = groups_[slot.group];
    group.lr = lr(slot.group);
    records.push_back({i, group, wide_copy(slot.parameter), wide_copy(*slot.gradient), wide_copy(slot.square_avg),
                       wide_copy(slot.acc_delta)});
  }
  if (!records.empty()) tape_.push_back(std::move(records));
}

void Adadelta::backward(double* lr_gradients, const std::vector<Cotangent>& cotangents) {
  if (tape_.empty()) fail(ADN_STATUS_INVALID_STATE, "backward: no recorded step to go back through");
  const std::vector<Record>& records = tape_.back();
  for (const Record& record : records) {
    const Cotangent& c = cotangents[record.index];
    const std::pair<const char*, const std::optional<Tensor>&> parts[] = {
        {"parameter", c.parameter}, {"gradient", c.gradient}, {"square_avg", c.square_avg}, {"acc_delta", c.acc_delta}};
    for (const auto& [part, tensor] : parts) {
      const auto index = static_cast<ull>(record.index);
      if (!tensor) fail(ADN_STATUS_INVALID_ARGUMENT, "cotangents[%llu].%s: NULL", index, part);
      if (tensor->storage()->context() != context_ || !tensor->same_shape(record.parameter) ||
          tensor->dtype() != record.parameter.dtype()) {
        fail(ADN_STATUS_INVALID_ARGUMENT,
             "cotangents[%llu].%s: %s of shape %s, expected %s of shape %s on the "
             "optimizer's context",
             index, part, dtype_name(tensor->dtype()), ShapeText(tensor->shape(), tensor->rank()).text,
             dtype_name(record.parameter.dtype()), ShapeText(record.parameter.shape(), record.parameter.rank()).text);
      }
    }
  }
  for (const Record& record : records) {
    const Cotangent& c = cotangents[record.index];
    const bool complex = record.parameter.dtype() == ADN_DTYPE_COMPLEX64;
    adn_adadelta_vjp vjp = {};
    vjp.p = record.parameter.data();
    vjp.g = record.gradient.data();
    vjp.v = record.square_avg.data();
    vjp.u = record.acc_delta.data();
    vjp.p_bar = c.parameter->data();
    vjp.g_bar = c.gradient->data();
    vjp.v_bar = c.square_avg->data();
    vjp.u_bar = c.acc_delta->data();
    vjp.count = complex ? 2 * record.parameter.count() : record.parameter.count();
    vjp.dtype = complex ? ADN_DTYPE_FLOAT32 : record.parameter.dtype();
    double unwanted = 0;
    context_->call(&adn_backend::adadelta_vjp,
                   lr_gradients == nullptr ? &unwanted : lr_gradients + slots_[record.index].group, context_->device(),
                   static_cast<const adn_adadelta_vjp*>(&vjp), static_cast<const adn_adadelta_group*>(&record.group));
  }
  tape_.pop_back();
}

adn_adadelta_result Adadelta::result() const {
  adn_adadelta_result result = {};
  context_->call(&adn_backend::adadelta_result, &result, backend_optimizer_);
  return result;
}

const Adadelta::Slot& Adadelta::slot(uint64_t index) const {
  if (index >= slots_.size()) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "index: %llu, expected 0 <= index < %zu, the optimizer's parameters",
         static_cast<ull>(index), slots_.size());
  }
  return slots_[index];
}

uint64_t Adadelta::parameter_step(uint64_t index) const {
  static_cast<void>(slot(index));
  uint64_t step = 0;
  context_->call(&adn_backend::read, static_cast<void*>(&step), context_->device(),
                 static_cast<const void*>(pieces_[index].step), uint64_t{sizeof step});
  return step;
}

void Adadelta::set_parameter_step(uint64_t index, uint64_t step) {
  static_cast<void>(slot(index));
  context_->call(&adn_backend::write, context_->device(), static_cast<void*>(pieces_[index].step),
                 static_cast<const void*>(&step), uint64_t{sizeof step});
}

uint64_t Adadelta::step_count() const {
  uint64_t most = 0;
  for (uint64_t i = 0; i < slots_.size(); ++i) most = std::max(most, parameter_step(i));
  return most;
}

void Adadelta::set_step_count(uint64_t step) {
  for (uint64_t i = 0; i < slots_.size(); ++i) set_parameter_step(i, step);
}

}  // namespace adn
