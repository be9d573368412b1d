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
    }
    const uint64_t added = optimizer->impl.add_group(values, slopes, known);
    if (group != nullptr) *group = added;
  });
}

adn_status adn_adadelta_get_group_count(uint64_t* count, const adn_adadelta* optimizer) noexcept {
  return guard([&] {
    require(count, "count");
    require(optimizer, "optimizer");
    *count = optimizer->impl.group_count();
  });
}

adn_status adn_adadelta_get_options(adn_adadelta_options* options, const adn_adadelta* optimizer,
                                    uint64_t group) noexcept {
  return guard([&] {
    require(options, "options");
    require(optimizer, "optimizer");
    write_struct(options, options->struct_size, optimizer->impl.options(group), "options");
  });
}

adn_status adn_adadelta_set_options(adn_adadelta* optimizer, uint64_t group,
                                    const adn_adadelta_options* options) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    require(options, "options");
    optimizer->impl.set_options(group, read_struct(options, optimizer->impl.options(group), "options"));
  });
}

adn_status adn_adadelta_get_parameter_count(uint64_t* count, const adn_adadelta* optimizer) noexcept {
  return guard([&] {
    require(count, "count");
    require(optimizer, "optimizer");
    *count = optimizer->impl.parameter_count();
  });
}

adn_status adn_adadelta_set_gradient(adn_adadelta* optimizer, uint64_t index, adn_tensor* gradient) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    optimizer->impl.set_gradient(index, tensor_or_none(gradient));
  });
}

adn_status adn_adadelta_set_lr_tensor(adn_adadelta* optimizer, uint64_t group, adn_tensor* lr) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    optimizer->impl.set_lr_tensor(group, tensor_or_none(lr));
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
    write_struct(options, options->struct_size, optimizer->impl.pass_options(), "options");
  });
}

adn_status adn_adadelta_set_pass_options(adn_adadelta* optimizer, const adn_adadelta_pass_options* options) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    require(options, "options");
    optimizer->impl.set_pass_options(read_struct(options, optimizer->impl.pass_options(), "options"));
  });
}

adn_status adn_adadelta_step(adn_adadelta* optimizer) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    optimizer->impl.step();
  });
}

adn_status adn_adadelta_get_report(adn_adadelta_report* report, const adn_adadelta* optimizer) noexcept {
  return guard([&] {
    require(report, "report");
    require(optimizer, "optimizer");
    const adn_adadelta_result result = optimizer->impl.result();
    write_struct(report, report->struct_size,
                 adn_adadelta_report{sizeof(adn_adadelta_report), result.nonfinite, result.norm}, "report");
  });
}

adn_status adn_adadelta_get_state(adn_tensor** square_avg, adn_tensor** acc_delta, const adn_adadelta* optimizer,
                                  uint64_t index) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
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
    *step = optimizer->impl.parameter_step(index);
  });
}

adn_status adn_adadelta_set_parameter_step(adn_adadelta* optimizer, uint64_t index, uint64_t step) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    optimizer->impl.set_parameter_step(index, step);
  });
}

adn_status adn_adadelta_get_step(uint64_t* step, const adn_adadelta* optimizer) noexcept {
  return guard([&] {
    require(step, "step");
    require(optimizer, "optimizer");
    *step = optimizer->impl.step_count();
  });
}

adn_status adn_adadelta_set_step(adn_adadelta* optimizer, uint64_t step) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    optimizer->impl.set_step_count(step);
  });
}

}  // extern "C"
