#include "core/adadelta.h"

#include <cmath>

namespace adn {
namespace {

using ull = unsigned long long;

void check_not_negative(double value, const char* name, const char* field) {
  if (!(std::isfinite(value) && value >= 0)) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "%s.%s: %g, expected a finite %s >= 0", name, field, value, field);
  }
}

bool overlap(const Tensor& a, const Tensor& b) {
  return a.storage() == b.storage() && a.offset() < b.offset() + b.count() && b.offset() < a.offset() + a.count();
}

}  // namespace

adn_adadelta_options default_adadelta_options() { return {sizeof(adn_adadelta_options), 0, 1.0, 0.9, 1e-6, 0.0}; }

void check_adadelta_options(const adn_adadelta_options& options, const char* name) {
  check_not_negative(options.lr, name, "lr");
  if (!(options.rho >= 0 && options.rho <= 1)) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "%s.rho: %g, expected 0 <= rho <= 1", name, options.rho);
  }
  check_not_negative(options.eps, name, "eps");
  check_not_negative(options.weight_decay, name, "weight_decay");
  if (options.maximize != 0 && options.maximize != 1) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "%s.maximize: %d, expected 0 or 1", name, options.maximize);
  }
}

Adadelta::Adadelta(std::shared_ptr<Context> context, const adn_adadelta_options& defaults)
    : context_(std::move(context)), defaults_(defaults) {
  check_adadelta_options(defaults, "options");
}

uint64_t Adadelta::add_group(const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients,
                             const adn_adadelta_options& options) {
  check_adadelta_options(options, "options");
  std::vector<Slot> slots = slots_;
  std::vector<adn_adadelta_piece> pieces = pieces_;
  uint64_t start = pieces.empty() ? 0 : pieces.back().start + pieces.back().count;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& p = parameters[i];
    const Tensor& g = gradients[i];
    if (p.storage()->context() != context_) {
      fail(ADN_STATUS_INVALID_ARGUMENT,
           "parameters[%zu]: made from another context than the optimizer, expected the same", i);
    }
    if (g.storage()->context() != context_) {
      fail(ADN_STATUS_INVALID_ARGUMENT,
           "gradients[%zu]: made from another context than the optimizer, expected the same", i);
    }
    if (!p.same_shape(g)) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "gradients[%zu]: shape %s, expected %s, that of parameters[%zu]", i,
           ShapeText(g.shape(), g.rank()).text, ShapeText(p.shape(), p.rank()).text, i);
    }
    if (overlap(p, g)) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "gradients[%zu]: the memory of parameters[%zu], expected memory of its own", i,
           i);
    }
    for (size_t j = 0; j < slots.size(); ++j) {
      if (overlap(p, slots[j].parameter)) {
        fail(ADN_STATUS_INVALID_ARGUMENT, "parameters[%zu]: already parameter %zu of the optimizer, expected each once",
             i, j);
      }
    }
    slots.push_back({p, g, Tensor::zeros(context_, p.shape(), p.rank()), Tensor::zeros(context_, p.shape(), p.rank())});
    pieces.push_back({p.data(), g.data(), slots.back().square_avg.data(), slots.back().acc_delta.data(), p.count(),
                      start, options_.size()});
    start += p.count();
  }
  options_.push_back(options);
  slots_ = std::move(slots);
  pieces_ = std::move(pieces);
  return options_.size() - 1;
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
  options_[group] = options;
}

void Adadelta::step() {
  context_->call(&adn_backend::adadelta_step, context_->device(),
                 static_cast<const adn_adadelta_piece*>(pieces_.data()), uint64_t{pieces_.size()},
                 static_cast<const adn_adadelta_options*>(options_.data()));
  for (const Slot& slot : slots_) slot.parameter.storage()->touch();
  ++step_;
}

const Adadelta::Slot& Adadelta::slot(uint64_t index) const {
  if (index >= slots_.size()) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "index: %llu, expected 0 <= index < %zu, the optimizer's parameters",
         static_cast<ull>(index), slots_.size());
  }
  return slots_[index];
}

}  // namespace adn
