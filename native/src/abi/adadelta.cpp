// The optimizer of the C ABI.
#include "abi/objects.h"
#include "core/options.h"

using namespace adn;

namespace {

const Tensor& tensor_at(adn_tensor* const* handles, uint64_t index, const char* name) {
  if (handles[index] == nullptr) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "%s[%llu]: NULL", name, static_cast<unsigned long long>(index));
  }
  return handles[index]->impl;
}

std::optional<Tensor> tensor_or_none(const adn_tensor* handle) {
  return handle == nullptr ? std::nullopt : std::optional<Tensor>(handle->impl);
}

void check_count(const char* name, uint64_t count, uint64_t expected, const char* what) {
  if (count != expected) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "%s: %llu, expected %llu, the optimizer's %s", name,
         static_cast<unsigned long long>(count), static_cast<unsigned long long>(expected), what);
  }
}

// From here on the optimizer and the tensor, with all that shares its memory, count as one object. The caller holds both.
void join(const Adadelta& optimizer, const adn_tensor* tensor) {
  if (tensor != nullptr) UseFlag::join(optimizer.use(), tensor->impl.storage()->use());
}

// A new handle, or NULL for nothing.
std::unique_ptr<adn_tensor> handle_of(const std::optional<Tensor>& tensor) {
  return tensor ? std::make_unique<adn_tensor>(adn_tensor{*tensor}) : nullptr;
}

}  // namespace

extern "C" {

adn_status adn_adadelta_options_init(adn_adadelta_options* options, uint32_t struct_size) noexcept {
  return guard([&] {
    require(options, "options");
    write_struct(options, struct_size, default_adadelta_options(), "options");
  });
}

adn_status adn_adadelta_options_preset(adn_adadelta_options* options, uint32_t struct_size, int32_t preset) noexcept {
  return guard([&] {
    require(options, "options");
    write_struct(options, struct_size, preset_adadelta_options(preset), "options");
  });
}

adn_status adn_adadelta_create(adn_adadelta** optimizer, adn_context* context,
                               const adn_adadelta_options* options) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    require(context, "context");
    adn_adadelta_options known = default_adadelta_options();
    if (options != nullptr) known = read_struct(options, known, "options");
    *optimizer = new adn_adadelta(context->impl, known);
  });
}

void adn_adadelta_destroy(adn_adadelta* optimizer) noexcept { delete optimizer; }

adn_status adn_adadelta_add_group(uint64_t* group, adn_adadelta* optimizer, adn_tensor* const* parameters,
                                  adn_tensor* const* gradients, uint64_t count,
                                  const adn_adadelta_options* options) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    Use use(optimizer->impl.use(), "optimizer");
    if (count == 0) fail(ADN_STATUS_INVALID_ARGUMENT, "count: 0, expected >= 1 parameter in a group");
    adn_adadelta_options known = optimizer->impl.defaults();
    if (options != nullptr) known = read_struct(options, known, "options");
    require(parameters, "parameters");
    require(gradients, "gradients");
    std::vector<Tensor> values;
    std::vector<Adadelta::Gradient> slopes;
    for (uint64_t i = 0; i < count; ++i) {
      values.push_back(tensor_at(parameters, i, "parameters"));
      slopes.push_back(tensor_or_none(gradients[i]));
      use.add(values.back().storage()->use(), "parameters");
      if (slopes.back()) use.add(slopes.back()->storage()->use(), "gradients");
    }
    const uint64_t added = optimizer->impl.add_group(values, slopes, known);
    for (uint64_t i = 0; i < count; ++i) {
      join(optimizer->impl, parameters[i]);
      join(optimizer->impl, gradients[i]);
    }
    if (group != nullptr) *group = added;
  });
}

adn_status adn_adadelta_get_group_count(uint64_t* count, const adn_adadelta* optimizer) noexcept {
  return guard([&] {
    require(count, "count");
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    *count = optimizer->impl.group_count();
  });
}

adn_status adn_adadelta_get_options(adn_adadelta_options* options, const adn_adadelta* optimizer,
                                    uint64_t group) noexcept {
  return guard([&] {
    require(options, "options");
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    write_struct(options, options->struct_size, optimizer->impl.options(group), "options");
  });
}

adn_status adn_adadelta_set_options(adn_adadelta* optimizer, uint64_t group,
                                    const adn_adadelta_options* options) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    require(options, "options");
    optimizer->impl.set_options(group, read_struct(options, optimizer->impl.options(group), "options"));
  });
}

adn_status adn_adadelta_get_parameter_count(uint64_t* count, const adn_adadelta* optimizer) noexcept {
  return guard([&] {
    require(count, "count");
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    *count = optimizer->impl.parameter_count();
  });
}

adn_status adn_adadelta_set_gradient(adn_adadelta* optimizer, uint64_t index, adn_tensor* gradient) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    Use use(optimizer->impl.use(), "optimizer");
    if (gradient != nullptr) use.add(gradient->impl.storage()->use(), "gradient");
    optimizer->impl.set_gradient(index, tensor_or_none(gradient));
    join(optimizer->impl, gradient);
  });
}

adn_status adn_adadelta_set_lr_tensor(adn_adadelta* optimizer, uint64_t group, adn_tensor* lr) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    Use use(optimizer->impl.use(), "optimizer");
    if (lr != nullptr) use.add(lr->impl.storage()->use(), "lr");
    optimizer->impl.set_lr_tensor(group, tensor_or_none(lr));
    join(optimizer->impl, lr);
  });
}

adn_status adn_adadelta_get_lr(double* lr, const adn_adadelta* optimizer, uint64_t group) noexcept {
  return guard([&] {
    require(lr, "lr");
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    *lr = optimizer->impl.lr(group);
  });
}

adn_status adn_adadelta_set_lr(adn_adadelta* optimizer, uint64_t group, double lr) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    optimizer->impl.set_lr(group, lr);
  });
}

adn_status adn_adadelta_pass_options_init(adn_adadelta_pass_options* options, uint32_t struct_size) noexcept {
  return guard([&] {
    require(options, "options");
    write_struct(options, struct_size, default_adadelta_pass_options(), "options");
  });
}

adn_status adn_adadelta_get_pass_options(adn_adadelta_pass_options* options, const adn_adadelta* optimizer) noexcept {
  return guard([&] {
    require(options, "options");
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    write_struct(options, options->struct_size, optimizer->impl.pass_options(), "options");
  });
}

adn_status adn_adadelta_set_pass_options(adn_adadelta* optimizer, const adn_adadelta_pass_options* options) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    require(options, "options");
    optimizer->impl.set_pass_options(read_struct(options, optimizer->impl.pass_options(), "options"));
  });
}

adn_status adn_adadelta_step(adn_adadelta* optimizer) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    optimizer->impl.step();
  });
}

adn_status adn_adadelta_get_report(adn_adadelta_report* report, const adn_adadelta* optimizer) noexcept {
  return guard([&] {
    require(report, "report");
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    const adn_adadelta_result result = optimizer->impl.result();
    write_struct(report, report->struct_size,
                 adn_adadelta_report{sizeof(adn_adadelta_report), result.nonfinite, result.norm}, "report");
  });
}

adn_status adn_adadelta_get_state(adn_tensor** square_avg, adn_tensor** acc_delta, const adn_adadelta* optimizer,
                                  uint64_t index) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    auto v = handle_of(optimizer->impl.slot(index).square_avg);
    auto u = handle_of(optimizer->impl.slot(index).acc_delta);
    if (square_avg != nullptr) *square_avg = v.release();
    if (acc_delta != nullptr) *acc_delta = u.release();
  });
}

adn_status adn_adadelta_get_weights(adn_tensor** master, adn_tensor** average, const adn_adadelta* optimizer,
                                    uint64_t index) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    auto m = handle_of(optimizer->impl.slot(index).master);
    auto a = handle_of(optimizer->impl.slot(index).average);
    if (master != nullptr) *master = m.release();
    if (average != nullptr) *average = a.release();
  });
}

adn_status adn_adadelta_get_parameter_step(uint64_t* step, const adn_adadelta* optimizer, uint64_t index) noexcept {
  return guard([&] {
    require(step, "step");
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    *step = optimizer->impl.parameter_step(index);
  });
}

adn_status adn_adadelta_set_parameter_step(adn_adadelta* optimizer, uint64_t index, uint64_t step) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    optimizer->impl.set_parameter_step(index, step);
  });
}

adn_status adn_adadelta_get_step(uint64_t* step, const adn_adadelta* optimizer) noexcept {
  return guard([&] {
    require(step, "step");
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    *step = optimizer->impl.step_count();
  });
}

adn_status adn_adadelta_set_step(adn_adadelta* optimizer, uint64_t step) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    optimizer->impl.set_step_count(step);
  });
}

adn_status adn_adadelta_get_tape_length(uint64_t* length, const adn_adadelta* optimizer) noexcept {
  return guard([&] {
    require(length, "length");
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    *length = optimizer->impl.tape_length();
  });
}

adn_status adn_adadelta_backward(double* lr_gradients, uint64_t lr_count, adn_adadelta* optimizer,
                                 const adn_adadelta_cotangent* cotangents, uint64_t cotangent_count) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    Use use(optimizer->impl.use(), "optimizer");
    const Adadelta& o = optimizer->impl;
    if (lr_gradients != nullptr || lr_count != 0) {
      require(lr_gradients, "lr_gradients");
      check_count("lr_count", lr_count, o.group_count(), "groups");
    }
    check_count("cotangent_count", cotangent_count, o.parameter_count(), "parameters");
    std::vector<Adadelta::Cotangent> list;
    for (uint64_t i = 0; i < cotangent_count; ++i) {
      require(cotangents, "cotangents");
      const adn_adadelta_cotangent& c = cotangents[i];
      for (const adn_tensor* tensor : {c.parameter, c.gradient, c.square_avg, c.acc_delta}) {
        if (tensor != nullptr) use.add(tensor->impl.storage()->use(), "cotangents");
      }
      list.push_back({tensor_or_none(c.parameter), tensor_or_none(c.gradient), tensor_or_none(c.square_avg),
                      tensor_or_none(c.acc_delta)});
    }
    optimizer->impl.backward(lr_gradients, list);
  });
}

adn_status adn_adadelta_clear_tape(adn_adadelta* optimizer) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    const Use use(optimizer->impl.use(), "optimizer");
    optimizer->impl.clear_tape();
  });
}

}  // extern "C"
