// The optimizer of the C ABI.
#include "abi/objects.h"
#include "core/options.h"

using namespace adn;

namespace {

std::vector<Tensor> tensors(adn_tensor* const* handles, uint64_t count, const char* name) {
  require(handles, name);
  std::vector<Tensor> list;
  list.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    if (handles[i] == nullptr) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "%s[%llu]: NULL", name, static_cast<unsigned long long>(i));
    }
    list.push_back(handles[i]->impl);
  }
  return list;
}

}  // namespace

extern "C" {

adn_status adn_adadelta_options_init(adn_adadelta_options* options, uint32_t struct_size) noexcept {
  return guard([&] {
    require(options, "options");
    write_struct(options, struct_size, default_adadelta_options(), "options");
  });
}

adn_status adn_adadelta_create(adn_adadelta** optimizer, adn_context* context,
                               const adn_adadelta_options* options) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    require(context, "context");
    adn_adadelta_options known = default_adadelta_options();
    if (options != nullptr) known = read_struct(options, known, "options");
    *optimizer = new adn_adadelta{Adadelta(context->impl, known)};
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
    const uint64_t added = optimizer->impl.add_group(tensors(parameters, count, "parameters"),
                                                     tensors(gradients, count, "gradients"), known);
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

adn_status adn_adadelta_step(adn_adadelta* optimizer) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    optimizer->impl.step();
  });
}

adn_status adn_adadelta_get_state(adn_tensor** square_avg, adn_tensor** acc_delta, const adn_adadelta* optimizer,
                                  uint64_t index) noexcept {
  return guard([&] {
    require(optimizer, "optimizer");
    auto v = std::make_unique<adn_tensor>(adn_tensor{optimizer->impl.square_avg(index)});
    auto u = std::make_unique<adn_tensor>(adn_tensor{optimizer->impl.acc_delta(index)});
    if (square_avg != nullptr) *square_avg = v.release();
    if (acc_delta != nullptr) *acc_delta = u.release();
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
