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
Tensor widened(const Tensor& from, const UseFlag::Pointer& use) {
  std::vector<From> elements(from.count());
  from.read_bytes(elements.data(), 0, from.bytes());
  std::vector<float> floats(from.count());
  std::transform(elements.begin(), elements.end(), floats.begin(), [](From x) { return to_float(x); });
  Tensor to = Tensor::zeros(from.storage()->context(), ADN_DTYPE_FLOAT32, from.shape(), from.rank(), use);
  to.write(floats.data(), floats.size());
  return to;
}

// A copy in the type that the step computes in.
Tensor wide_copy(const Tensor& from, const UseFlag::Pointer& use) {
  if (from.dtype() == ADN_DTYPE_FLOAT16) return widened<Half>(from, use);
  if (from.dtype() == ADN_DTYPE_BFLOAT16) return widened<BFloat16>(from, use);
  Tensor to = Tensor::zeros(from.storage()->context(), from.dtype(), from.shape(), from.rank(), use);
  to.copy_from(from);
  return to;
}

}  // namespace

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

// Makes or drops what the options keep beside the state.
void Adadelta::make_weights(Slot& slot, const adn_adadelta_options& options) const {
  if (options.master_weights == 0 || !is_16_bit(slot.parameter.dtype())) {
    slot.master.reset();
  } else if (!slot.master) {
    slot.master = wide_copy(slot.parameter, use_);
  }
  if (options.average_decay == 0) {
    slot.average.reset();
  } else if (!slot.average) {
    slot.average = wide_copy(slot.master ? *slot.master : slot.parameter, use_);
  }
}

// Makes the pieces of the slots and hands them to the backend; on failure the former ones stay.
void Adadelta::take(std::vector<Slot> slots) {
  std::vector<Storage*> written;
  for (const Slot& slot : slots) {
    Storage* storage = slot.parameter.storage().get();
    if (storage->has_copies() && std::find(written.begin(), written.end(), storage) == written.end()) {
      written.push_back(storage);
    }
  }
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
  written_ = std::move(written);
  prepared_ = true;
}

uint64_t Adadelta::add_group(const std::vector<Tensor>& parameters, const std::vector<Gradient>& gradients,
                             const adn_adadelta_options& options) {
  check_adadelta_options(options, "options");
  const uint64_t group = options_.size();
  std::vector<Slot> slots = slots_;
  const auto steps = std::make_shared<Storage>(context_, parameters.size() * sizeof(uint64_t), use_);
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
    check_adadelta_types(p.dtype(), options);
    // Made before the slot: where the second fails, GCC 11 would forget the first in a slot that is half made (its bug 66139).
    const Tensor square_avg = Tensor::zeros(context_, dtype, p.shape(), p.rank(), use_);
    const Tensor acc_delta = Tensor::zeros(context_, dtype, p.shape(), p.rank(), use_);
    slots.push_back({p, gradients[i], square_avg, acc_delta, std::nullopt, std::nullopt, steps, i, group});
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
    if (slot.group == group) check_adadelta_types(slot.parameter.dtype(), options);
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
  lr->read_bytes(is_wide ? static_cast<void*>(&wide) : &narrow, 0, lr->bytes());
  return is_wide ? wide : static_cast<double>(narrow);
}

void Adadelta::set_lr(uint64_t group, double lr) {
  check_group(group);
  check_lr(lr);
  if (auto& memory = lr_tensors_[group]) {
    const float narrow = static_cast<float>(lr);
    const bool is_wide = memory->dtype() == ADN_DTYPE_FLOAT64;
    memory->write_bytes(is_wide ? static_cast<const void*>(&lr) : &narrow, 0, memory->bytes());
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
  check_pass_options(options);
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

void Adadelta::step() { finish_step(prepare_step()); }

void Adadelta::finish_step(const adn_adadelta_pass& pass) {
  finish_step(pass, [&](void* optimizer, const adn_adadelta_pass* step_pass) {
    context_->call(&adn_backend::adadelta_step, optimizer, step_pass);
  });
}

adn_adadelta_pass Adadelta::prepare_step() {
  prepare_record();
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

bool Adadelta::updates(const Storage& storage) const {
  return std::find(written_.begin(), written_.end(), &storage) != written_.end();
}

void Adadelta::touch_written() const {
  for (Storage* storage : written_) storage->touch();
  if (pass_.zero_gradients == 0) return;
  // The gradient of one network's parameter may be a parameter of another.
  for (const Slot& slot : slots_) {
    if (slot.gradient && slot.gradient->storage()->has_copies()) slot.gradient->storage()->touch();
  }
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
