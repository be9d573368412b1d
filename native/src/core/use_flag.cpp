#include "core/use_flag.h"

#include <algorithm>
#include <thread>

namespace adn {

bool UseFlag::try_acquire(bool wait_for_copy) noexcept {
  for (;;) {
    // A thread that waits to copy has been woken and is about to take the flag.
    while (waiting_copies_.load(std::memory_order_acquire) != 0 && state_.load(std::memory_order_relaxed) == kFree) {
      std::this_thread::yield();
    }
    uint32_t found = kFree;
    if (state_.compare_exchange_strong(found, kInUse, std::memory_order_acquire, std::memory_order_relaxed)) {
      return true;
    }
    if (found == kInUse || !wait_for_copy) return false;
    state_.wait(kBeingCopied, std::memory_order_relaxed);
  }
}

void UseFlag::acquire_for_copy() noexcept {
  waiting_copies_.fetch_add(1, std::memory_order_relaxed);
  for (uint32_t found = kFree;
       !state_.compare_exchange_strong(found, kBeingCopied, std::memory_order_acquire, std::memory_order_relaxed);
       found = kFree) {
    state_.wait(found, std::memory_order_relaxed);
  }
  waiting_copies_.fetch_sub(1, std::memory_order_release);
}

void UseFlag::release() noexcept {
  state_.store(kFree, std::memory_order_release);
  state_.notify_all();
}

UseFlag& UseFlag::root() noexcept {
  UseFlag* flag = this;
  while (UseFlag* next = flag->next_.load(std::memory_order_acquire)) flag = next;
  return *flag;
}

void UseFlag::join(const Pointer& flag, const Pointer& other) noexcept {
  Pointer from = flag, to = other;
  while (from->keep_ != nullptr) from = from->keep_;
  while (to->keep_ != nullptr) to = to->keep_;
  if (from == to) return;
  // The shallower tree goes under the deeper one, so that a root is never far.
  if (from->depth_ > to->depth_) from.swap(to);
  if (from->depth_ == to->depth_) ++to->depth_;
  from->keep_ = to;
  from->next_.store(to.get(), std::memory_order_release);
}

Use::~Use() {
  for (uint32_t i = count_; i-- > 0;) (many_ != nullptr ? many_[i] : few_[i])->release();
}

bool Use::holds(const UseFlag& root) const {
  UseFlag* const* held = many_ != nullptr ? many_.get() : few_;
  return std::find(held, held + count_, &root) != held + count_;
}

// Called with room for one more.
void Use::keep(UseFlag& root) { (many_ != nullptr ? many_[count_++] : few_[count_++]) = &root; }

void Use::add(const UseFlag::Pointer& flag, const char* what) {
  if (count_ == capacity_) {
    auto more = std::make_unique<UseFlag*[]>(2 * capacity_);
    std::copy_n(many_ != nullptr ? many_.get() : few_, count_, more.get());
    many_ = std::move(more);
    capacity_ *= 2;
  }
  for (;;) {
    UseFlag& root = flag->root();
    if (holds(root)) return;
    if (!root.try_acquire(!copies_)) {
      fail(ADN_STATUS_INVALID_STATE,
           "%s: in use by a call on another thread, expected one call at a time; a network, its parameters and the "
           "optimizers that were given them count as one object: give each thread a copy (adn_network_clone), or take "
           "turns",
           what);
    }
    // Between the look and the hold it may have been joined to another.
    if (&flag->root() == &root) {
      keep(root);
      return;
    }
    root.release();
  }
}

void Use::add_for_copy(const UseFlag::Pointer& flag) {
  copies_ = true;
  for (;;) {
    UseFlag& root = flag->root();
    root.acquire_for_copy();
    if (&flag->root() == &root) {
      keep(root);
      return;
    }
    root.release();
  }
}

}  // namespace adn
