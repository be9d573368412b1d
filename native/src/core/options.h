// Option structs that grow: a caller's struct_size decides how much of it is read and written.
#pragma once

#include <cstring>

#include "core/error.h"

namespace adn {

// The least struct any caller can have: struct_size and one more field.
constexpr uint32_t kLeastStructSize = 8;

inline void check_struct_size(uint32_t size, const char* name) {
  if (size < kLeastStructSize || size % 4 != 0 || size > 65536) {
    fail(ADN_STATUS_INVALID_ARGUMENT, "%s.struct_size: %u, expected a multiple of 4, %u <= struct_size <= 65536", name,
         size, kLeastStructSize);
  }
}

inline void check_flag(int32_t value, const char* name, const char* field) {
  if (value != 0 && value != 1) fail(ADN_STATUS_INVALID_ARGUMENT, "%s.%s: %d, expected 0 or 1", name, field, value);
}

// The part of T that both sides know, in whole fields.
template <class T>
size_t known_size(uint32_t size) {
  return size >= sizeof(T) ? sizeof(T) : size / alignof(T) * alignof(T);
}

// Writes value into the caller's struct of `size` bytes; what the caller has beyond T is zeroed.
template <class T>
void write_struct(T* out, uint32_t size, const T& value, const char* name) {
  check_struct_size(size, name);
  std::memset(static_cast<void*>(out), 0, size);
  std::memcpy(static_cast<void*>(out), &value, known_size<T>(size));
  out->struct_size = size;
}

// Reads the caller's struct over `defaults`.
template <class T>
T read_struct(const T* in, T defaults, const char* name) {
  const uint32_t size = in->struct_size;
  check_struct_size(size, name);
  const unsigned char* bytes = reinterpret_cast<const unsigned char*>(in);
  for (uint32_t i = sizeof(T); i < size; ++i) {
    if (bytes[i] != 0) {
      fail(ADN_STATUS_INVALID_ARGUMENT,
           "%s: byte %u of %u is not zero, expected zeros from byte %u on: this library is older", name, i, size,
           static_cast<unsigned>(sizeof(T)));
    }
  }
  std::memcpy(static_cast<void*>(&defaults), in, known_size<T>(size));
  defaults.struct_size = sizeof(T);
  return defaults;
}

}  // namespace adn
