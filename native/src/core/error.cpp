#include "core/error.h"

#include <cstdio>

namespace adn {
namespace {

thread_local char message[1024];

void format_message(const char* format, va_list arguments) noexcept {
  std::vsnprintf(message, sizeof message, format, arguments);
}

}  // namespace

const char* last_error() noexcept { return message; }

void set_error(const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  format_message(format, arguments);
  va_end(arguments);
}

void fail(adn_status status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  format_message(format, arguments);
  va_end(arguments);
  throw Error{status};
}

}  // namespace adn
