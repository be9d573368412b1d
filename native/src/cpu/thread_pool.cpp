#include "cpu/thread_pool.h"

#include <algorithm>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif
#if !defined(_WIN32)
#include <pthread.h>
#endif

#include "cpu/features.h"

namespace adn::cpu {
namespace {

// Within a training step the next job comes some microseconds after the last one, sooner than a sleeping thread wakes up.
// After about 50 us of waiting a thread sleeps, and leaves its core to others. Where there are more threads than cores, waiting
// would keep from a core the very thread that is waited for.
constexpr int kSpins = 2000;

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Returns when value no longer holds `old`.
template <class T>
void wait_for_change(const std::atomic<T>& value, T old, int spins) {
  for (int i = 0; i < spins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

// Counts the forks that lie between this process and the one that loaded the library.
std::atomic<uint64_t> forks{0};

uint64_t this_process() {
#if !defined(_WIN32)
  static const int registered = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
  static_cast<void>(registered);
#endif
  return forks.load(std::memory_order_relaxed);
}

}  // namespace

ThreadPool::ThreadPool(uint32_t threads) : size_(std::max(threads, 1u)), crew_(new Crew(size_, this_process())) {}

ThreadPool::~ThreadPool() {
  Crew* crew = crew_.load(std::memory_order_relaxed);
  // The threads of a parent process cannot be waited for: what is left of them stays.
  if (crew->process == this_process()) delete crew;
}

ThreadPool::Crew& ThreadPool::crew() {
  Crew* crew = crew_.load(std::memory_order_acquire);
  if (crew->process == forks.load(std::memory_order_relaxed)) return *crew;
  std::lock_guard<std::mutex> lock(renewal_);
  crew = crew_.load(std::memory_order_relaxed);
  if (crew->process != this_process()) {
    crew = new Crew(size_, this_process());
    crew_.store(crew, std::memory_order_release);
  }
  return *crew;
}

ThreadPool::Crew::Crew(uint32_t threads, uint64_t of_process)
    : size(threads), process(of_process), spins(threads > available_cores() ? 0 : kSpins), shares(new Share[threads]) {
  try {
    workers.reserve(threads - 1);
    for (uint32_t i = 1; i < threads; ++i) workers.emplace_back([this, i] { work(i); });
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::Crew::~Crew() { stop(); }

void ThreadPool::Crew::stop() {
  stopped.store(true, std::memory_order_relaxed);
  generation.fetch_add(1, std::memory_order_release);
  generation.notify_all();
  for (std::thread& worker : workers) worker.join();
}

void ThreadPool::Crew::run_tasks(uint32_t thread) {
  for (uint32_t i = 0; i < size; ++i) {
    Share& share = shares[(thread + i) % size];
    for (int64_t task = share.next.fetch_add(1, std::memory_order_relaxed); task < share.end;
         task = share.next.fetch_add(1, std::memory_order_relaxed)) {
      function(context, task, thread);
    }
  }
}

void ThreadPool::Crew::work(uint32_t thread) {
  uint32_t seen = 0;
  for (;;) {
    wait_for_change(generation, seen, spins);
    seen = generation.load(std::memory_order_acquire);
    if (stopped.load(std::memory_order_relaxed)) return;
    run_tasks(thread);
    if (busy.fetch_sub(1, std::memory_order_acq_rel) == 1) busy.notify_one();
  }
}

void ThreadPool::Crew::run_job(int64_t count, Function job, const void* job_context) {
  std::lock_guard<std::mutex> lock(mutex);
  function = job;
  context = job_context;
  for (int64_t i = 0; i < size; ++i) {
    shares[i].next.store(i * count / size, std::memory_order_relaxed);
    shares[i].end = (i + 1) * count / size;
  }
  busy.store(static_cast<uint32_t>(workers.size()), std::memory_order_relaxed);
  generation.fetch_add(1, std::memory_order_release);
  generation.notify_all();
  run_tasks(0);
  for (uint32_t left = busy.load(std::memory_order_acquire); left != 0; left = busy.load(std::memory_order_acquire)) {
    wait_for_change(busy, left, spins);
  }
}

}  // namespace adn::cpu
