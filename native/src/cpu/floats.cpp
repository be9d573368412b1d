#include "cpu/floats.h"

#include <cstdlib>
#include <utility>

#include "core/error.h"

namespace adn::cpu {
namespace {

constexpr uintptr_t kCacheLine = 64;

}  // namespace

// calloc, since the system's fresh pages are zero already: clearing them here would touch all of them before the first step, and
// those that no batch comes to stay with the system. The block's own address stands before its first cache line.
Floats::Floats(uint64_t count) : count_(count) {
  if (count == 0) return;
  void* const block = std::calloc(count + 2 * kCacheLine / sizeof(float), sizeof(float));
  if (block == nullptr) {
    fail(ADN_STATUS_OUT_OF_MEMORY, "out of memory: %llu bytes", static_cast<unsigned long long>(count * sizeof(float)));
  }
  const uintptr_t first = reinterpret_cast<uintptr_t>(block) + sizeof(void*) + kCacheLine - 1;
  data_ = reinterpret_cast<float*>(first / kCacheLine * kCacheLine);
  reinterpret_cast<void**>(data_)[-1] = block;
}

Floats::~Floats() { free(data_); }

void Floats::free(float* data) {
  if (data != nullptr) std::free(reinterpret_cast<void**>(data)[-1]);
}

float* Floats::release() {
  count_ = 0;
  return std::exchange(data_, nullptr);
}

Floats::Floats(Floats&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}

Floats& Floats::operator=(Floats&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(count_, other.count_);
  return *this;
}

}  // namespace adn::cpu
