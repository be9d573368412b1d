// The two 16-bit floats as their bits, and their exact conversions: to float32 without loss, from it to the nearest, ties to
// even, NaN staying NaN. Taken by the host compiler and by nvcc; written without branches, so that loops become vectors.
#pragma once

#include <cstdint>

#include "core/philox.h"  // ADN_HOST_DEVICE

namespace adn {

struct Half {  // IEEE binary16: 5 bits of exponent, 10 of fraction
  uint16_t bits;
};
struct BFloat16 {  // the upper half of a float32
  uint16_t bits;
};

ADN_HOST_DEVICE uint32_t float_bits(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}
ADN_HOST_DEVICE float float_of_bits(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

ADN_HOST_DEVICE float to_float(Half x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(x.bits & 0x7fffu) << 13;
  // Normal numbers need another bias (127 - 15), infinity and NaN twice that. A subnormal's fraction becomes that of a number
  // in [2^-14, 2^-13), from which 2^-14 is taken off.
  const uint32_t normal = magnitude + (112u << 23) + (magnitude >= (31u << 23) ? 112u << 23 : 0u);
  const uint32_t subnormal = float_bits(float_of_bits(magnitude + (113u << 23)) - float_of_bits(113u << 23));
  return float_of_bits(sign | (magnitude < (1u << 23) ? subnormal : normal));
}

ADN_HOST_DEVICE float to_float(BFloat16 x) { return float_of_bits(static_cast<uint32_t>(x.bits) << 16); }
ADN_HOST_DEVICE float to_float(float x) { return x; }

ADN_HOST_DEVICE void from_float(Half& to, float x) {
  const uint32_t bits = float_bits(x), sign = bits & 0x80000000u, magnitude = bits ^ sign;
  // Half a unit less one, and one more when the last bit kept is odd: a carry rounds to even, and up into infinity.
  const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // The last place of 0.5 is half's least number, so the addition rounds there.
  const uint32_t subnormal = float_bits(float_of_bits(magnitude) + 0.5f) - float_bits(0.5f);
  const uint32_t beyond = magnitude > (255u << 23) ? 0x7e00u : 0x7c00u;
  const uint32_t finite = magnitude < (113u << 23) ? subnormal : normal;
  to.bits = static_cast<uint16_t>(sign >> 16 | (magnitude >= (143u << 23) ? beyond : finite));
}

ADN_HOST_DEVICE void from_float(BFloat16& to, float x) {
  const uint32_t bits = float_bits(x);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  to.bits = static_cast<uint16_t>((bits & 0x7fffffffu) > (255u << 23) ? 0x7fc0u : rounded);
}

ADN_HOST_DEVICE void from_float(float& to, float x) { to = x; }

}  // namespace adn
