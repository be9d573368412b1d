// Failures inside the library: a message in a thread-local buffer, and a status thrown to the ABI's guard.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <exception>
#include <new>
#include <type_traits>

#include "adadelta/adadelta.h"

namespace adn {

struct Error {
  adn_status status;
};

// The last message of this thread; never allocated.
const char* last_error() noexcept;
void set_error(const char* format, ...) noexcept __attribute__((format(printf, 1, 2)));

// Leaves the message "argument: value, expected bound" or the like, and throws Error.
[[noreturn]] void fail(adn_status status, const char* format, ...) __attribute__((format(printf, 2, 3)));

// A number for a message: printf also writes the sign of a NaN, and .NET's NaN would be -nan.
inline double shown(double value) { return value == value ? value : __builtin_nan(""); }

// Refuses NULL for an argument that needs an object or memory, and an address that is not aligned to what lies there.
template <class T>
void require(const T* pointer, const char* name) {
  if (pointer == nullptr) fail(ADN_STATUS_INVALID_ARGUMENT, "%s: NULL", name);
  if constexpr (!std::is_void_v<T>) {
    if (reinterpret_cast<uintptr_t>(pointer) % alignof(T) != 0) {
      fail(ADN_STATUS_INVALID_ARGUMENT, "%s: %p, expected a multiple of %zu, the alignment of its elements", name,
           static_cast<const void*>(pointer), alignof(T));
    }
  }
}

// Runs the body of an exported function: what it throws becomes a status, and goes no further.
template <class Body>
adn_status guard(Body&& body) noexcept {
  try {
    body();
    return ADN_STATUS_OK;
  } catch (const Error& error) {
    return error.status;
  } catch (const std::bad_alloc&) {
    set_error("out of memory");
    return ADN_STATUS_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    set_error("internal error: %s", error.what());
    return ADN_STATUS_INTERNAL_ERROR;
  } catch (...) {
    set_error("internal error");
    return ADN_STATUS_INTERNAL_ERROR;
  }
}

}  // namespace adn
