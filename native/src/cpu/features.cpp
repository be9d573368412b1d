#include "cpu/features.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>
#endif

#include "adadelta/adadelta.h"
#include "cpu/cgroup.h"

namespace adn::cpu {

bool has_instruction_set(int32_t instruction_set) {
  switch (instruction_set) {
    case ADN_INSTRUCTION_SET_BASELINE:
      return true;
#if defined(ADN_HAVE_AVX2)
    // The compiler's functions also ask the system whether it saves the registers.
    case ADN_INSTRUCTION_SET_AVX2:
      return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
#endif
#if defined(ADN_HAVE_AVX512)
    case ADN_INSTRUCTION_SET_AVX512:
      return has_instruction_set(ADN_INSTRUCTION_SET_AVX2) && __builtin_cpu_supports("avx512f") != 0 &&
             __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
             __builtin_cpu_supports("avx512vl") != 0;
#endif
    default:
      return false;
  }
}

const char* instruction_set_name(int32_t instruction_set) {
  switch (instruction_set) {
    case ADN_INSTRUCTION_SET_AVX2:
      return "AVX2+FMA";
    case ADN_INSTRUCTION_SET_AVX512:
      return "AVX-512";
    default:
#if defined(__aarch64__)
      return "NEON";
#else
      return "baseline";
#endif
  }
}

const Kernels& kernels_for(int32_t instruction_set) {
  switch (instruction_set) {
#if defined(ADN_HAVE_AVX2)
    case ADN_INSTRUCTION_SET_AVX2:
      return avx2_kernels();
#endif
#if defined(ADN_HAVE_AVX512)
    case ADN_INSTRUCTION_SET_AVX512:
      return avx512_kernels();
#endif
    default:
      return baseline_kernels();
  }
}

namespace {

uint32_t allowed_cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<uint32_t>(CPU_COUNT(&set));
#endif
  const unsigned count = std::thread::hardware_concurrency();
  return count == 0 ? 1 : count;
}

}  // namespace

uint32_t available_cores() {
  const double quota = cgroup_quota("/proc/self/cgroup", "/sys/fs/cgroup");
  const auto whole = static_cast<uint32_t>(std::ceil(std::min(quota, 1e6)));
  return std::max(1u, std::min(allowed_cores(), whole));
}

void device_name(char* name, uint64_t size) {
  std::snprintf(name, size, "CPU");
#if defined(__x86_64__) || defined(_M_X64)
  unsigned words[12] = {};
  unsigned highest = __get_cpuid_max(0x80000000u, nullptr);
  if (highest < 0x80000004u) return;
  for (unsigned i = 0; i < 3; ++i) {
    __get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2], &words[4 * i + 3]);
  }
  char brand[sizeof words + 1] = {};
  std::memcpy(brand, words, sizeof words);
  const char* start = brand + std::strspn(brand, " ");
  size_t length = std::strlen(start);
  while (length > 0 && start[length - 1] == ' ') --length;
  if (length > 0) std::snprintf(name, size, "%.*s", static_cast<int>(length), start);
#endif
}

}  // namespace adn::cpu
