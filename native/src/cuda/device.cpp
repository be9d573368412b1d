#include "cuda/device.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "core/error.h"
#include "cuda/products.h"

namespace adn::cuda {
namespace {

using ull = unsigned long long;

// Blocks begin where a warp's accesses are whole, and slabs are as large as the driver's own pages.
constexpr uint64_t kBlockBytes = 256, kSlabBytes = 2 << 20;

uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

void require_success(cudaError_t error, const char* call) {
  if (error != cudaSuccess) fail_call(error, call);
}

}  // namespace

void fail_call(cudaError_t error, const char* call) {
  static_cast<void>(cudaGetLastError());  // it has been told
  if (error == cudaErrorMemoryAllocation) fail(ADN_STATUS_OUT_OF_MEMORY, "%s: %s", call, cudaGetErrorString(error));
  fail(ADN_STATUS_DEVICE_ERROR, "%s: %s (%s, %d)", call, cudaGetErrorString(error), cudaGetErrorName(error),
       static_cast<int>(error));
}

int architecture_of(int device) {
  int major = 0, minor = 0;
  require_success(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
  require_success(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "cudaDeviceGetAttribute");
  return 10 * major + minor;
}

void require_architecture(int architecture) {
  constexpr int kLeast = ADN_CUDA_LEAST_ARCHITECTURE;
  if (architecture < kLeast) {
    fail(ADN_STATUS_UNSUPPORTED, "a GPU of compute capability %d.%d, expected %d.%d or later", architecture / 10,
         architecture % 10, kLeast / 10, kLeast % 10);
  }
}

// ---- Pool ----------------------------------------------------------------------------------------------------------

Pool::Blocks::iterator Pool::find_free(uint64_t bytes) {
  auto best = blocks_.end();
  for (auto it = blocks_.begin(); it != blocks_.end(); ++it) {
    const bool fits = it->second.free && it->second.bytes >= bytes;
    if (fits && (best == blocks_.end() || it->second.bytes < best->second.bytes)) best = it;
  }
  return best;
}

void Pool::add_slab(uint64_t bytes) {
  bytes = round_up(bytes, kSlabBytes);
  void* memory = nullptr;
  cudaError_t error = cudaMalloc(&memory, bytes);
  if (error == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    drop_empty_slabs();
    error = cudaMalloc(&memory, bytes);
  }
  if (error == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    fail(ADN_STATUS_OUT_OF_MEMORY, "cudaMalloc: %llu bytes of device memory beside %llu in use: out of memory",
         static_cast<ull>(bytes), static_cast<ull>(bytes_));
  }
  require_success(error, "cudaMalloc");
  Slab slab(memory);
  slabs_.reserve(slabs_.size() + 1);
  blocks_.emplace(static_cast<unsigned char*>(memory), Block{bytes, true, true});
  slabs_.push_back(std::move(slab));
}

void Pool::drop_empty_slabs() {
  const auto empty = [&](const Slab& slab) {
    const auto block = blocks_.find(static_cast<unsigned char*>(slab.get()));
    const auto next = std::next(block);
    if (!block->second.free || (next != blocks_.end() && !next->second.begins_slab)) return false;
    blocks_.erase(block);
    return true;
  };
  slabs_.erase(std::remove_if(slabs_.begin(), slabs_.end(), empty), slabs_.end());
}

void* Pool::allocate(uint64_t bytes) {
  if (bytes > uint64_t{1} << 62) fail(ADN_STATUS_OUT_OF_MEMORY, "%llu bytes of device memory", static_cast<ull>(bytes));
  bytes = round_up(std::max<uint64_t>(bytes, 1), kBlockBytes);
  auto block = find_free(bytes);
  if (block == blocks_.end()) {
    add_slab(bytes);
    block = find_free(bytes);
  }
  if (block->second.bytes > bytes) {
    blocks_.emplace(block->first + bytes, Block{block->second.bytes - bytes, true, false});
    block->second.bytes = bytes;
  }
  block->second.free = false;
  bytes_ += bytes;
  peak_bytes_ = std::max(peak_bytes_, bytes_);
  return block->first;
}

void Pool::release(void* memory) noexcept {
  auto block = blocks_.find(static_cast<unsigned char*>(memory));
  bytes_ -= block->second.bytes;
  block->second.free = true;
  const auto join_next = [&](Blocks::iterator it) {
    const auto next = std::next(it);
    if (next == blocks_.end() || !next->second.free || next->second.begins_slab) return;
    it->second.bytes += next->second.bytes;
    blocks_.erase(next);
  };
  join_next(block);
  if (!block->second.begins_slab && std::prev(block)->second.free) join_next(std::prev(block));
}

// ---- Device --------------------------------------------------------------------------------------------------------

Device::Device(const adn_context_options& options) : index_(options.device_index), graphs_(options.cuda_no_graph == 0) {
  int count = 0;
  require_success(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  if (index_ >= count) {
    fail(ADN_STATUS_INVALID_ARGUMENT,
         "options.device_index: %d, expected 0 <= device_index < %d, the CUDA devices here", index_, count);
  }
  require_architecture(architecture_of(index_));
  context_ = std::make_unique<PrimaryContext>(index_);
  const Use use(*this);
  try {
    open(options);
  } catch (...) {
    close();
    throw;
  }
}

void Device::open(const adn_context_options& options) {
  int runtime = 0, driver = 0;
  cudaDeviceProp properties = {};
  require_success(cudaGetDeviceProperties(&properties, index_), "cudaGetDeviceProperties");
  require_success(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  require_success(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  name_ = properties.name;
  architecture_ = "sm_" + std::to_string(properties.major) + std::to_string(properties.minor);
  const auto version = [](int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); };
  libraries_ = "CUDA runtime " + version(runtime) + ", driver for CUDA " + version(driver);
  const auto make_stream = [] {
    cudaStream_t stream = nullptr;
    require_success(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    return StreamHandle(stream);
  };
  stream_ = static_cast<cudaStream_t>(options.cuda_stream_external);
  if (stream_ == nullptr) {
    own_stream_ = make_stream();
    stream_ = own_stream_.get();
  }
  if (graphs_) capture_stream_ = make_stream();
  products_ = std::make_unique<Products>(*this, options, properties.major);
}

Device::~Device() {
  const Use use(*this, true);
  static_cast<void>(cudaStreamSynchronize(stream_));
  close();
}

// While the context is current.
void Device::close() {
  products_.reset();
  capture_stream_.reset();
  own_stream_.reset();
  pool_ = Pool();
}

Device::Use::Use(Device& device, bool even_lost) : lock_(device.mutex_), context_(*device.context_) {
  if (!even_lost && !device.lost_.empty()) {
    fail(ADN_STATUS_DEVICE_ERROR, "the context's device is lost since an earlier failure: %s", device.lost_.c_str());
  }
  const cudaError_t error = context_.push();
  if (error != cudaSuccess && !even_lost) fail_call(error, "cuCtxPushCurrent");
  pushed_ = error == cudaSuccess;
}

Device::Use::~Use() {
  if (pushed_) context_.pop();
}

void Device::check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  lose(std::string(call) + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ", " +
       std::to_string(static_cast<int>(error)) + ")");
}

void Device::lose(const std::string& why) {
  lost_ = why;
  static_cast<void>(cudaGetLastError());  // it has been told
  fail(ADN_STATUS_DEVICE_ERROR, "%s", why.c_str());
}

void Device::synchronize() { check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

void Device::read(void* host, const void* memory, uint64_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(host, memory, bytes, cudaMemcpyDeviceToHost, stream_), "cudaMemcpyAsync");
  synchronize();
}

// The runtime need not have read the host's memory before.
void Device::write(void* memory, const void* host, uint64_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(memory, host, bytes, cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
  synchronize();
}

void Device::clear(void* memory, uint64_t bytes) {
  if (bytes != 0) check(cudaMemsetAsync(memory, 0, bytes, stream()), "cudaMemsetAsync");
}

void Device::copy(void* to, const void* from, uint64_t bytes) {
  if (bytes != 0) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()), "cudaMemcpyAsync");
}

void Device::check_external(const void* memory, uint64_t bytes) const {
  const auto refuse = [&](const void* address, const char* what) {
    fail(ADN_STATUS_INVALID_ARGUMENT,
         "external memory: %p is %s, expected an address of CUDA device %d in its primary context", address, what,
         index_);
  };
  const auto* last = static_cast<const unsigned char*>(memory) + (bytes > 0 ? bytes - 1 : 0);
  for (const void* address : {memory, static_cast<const void*>(last)}) {
    cudaPointerAttributes attributes = {};
    const cudaError_t error = cudaPointerGetAttributes(&attributes, address);
    if (error == cudaErrorInvalidValue) {
      static_cast<void>(cudaGetLastError());
      refuse(address, "of no context");
    }
    require_success(error, "cudaPointerGetAttributes");
    if (attributes.type == cudaMemoryTypeUnregistered || attributes.type == cudaMemoryTypeHost) {
      refuse(address, "host memory");
    }
    if (attributes.type != cudaMemoryTypeDevice) continue;
    if (attributes.device != index_) refuse(address, "another device's");
    if (context_->is_foreign(address)) refuse(address, "another context's");
  }
}

// ---- Graphs --------------------------------------------------------------------------------------------------------

// A stream of its own, since the caller's may be the legacy stream, which cannot be captured.
void Device::begin_capture() {
  check(cudaStreamBeginCapture(capture_stream_.get(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  capturing_ = capture_stream_.get();
}

void Device::abandon_capture() noexcept {
  capturing_ = nullptr;
  cudaGraph_t graph = nullptr;
  static_cast<void>(cudaStreamEndCapture(capture_stream_.get(), &graph));
  const GraphHandle owner(graph);
  static_cast<void>(cudaGetLastError());
}

GraphExecHandle Device::end_capture() {
  capturing_ = nullptr;
  cudaGraph_t graph = nullptr;
  const cudaError_t error = cudaStreamEndCapture(capture_stream_.get(), &graph);
  const GraphHandle owner(graph);
  if (error != cudaSuccess) abandon_capture();
  check(error, "cudaStreamEndCapture");
  cudaGraphExec_t exec = nullptr;
  check(cudaGraphInstantiateWithFlags(&exec, graph, 0), "cudaGraphInstantiateWithFlags");
  return GraphExecHandle(exec);
}

void Device::info(adn_context_info& info) const {
  info.device_type = ADN_DEVICE_CUDA;
  info.device_index = index_;
  info.memory_bytes = pool_.bytes();
  info.memory_peak_bytes = pool_.peak_bytes();
  std::snprintf(info.device_name, sizeof info.device_name, "%s", name_.c_str());
  std::snprintf(info.instruction_set_name, sizeof info.instruction_set_name, "%s", architecture_.c_str());
  std::snprintf(info.libraries, sizeof info.libraries, "%s", libraries_.c_str());
  products_->info(info);
}

// ---- Staging -------------------------------------------------------------------------------------------------------

PinnedHandle make_pinned(uint64_t bytes) {
  void* memory = nullptr;
  require_success(cudaMallocHost(&memory, std::max<uint64_t>(bytes, 1)), "cudaMallocHost");
  return PinnedHandle(static_cast<unsigned char*>(memory));
}

Staging::Staging(Device& device, uint64_t bytes, size_t slots) : device_(device), bytes_(bytes) {
  for (size_t i = 0; i < slots; ++i) {
    cudaEvent_t event = nullptr;
    require_success(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    EventHandle read(event);
    slots_.push_back({make_pinned(bytes), std::move(read)});
  }
}

unsigned char* Staging::next() {
  Slot& slot = slots_[next_];
  if (slot.used) device_.check(cudaEventSynchronize(slot.read.get()), "cudaEventSynchronize");
  return slot.memory.get();
}

void Staging::send(void* memory, uint64_t bytes) {
  Slot& slot = slots_[next_];
  next_ = (next_ + 1) % slots_.size();
  if (bytes != 0) {
    device_.check(cudaMemcpyAsync(memory, slot.memory.get(), bytes, cudaMemcpyHostToDevice, device_.stream()),
                  "cudaMemcpyAsync");
  }
  device_.check(cudaEventRecord(slot.read.get(), device_.stream()), "cudaEventRecord");
  slot.used = true;
}

}  // namespace adn::cuda
