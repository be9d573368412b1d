// A fixed set of threads that run the tasks 0 … count-1 of one job at a time. Each begins with a share of its own, the same
// in every job of as many tasks, so that it finds in its cache what it left there; whoever is done helps the others. So which
// thread runs a task is left to chance in the end: tasks are cut by shape and write to places of their own, so that the result
// never depends on it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace adn::cpu {

class ThreadPool {
 public:
  explicit ThreadPool(uint32_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  uint32_t size() const { return size_; }

  // Calls body(task, thread) for every task, 0 <= thread < size(), and returns when all are done. The caller works too.
  // One job at a time: callers on different threads wait for each other.
  template <class Body>
  void run(int64_t count, const Body& body) {
    if (count == 1 || size_ == 1) {
      std::lock_guard<std::mutex> lock(crew().mutex);
      for (int64_t task = 0; task < count; ++task) body(task, 0u);
      return;
    }
    if (count > 0) {
      run_job(
          count,
          [](const void* context, int64_t task, uint32_t thread) {
            (*static_cast<const Body*>(context))(task, thread);
          },
          &body);
    }
  }

 private:
  using Function = void (*)(const void* context, int64_t task, uint32_t thread);

  struct alignas(64) Share {
    std::atomic<int64_t> next{0};  // first task that nobody has taken
    int64_t end = 0;
  };

  // The threads and what they have in common. A child process made by fork() has none of its parent's threads, and perhaps
  // their locks: it leaves them where they are and starts a crew of its own.
  struct Crew {
    Crew(uint32_t size, uint64_t process);
    ~Crew();
    Crew(const Crew&) = delete;
    Crew& operator=(const Crew&) = delete;

    void run_job(int64_t count, Function function, const void* context);
    void run_tasks(uint32_t thread);
    void work(uint32_t thread);
    void stop();

    const uint32_t size;
    const uint64_t process;  // which one it was started in
    const int spins;         // looks at a value before a thread sleeps until it changes
    std::mutex mutex;        // one job at a time
    // The job. Written before generation is raised, read after.
    Function function = nullptr;
    const void* context = nullptr;
    std::unique_ptr<Share[]> shares;                  // by thread
    alignas(64) std::atomic<uint32_t> generation{0};  // of the job; workers wait for it to change
    alignas(64) std::atomic<uint32_t> busy{0};        // workers that have not finished the job
    std::atomic<bool> stopped{false};
    std::vector<std::thread> workers;
  };

  Crew& crew();
  void run_job(int64_t count, Function function, const void* context) { crew().run_job(count, function, context); }

  const uint32_t size_;
  std::atomic<Crew*> crew_;
  std::mutex renewal_;
};

}  // namespace adn::cpu
