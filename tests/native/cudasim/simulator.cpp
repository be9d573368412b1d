#include "simulator.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <vector>

#include "include/cuda_runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#define CUDASIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUDASIM_ASAN 1
#endif
#endif
#if defined(CUDASIM_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(CUDASIM_UCONTEXT) && !((defined(__x86_64__) || defined(__aarch64__)) && defined(__ELF__))
#define CUDASIM_UCONTEXT 1
#endif
#if defined(CUDASIM_UCONTEXT)
#include <ucontext.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

// ---- Switching between stacks -----------------------------------------------------------------------------------------

#if !defined(CUDASIM_UCONTEXT)
// Keeps what a call must keep on the old stack, notes where that is, and takes up where the new stack was left.
extern "C" void cudasim_switch(void** old_stack, void* new_stack);
#if defined(__x86_64__)
asm(R"(
.text
.globl cudasim_switch
.hidden cudasim_switch
.type cudasim_switch, @function
cudasim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cudasim_switch, .-cudasim_switch
)");
constexpr size_t kSavedWords = 6, kReturnWord = 6;
#else
asm(R"(
.text
.globl cudasim_switch
.hidden cudasim_switch
.type cudasim_switch, %function
cudasim_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size cudasim_switch, .-cudasim_switch
)");
constexpr size_t kSavedWords = 20, kReturnWord = 11;
#endif
#endif

namespace cudasim {
namespace {

constexpr size_t kStackBytes = 128 * 1024;  // kernels need a few hundred; sanitizers and printf more
constexpr uint32_t kMaxThreads = 1024, kWarp = 32;
constexpr size_t kMaxShared = 48 * 1024;

// A stack, and where on it to go on.
class Fiber {
 public:
  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Begins in enter at the first switch. The page below the stack is unmapped, so that an overflow is seen.
  void prepare(char* stack) {
    bottom_ = stack;
#if defined(CUDASIM_UCONTEXT)
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack;
    context_.uc_stack.ss_size = kStackBytes;
    context_.uc_link = nullptr;
    makecontext(&context_, enter, 0);
#else
    auto* top = reinterpret_cast<void**>(stack + kStackBytes);
    // Upon entry x86-64 expects a stack as a call leaves it: aligned to 16, less the return address.
    void** frame = top - 2 * ((kSavedWords + 4) / 2);
    std::fill(frame, top, nullptr);
    frame[kReturnWord] = reinterpret_cast<void*>(&enter);
    place_ = frame;
#endif
  }

  // Comes back when `to` switches to `from` again.
  static void switch_between(Fiber& from, Fiber& to) {
#if defined(CUDASIM_ASAN)
    __sanitizer_start_switch_fiber(&from.fake_stack_, to.bottom_, to.bytes_);
#endif
#if defined(CUDASIM_UCONTEXT)
    swapcontext(&from.context_, &to.context_);
#else
    cudasim_switch(&from.place_, to.place_);
#endif
    from.arrive(to);
  }

  // Upon arriving ASan tells where the stack is that was left: the launching thread's, which is known in no other way.
  void arrive([[maybe_unused]] Fiber& left) {
#if defined(CUDASIM_ASAN)
    __sanitizer_finish_switch_fiber(fake_stack_, &left.bottom_, &left.bytes_);
#endif
  }

 private:
  static void enter();

#if defined(CUDASIM_UCONTEXT)
  ucontext_t context_;
#else
  void* place_ = nullptr;
#endif
  [[maybe_unused]] const void* bottom_ = nullptr;
  [[maybe_unused]] size_t bytes_ = kStackBytes;
  [[maybe_unused]] void* fake_stack_ = nullptr;
};

enum class State : uint8_t { kReady, kWaiting, kDone };

struct Thread {
  Fiber fiber;
  uint3 index;
  uint32_t number;
  State state;
  // What it waits for.
  Meeting meeting;
  uint32_t mask, source;
  uint64_t value, result;
  const char* file;
  int line;
};

struct Shared {
  const void* key;
  size_t bytes;
  void* memory;
};

class Machine {
 public:
  void run(const char* file, int line, Extent grid, Extent block, const std::function<void()>& body) {
    file_ = file;
    line_ = line;
    body_ = &body;
    gridDim = {grid.x, grid.y, grid.z};
    blockDim = {block.x, block.y, block.z};
    count_ = block.x * block.y * block.z;
    make_threads();
    for (uint32_t i = 0; i < count_; ++i) {
      threads_[i]->index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
    }
    turns_.resize(count_);
    std::iota(turns_.begin(), turns_.end(), 0u);
    if (order_ == Order::kBackward) std::reverse(turns_.begin(), turns_.end());

    const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
    // A shuffled walk without a table: steps whose length has no divisor in common with the number of blocks visit each
    // once.
    uint64_t step = 1, place = 0;
    if (order_ == Order::kBackward) place = blocks - 1, step = blocks - 1;
    if (order_ == Order::kShuffled) {
      place = random_() % blocks;
      step = random_() % blocks + 1;
      while (std::gcd(step, blocks) != 1) ++step;
    }
    for (uint64_t i = 0; i < blocks; ++i, place = (place + step) % blocks) {
      blockIdx = {static_cast<uint32_t>(place % grid.x), static_cast<uint32_t>(place / grid.x % grid.y),
                  static_cast<uint32_t>(place / grid.x / grid.y)};
      run_block();
    }
    for (const Shared& s : shared_) std::free(s.memory);
    shared_.clear();
    threads_run_ += blocks * count_;
  }

  Thread& current() {
    if (!running_) stop("a kernel's function was called outside of a launch");
    return *current_;
  }
  uint32_t count() const { return count_; }

  void wait(Thread& thread) {
    thread.state = State::kWaiting;
    Fiber::switch_between(thread.fiber, scheduler_);
  }

  // A thread's whole life: it takes part in block after block.
  [[noreturn]] void live() {
    current_->fiber.arrive(scheduler_);
    for (;;) {
      (*body_)();
      current_->state = State::kDone;
      Fiber::switch_between(current_->fiber, scheduler_);
    }
  }

  void* shared(const void* key, size_t bytes, size_t alignment) {
    if (!running_) stop("shared memory was asked for outside of a launch");
    size_t total = 0;
    for (const Shared& s : shared_) {
      if (s.key == key) return s.memory;
      total += s.bytes;
    }
    if (total + bytes > kMaxShared) {
      stop(where() + ": " + std::to_string(total + bytes) + " bytes of shared memory, expected at most 49152");
    }
    void* memory = nullptr;
    if (posix_memalign(&memory, std::max(alignment, sizeof(void*)), bytes) != 0) stop("no memory for shared memory");
    std::memset(memory, 0xFF, bytes);
    shared_.push_back({key, bytes, memory});
    return memory;
  }

  std::string where() const {
    const auto triple = [](uint3 p) {
      return "(" + std::to_string(p.x) + ", " + std::to_string(p.y) + ", " + std::to_string(p.z) + ")";
    };
    return "kernel launched at " + std::string(file_) + ":" + std::to_string(line_) + ", block " + triple(blockIdx) +
           (running_ ? ", thread " + triple(threadIdx) : "");
  }

  std::recursive_mutex mutex;
  Order order_ = Order::kForward;
  std::mt19937_64 random_{1};
  std::atomic<uint64_t> threads_run_{0};
  bool running_ = false;

 private:
  void make_threads() {
    while (threads_.size() < count_) {
      // Never given back: the next launch uses them again.
      const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
      void* memory =
          mmap(nullptr, kStackBytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) stop("no memory for the stack of a thread");
      auto thread = std::make_unique<Thread>();
      thread->number = static_cast<uint32_t>(threads_.size());
      thread->fiber.prepare(static_cast<char*>(memory) + page);
      threads_.push_back(std::move(thread));
    }
  }

  void run_block() {
    for (const Shared& s : shared_) std::memset(s.memory, 0xFF, s.bytes);
    for (uint32_t i = 0; i < count_; ++i) threads_[i]->state = State::kReady;
    for (uint32_t done = 0; done < count_;) {
      if (order_ == Order::kShuffled) std::shuffle(turns_.begin(), turns_.end(), random_);
      bool moved = false;
      for (const uint32_t turn : turns_) {
        Thread& thread = *threads_[turn];
        if (thread.state != State::kReady) continue;
        moved = true;
        current_ = &thread;
        threadIdx = thread.index;
        running_ = true;
        Fiber::switch_between(scheduler_, thread.fiber);
        running_ = false;
        if (thread.state == State::kDone) ++done;
      }
      if (done == count_) break;
      const bool released = release_block() | release_warps();
      if (!moved && !released) explain();
    }
  }

  // Lets all threads go on once all are at the same barrier.
  bool release_block() {
    const Thread& first = *threads_[0];
    uint32_t votes = 0;
    for (uint32_t i = 0; i < count_; ++i) {
      const Thread& t = *threads_[i];
      if (t.state != State::kWaiting || t.meeting > Meeting::kBarrierCount) return false;
      if (t.meeting != first.meeting || t.line != first.line || std::strcmp(t.file, first.file) != 0) return false;
      votes += t.value != 0;
    }
    const uint64_t result = first.meeting == Meeting::kBarrierOr    ? votes != 0
                            : first.meeting == Meeting::kBarrierAnd ? votes == count_
                                                                    : votes;
    for (uint32_t i = 0; i < count_; ++i) {
      threads_[i]->result = result;
      threads_[i]->state = State::kReady;
    }
    return true;
  }

  bool release_warps() {
    bool any = false;
    for (uint32_t first = 0; first < count_; first += kWarp) {
      const uint32_t lanes = std::min(kWarp, count_ - first);
      for (uint32_t i = 0; i < lanes; ++i) any |= release_lanes(first, lanes, *threads_[first + i]);
    }
    return any;
  }

  // Lets the lanes of one mask go on once they are all there.
  bool release_lanes(uint32_t first, uint32_t lanes, const Thread& leader) {
    if (leader.state != State::kWaiting || leader.meeting < Meeting::kWarp) return false;
    const uint32_t mask = leader.mask;
    const Meeting meeting = leader.meeting;
    if (lanes < kWarp && mask >> lanes != 0) return false;
    if ((mask >> (leader.number - first) & 1) == 0) return false;
    uint32_t votes = 0;
    for (uint32_t i = 0; i < lanes; ++i) {
      if ((mask >> i & 1) == 0) continue;
      const Thread& t = *threads_[first + i];
      if (t.state != State::kWaiting || t.meeting != meeting || t.mask != mask || t.line != leader.line ||
          std::strcmp(t.file, leader.file) != 0) {
        return false;
      }
      votes |= static_cast<uint32_t>(t.value != 0) << i;
    }
    for (uint32_t i = 0; i < lanes; ++i) {
      if ((mask >> i & 1) == 0) continue;
      Thread& t = *threads_[first + i];
      t.result = meeting == Meeting::kVote ? votes : 0;
      if (meeting == Meeting::kShuffle) {
        const bool there = t.source < lanes && (mask >> t.source & 1) != 0;
        t.result = there ? threads_[first + t.source]->value : ~uint64_t{0};
      }
    }
    for (uint32_t i = 0; i < lanes; ++i) {
      if ((mask >> i & 1) != 0) threads_[first + i]->state = State::kReady;
    }
    return true;
  }

  // Nobody can go on: says where everybody is.
  [[noreturn]] void explain() {
    static const char* const kNames[] = {
        "__syncthreads", "__syncthreads_or", "__syncthreads_and", "__syncthreads_count",
        "__syncwarp",    "a vote",           "a shuffle"};
    std::string text = where() + ": its threads wait for each other at different places:";
    std::string last;
    for (uint32_t i = 0; i < count_; ++i) {
      const Thread& t = *threads_[i];
      std::string place = "has ended";
      if (t.state == State::kWaiting) {
        char mask[32] = "";
        if (t.meeting >= Meeting::kWarp) std::snprintf(mask, sizeof mask, " with mask 0x%08x", t.mask);
        place = std::string("waits at ") + kNames[static_cast<int>(t.meeting)] + mask + " in " + t.file + ":" +
                std::to_string(t.line);
      }
      if (place != last) text += "\n  from thread " + std::to_string(i) + " on: " + place;
      last = place;
    }
    stop(text);
  }

  const char* file_ = "";
  int line_ = 0;
  const std::function<void()>* body_ = nullptr;
  uint32_t count_ = 0;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<uint32_t> turns_;
  std::vector<Shared> shared_;
  Thread* current_ = nullptr;
  Fiber scheduler_;
};

// Lives as long as the program, so that a launch during its end still finds it.
Machine& machine() {
  static Machine* const one = [] {
    auto* made = new Machine;
    const char* wanted = std::getenv("ADADELTA_CUDASIM_ORDER");
    for (Order order : {Order::kForward, Order::kBackward, Order::kShuffled}) {
      if (wanted != nullptr && std::strcmp(wanted, order_name(order)) == 0) made->order_ = order;
    }
    return made;
  }();
  return *one;
}

void Fiber::enter() { machine().live(); }

}  // namespace

void set_order(Order order, uint64_t seed) {
  Machine& m = machine();
  const std::lock_guard lock(m.mutex);
  m.order_ = order;
  m.random_.seed(seed);
}

Order order() { return machine().order_; }

const char* order_name(Order order) {
  return order == Order::kForward ? "forward" : order == Order::kBackward ? "backward" : "shuffled";
}

void run_grid(const char* file, int line, Extent grid, Extent block, const std::function<void()>& body) {
  Machine& m = machine();
  const std::lock_guard lock(m.mutex);
  if (m.running_) stop("a kernel launched a kernel");
  m.run(file, line, grid, block, body);
}

uint64_t threads_run() { return machine().threads_run_; }

uint32_t meet_block(Meeting kind, uint32_t value, const char* file, int line) {
  Thread& t = machine().current();
  t.meeting = kind;
  t.value = value;
  t.file = file;
  t.line = line;
  machine().wait(t);
  return static_cast<uint32_t>(t.result);
}

namespace {

uint64_t meet_lanes(Meeting kind, uint32_t mask, uint64_t value, uint32_t source, const char* file, int line) {
  Thread& t = machine().current();
  t.meeting = kind;
  t.mask = mask;
  t.value = value;
  t.source = source;
  t.file = file;
  t.line = line;
  machine().wait(t);
  return t.result;
}

}  // namespace

void meet_warp(uint32_t mask, const char* file, int line) { meet_lanes(Meeting::kWarp, mask, 0, 0, file, line); }

uint32_t vote(uint32_t mask, bool predicate, const char* file, int line) {
  return static_cast<uint32_t>(meet_lanes(Meeting::kVote, mask, predicate, 0, file, line));
}

uint64_t shuffle(uint32_t mask, uint64_t value, uint32_t source, const char* file, int line) {
  return meet_lanes(Meeting::kShuffle, mask, value, source, file, line);
}

uint32_t lane() { return machine().current().number % kWarp; }

void* shared_memory(const void* key, size_t bytes, size_t alignment) { return machine().shared(key, bytes, alignment); }

void stop(const std::string& message) {
  std::fprintf(stderr, "cudasim: %s\n", message.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace cudasim
