// What a tensor core makes of a float32 that it takes as TF32: 10 bits of the 23, rounded to the nearest.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace cudasim {

inline float to_tf32(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (std::isfinite(value)) bits = (bits + 0x1000u) & ~0x1FFFu;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

}  // namespace cudasim
