// Which thread may run a call on an object. The flag belongs to what is shared, not to a handle: a network, the tensors of its
// parameters and gradients, and every optimizer that was given one of them, with its state, count as one object and have one flag.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "core/error.h"

namespace adn {

class UseFlag {
 public:
  using Pointer = std::shared_ptr<UseFlag>;

  // Whether the flag was free and is now the caller's. A copy of the object that is being made is waited for, unless the caller
  // makes one itself: two that wait for each other would wait for ever.
  bool try_acquire(bool wait_for_copy) noexcept;
  // Waits for the call that runs on the object to end. The next call waits in turn, so that a thread which calls without a
  // pause, as training does, cannot keep the copy from being made.
  void acquire_for_copy() noexcept;
  void release() noexcept;

  // The flag that this one has been joined to, or itself.
  UseFlag& root() noexcept;

  // Makes two flags one for as long as either is used. The caller holds both.
  static void join(const Pointer& flag, const Pointer& other) noexcept;

 private:
  enum State : uint32_t { kFree, kInUse, kBeingCopied };

  std::atomic<uint32_t> state_{kFree};
  std::atomic<uint32_t> waiting_copies_{0};
  std::atomic<UseFlag*> next_{nullptr};
  Pointer keep_;        // keeps *next_ alive; written once, before next_
  uint32_t depth_ = 0;  // of the flags that lead here
};

// Holds the flags of the objects that a call works on. Two objects with one flag are held once.
class Use {
 public:
  Use() = default;
  // Fails with INVALID_STATE where another thread runs a call on the object; what: the argument's name.
  Use(const UseFlag::Pointer& flag, const char* what) { add(flag, what); }
  Use(const UseFlag::Pointer& flag, const char* what, const UseFlag::Pointer& other, const char* other_what)
      : Use(flag, what) {
    add(other, other_what);
  }
  ~Use();
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

  void add(const UseFlag::Pointer& flag, const char* what);
  // To read what the object holds between two calls: waits for the one that runs. Comes before every add.
  void add_for_copy(const UseFlag::Pointer& flag);

 private:
  bool holds(const UseFlag& root) const;
  void keep(UseFlag& root);

  // A call on more objects than this (only the derivative of a step and a group's tensors) allocates.
  static constexpr uint32_t kFew = 4;
  UseFlag* few_[kFew] = {};
  uint32_t count_ = 0;
  std::unique_ptr<UseFlag*[]> many_;
  uint32_t capacity_ = kFew;
  bool copies_ = false;
};

}  // namespace adn
