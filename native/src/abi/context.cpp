// Versions, errors and contexts of the C ABI.
#include "core/context.h"

#include "core/options.h"
#include "core/tensor.h"

using namespace adn;

extern "C" {

uint32_t adn_abi_version(void) noexcept { return ADN_ABI_VERSION; }

const char* adn_version(void) noexcept { return ADN_VERSION_STRING; }

const char* adn_last_error(void) noexcept { return last_error(); }

const char* adn_status_name(adn_status status) noexcept {
  switch (status) {
    case ADN_STATUS_OK:
      return "ok";
    case ADN_STATUS_INVALID_ARGUMENT:
      return "invalid argument";
    case ADN_STATUS_INVALID_STATE:
      return "invalid state";
    case ADN_STATUS_UNSUPPORTED:
      return "unsupported";
    case ADN_STATUS_OUT_OF_MEMORY:
      return "out of memory";
    case ADN_STATUS_DEVICE_ERROR:
      return "device error";
    case ADN_STATUS_INTERNAL_ERROR:
      return "internal error";
    default:
      return "unknown status";
  }
}

adn_status adn_context_options_init(adn_context_options* options, uint32_t struct_size) noexcept {
  return guard([&] {
    require(options, "options");
    write_struct(options, struct_size, adn_context_options{}, "options");
  });
}

adn_status adn_context_create(adn_context** context, const adn_context_options* options) noexcept {
  return guard([&] {
    require(context, "context");
    adn_context_options known = {};
    if (options != nullptr) known = read_struct(options, known, "options");
    *context = new adn_context{std::make_shared<Context>(known)};
  });
}

void adn_context_destroy(adn_context* context) noexcept { delete context; }

adn_status adn_context_get_info(adn_context_info* info, const adn_context* context) noexcept {
  return guard([&] {
    require(info, "info");
    require(context, "context");
    check_struct_size(info->struct_size, "info");
    adn_context_info known = {};
    context->impl->call(&adn_backend::device_info, &known, context->impl->device());
    write_struct(info, info->struct_size, known, "info");
  });
}

adn_status adn_context_synchronize(adn_context* context) noexcept {
  return guard([&] {
    require(context, "context");
    context->impl->synchronize();
  });
}

adn_status adn_backend_reason(const char** reason, const char* backend) noexcept {
  return guard([&] {
    require(reason, "reason");
    require(backend, "backend");
    const char* text = backend_reason(backend);
    if (text == nullptr) fail(ADN_STATUS_INVALID_ARGUMENT, "backend: \"%s\", expected \"cpu\" or \"cuda\"", backend);
    *reason = text;
  });
}

}  // extern "C"
