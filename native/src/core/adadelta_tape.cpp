// Steps that are recorded, and their derivatives.
#include <algorithm>
#include <utility>

#include "core/adadelta.h"

namespace adn {
namespace {

using ull = unsigned long long;

}  // namespace

bool Adadelta::records() const {
  return std::any_of(options_.begin(), options_.end(), [](const auto& o) { return o.differentiable != 0; });
}

// Makes room for what the step is about to read, for the groups that are differentiable.
void Adadelta::prepare_record() {
  pending_.clear();
  for (uint64_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (options_[slot.group].differentiable == 0 || !slot.gradient) continue;
    if (pass_.gradient_scale != 1 || pass_.clip_norm != 0 || pass_.skip_nonfinite != 0) {
      fail(ADN_STATUS_INVALID_STATE,
           "step: group %llu is differentiable, expected pass options without gradient_scale, clip_norm and "
           "skip_nonfinite",
           static_cast<ull>(slot.group));
    }
    const auto room = [&] {
      return Tensor::zeros(context_, slot.parameter.dtype(), slot.parameter.shape(), slot.parameter.rank());
    };
    // Made before the record, as the state before its slot.
    const Tensor parameter = room(), gradient = room(), square_avg = room(), acc_delta = room();
    pending_.push_back({i, groups_[slot.group], parameter, gradient, square_avg, acc_delta});
  }
  if (!pending_.empty()) tape_.reserve(tape_.size() + 1);
}

void Adadelta::record() {
  for (Record& record : pending_) {
    const Slot& slot = slots_[record.index];
    record.group.lr = lr(slot.group);
    record.parameter.copy_from(slot.parameter);
    record.gradient.copy_from(*slot.gradient);
    record.square_avg.copy_from(slot.square_avg);
    record.acc_delta.copy_from(slot.acc_delta);
  }
}

void Adadelta::backward(double* lr_gradients, const std::vector<Cotangent>& cotangents) {
  if (tape_.empty()) fail(ADN_STATUS_INVALID_STATE, "backward: no recorded step");
  const std::vector<Record>& records = tape_.back();
  std::vector<const Tensor*> written;
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
      for (const Tensor* other : written) {
        if (tensor->overlaps(*other)) {
          fail(ADN_STATUS_INVALID_ARGUMENT,
               "cotangents[%llu].%s: memory of another of them, expected memory of its own", index, part);
        }
      }
      written.push_back(&*tensor);
    }
  }
  for (const Tensor* tensor : written) tensor->storage()->touch();
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

}  // namespace adn
