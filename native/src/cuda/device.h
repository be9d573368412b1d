// A GPU as the backend uses it: its stream, its memory pool, and what a failure of the runtime does.
#pragma once

#include <cuda_runtime_api.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "adadelta/backend.h"
#include "cuda/primary_context.h"
#include "cuda/vendor_library.h"

namespace adn::cuda {

class Products;

template <auto destroy>
struct Destroy {
  template <class T>
  void operator()(T* object) const {
    static_cast<void>(destroy(object));
  }
};
using StreamHandle = std::unique_ptr<CUstream_st, Destroy<cudaStreamDestroy>>;
using EventHandle = std::unique_ptr<CUevent_st, Destroy<cudaEventDestroy>>;
using GraphHandle = std::unique_ptr<CUgraph_st, Destroy<cudaGraphDestroy>>;
using GraphExecHandle = std::unique_ptr<CUgraphExec_st, Destroy<cudaGraphExecDestroy>>;
using PinnedHandle = std::unique_ptr<unsigned char, Destroy<cudaFreeHost>>;

// Fails with the name of the call and the runtime's own text.
[[noreturn]] void fail_call(cudaError_t error, const char* call);

// A device's compute capability, 70 for 7.0; and a failure where the kernels were not compiled for it.
int architecture_of(int device);
void require_architecture(int architecture);

// Device memory in slabs that are kept until the pool goes, cut into blocks. A freed block may be handed out again at once:
// all work is in the order of one stream.
class Pool {
 public:
  // bytes >= 0; at least one byte is given. The memory is not cleared.
  void* allocate(uint64_t bytes);
  void release(void* memory) noexcept;
  uint64_t bytes() const { return bytes_; }
  uint64_t peak_bytes() const { return peak_bytes_; }

 private:
  using Slab = std::unique_ptr<void, Destroy<cudaFree>>;
  struct Block {
    uint64_t bytes;
    bool free;
    bool begins_slab;
  };
  using Blocks = std::map<unsigned char*, Block>;

  Blocks::iterator find_free(uint64_t bytes);
  void add_slab(uint64_t bytes);
  void drop_empty_slabs();

  std::vector<Slab> slabs_;
  Blocks blocks_;  // by address; the blocks of a slab cover it
  uint64_t bytes_ = 0, peak_bytes_ = 0;
};

class Device {
 public:
  explicit Device(const adn_context_options& options);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // Everything that is done on the device is done under one of these: it locks the device, makes its primary context current
  // and puts back what was. A lost device is refused, unless something is only given back.
  class Use {
   public:
    explicit Use(Device& device, bool even_lost = false);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    std::lock_guard<std::mutex> lock_;
    const PrimaryContext& context_;
    bool pushed_;
  };

  // The result of a call that put work on the stream or waited for it. Nobody knows what has been done when it failed, and
  // most of the runtime's failures last until the process ends: the device is lost, and every later use is refused.
  void check(cudaError_t error, const char* call);
  void check_launch(int error, const char* kernel) { check(static_cast<cudaError_t>(error), kernel); }
  // The same for a body of calls of NVIDIA's libraries, which throw a VendorError.
  template <class Body>
  void check_vendor(const Body& body) {
    try {
      body();
    } catch (const VendorError& error) {
      lose(error.text);
    }
  }

  cudaStream_t stream() const { return capturing_ != nullptr ? capturing_ : stream_; }
  void synchronize();
  // These wait for the device: host memory may be used again when they return.
  void read(void* host, const void* memory, uint64_t bytes);
  void write(void* memory, const void* host, uint64_t bytes);
  void clear(void* memory, uint64_t bytes);
  void copy(void* to, const void* from, uint64_t bytes);
  void check_external(const void* memory, uint64_t bytes) const;

  // What body puts on stream() becomes a graph instead of being run.
  template <class Body>
  GraphExecHandle capture(const Body& body) {
    begin_capture();
    try {
      body();
    } catch (...) {
      abandon_capture();
      throw;
    }
    return end_capture();
  }

  Pool& pool() { return pool_; }
  Products& products() { return *products_; }
  bool graphs() const { return graphs_; }
  void info(adn_context_info& info) const;

 private:
  void open(const adn_context_options& options);
  void close();
  [[noreturn]] void lose(const std::string& why);
  void begin_capture();
  void abandon_capture() noexcept;
  GraphExecHandle end_capture();

  int index_;
  bool graphs_;
  std::mutex mutex_;
  std::string lost_;  // why, "" while it is not
  std::string name_, architecture_, libraries_;
  std::unique_ptr<PrimaryContext> context_;
  StreamHandle own_stream_, capture_stream_;
  cudaStream_t stream_ = nullptr, capturing_ = nullptr;
  Pool pool_;
  std::unique_ptr<Products> products_;
};

// Device memory from the pool.
class Memory {
 public:
  Memory() = default;
  Memory(Device& device, uint64_t bytes) : device_(&device), data_(device.pool().allocate(bytes)), bytes_(bytes) {}
  ~Memory() { reset(); }
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    swap(other);
    return *this;
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  uint64_t bytes() const { return bytes_; }

 private:
  void reset() {
    if (data_ != nullptr) device_->pool().release(data_);
  }
  void swap(Memory& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  Device* device_ = nullptr;
  void* data_ = nullptr;
  uint64_t bytes_ = 0;
};

PinnedHandle make_pinned(uint64_t bytes);

// Pinned host memory in which the host may write what comes next while the device still reads what came before. It waits
// only when it is `slots` uploads ahead.
class Staging {
 public:
  Staging(Device& device, uint64_t bytes, size_t slots);
  uint64_t bytes() const { return bytes_; }
  // fill(pinned memory) writes what is then put on the stream to be copied to memory.
  template <class Fill>
  void upload(void* memory, uint64_t bytes, const Fill& fill) {
    fill(next());
    send(memory, bytes);
  }

 private:
  struct Slot {
    PinnedHandle memory;
    EventHandle read;
    bool used = false;
  };
  unsigned char* next();
  void send(void* memory, uint64_t bytes);

  Device& device_;
  uint64_t bytes_;
  std::vector<Slot> slots_;
  size_t next_ = 0;
};

}  // namespace adn::cuda
