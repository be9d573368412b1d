// The CPU backend's memory.
#pragma once

#include <cstdint>

namespace adn::cpu {

// Memory for floats, on cache lines. Zeroed.
class Floats {
 public:
  Floats() = default;
  explicit Floats(uint64_t count);
  ~Floats();
  Floats(Floats&& other) noexcept;
  Floats& operator=(Floats&& other) noexcept;
  float* data() const { return data_; }
  uint64_t count() const { return count_; }
  // Gives the memory up, to be handed to free later.
  float* release();
  static void free(float* data);

 private:
  float* data_ = nullptr;
  uint64_t count_ = 0;
};

}  // namespace adn::cpu
