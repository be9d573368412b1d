#include "runtime.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "include/cuda_runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) (static_cast<void>(address), static_cast<void>(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) (static_cast<void>(address), static_cast<void>(size))
#endif

namespace {

using Work = std::function<void()>;
using Clock = std::chrono::steady_clock;

// One cudaEventRecord.
struct Record {
  bool done = false;
  Clock::time_point time;
  cudaStream_t stream = nullptr;
  struct Capture* capture = nullptr;
  uint64_t place = 0;  // in a capture: works of the stream so far
};

struct Capture {
  cudaStream_t origin;
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  bool invalid = false;
  std::vector<Work> works;
  std::set<cudaStream_t> streams;
};

}  // namespace

struct CUstream_st {
  bool blocking;
  std::deque<Work> works;
  Capture* capture = nullptr;
  uint64_t captured = 0, joined = 0;  // works of this stream in the capture, and those that another stream waits for
};

struct CUevent_st {
  std::shared_ptr<Record> record = std::make_shared<Record>(Record{true, {}, nullptr, nullptr, 0});
};

struct CUgraph_st {
  std::shared_ptr<const std::vector<Work>> works;
};

struct CUgraphExec_st {
  std::shared_ptr<const std::vector<Work>> works;
};

namespace {

constexpr size_t kDeviceBytes = size_t{8} << 30;
thread_local cudaError_t last_error = cudaSuccess;
thread_local std::vector<void*> contexts;  // the last one is current

struct Runtime {
  std::recursive_mutex mutex;
  std::map<uintptr_t, size_t> device, host;
  std::map<uintptr_t, void*> owners;  // contexts of device memory, other than the primary one
  std::set<cudaStream_t> streams;
  std::set<cudaEvent_t> events;
  std::set<cudaGraph_t> graphs;
  std::set<cudaGraphExec_t> execs;
  std::set<Capture*> captures;
  CUstream_st legacy{true, {}, nullptr, 0, 0};
  cudasim::Counts counts{};
  int device_count = 1, architecture = 70;
  bool driver = true;
  uint64_t fail_at = 0;
  cudaError_t fail_with = cudaSuccess;
  const char* failed = "";
  std::vector<std::string> records;
  std::map<std::string, uint64_t> launches;
  int open = 0;  // works that are being run, which may touch device memory
};

// Lives as long as the program, since a host may free its memory very late.
Runtime& runtime() {
  static Runtime* const one = new Runtime;
  return *one;
}

cudaError_t note(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

// A call of the runtime: locked, counted, and failing where a test says so.
#define ADN_CUDASIM_CALL()             \
  Runtime& r = runtime();              \
  const std::lock_guard lock(r.mutex); \
  if (const cudaError_t injected = cudasim::begin_call(__func__); injected != cudaSuccess) return injected

size_t room(const std::map<uintptr_t, size_t>& allocations, const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  auto it = allocations.upper_bound(address);
  if (it == allocations.begin()) return 0;
  --it;
  return address < it->first + it->second ? it->first + it->second - address : 0;
}

void run(const Work& work) {
  Runtime& r = runtime();
  if (r.open++ == 0) {
    for (const auto& [address, bytes] : r.device) ASAN_UNPOISON_MEMORY_REGION(reinterpret_cast<void*>(address), bytes);
  }
  work();
  if (--r.open == 0) {
    for (const auto& [address, bytes] : r.device) ASAN_POISON_MEMORY_REGION(reinterpret_cast<void*>(address), bytes);
  }
}

void drain_until(cudaStream_t stream, const bool& done) {
  while (!done && !stream->works.empty()) {
    const Work work = std::move(stream->works.front());
    stream->works.pop_front();
    run(work);
  }
}

void drain(cudaStream_t stream) { drain_until(stream, false); }

void drain_blocking() {
  for (cudaStream_t stream : runtime().streams) {
    if (stream->blocking) drain(stream);
  }
}

void drain_all() {
  for (cudaStream_t stream : runtime().streams) drain(stream);
}

cudaStream_t find(cudaStream_t stream) {
  Runtime& r = runtime();
  if (stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread) return &r.legacy;
  return r.streams.count(stream) != 0 ? stream : nullptr;
}

// What must not be called while a capture is going on, since it would wait for work that is not being done.
cudaError_t refuse_in_capture(cudaError_t error = cudaErrorStreamCaptureUnsupported) {
  for (Capture* capture : runtime().captures) {
    const bool concerned =
        capture->mode == cudaStreamCaptureModeGlobal ||
        (capture->mode == cudaStreamCaptureModeThreadLocal && capture->thread == std::this_thread::get_id());
    if (concerned) {
      capture->invalid = true;
      return note(error);
    }
  }
  return cudaSuccess;
}

// The copy's two sides, as `kind` says or, for cudaMemcpyDefault, as they are.
cudaError_t check_copy(const void* to, const void* from, size_t bytes, cudaMemcpyKind* kind) {
  Runtime& r = runtime();
  const size_t device_to = room(r.device, to), device_from = room(r.device, from);
  if (*kind == cudaMemcpyDefault) {
    *kind = device_from != 0 ? (device_to != 0 ? cudaMemcpyDeviceToDevice : cudaMemcpyDeviceToHost)
                             : (device_to != 0 ? cudaMemcpyHostToDevice : cudaMemcpyHostToHost);
  }
  const bool to_device = *kind == cudaMemcpyHostToDevice || *kind == cudaMemcpyDeviceToDevice;
  const bool from_device = *kind == cudaMemcpyDeviceToHost || *kind == cudaMemcpyDeviceToDevice;
  if (*kind < cudaMemcpyHostToHost || *kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
  if (bytes == 0) return cudaSuccess;
  if (to == nullptr || from == nullptr) return cudaErrorInvalidValue;
  if (to_device ? device_to < bytes : device_to != 0) return cudaErrorInvalidValue;
  if (from_device ? device_from < bytes : device_from != 0) return cudaErrorInvalidValue;
  return cudaSuccess;
}

}  // namespace

// ---- For tests and stand-ins ----------------------------------------------------------------------------------------

namespace cudasim {

Counts counts() {
  Runtime& r = runtime();
  const std::lock_guard lock(r.mutex);
  Counts c = r.counts;
  c.device_allocations = r.device.size();
  c.host_allocations = r.host.size();
  c.streams = r.streams.size();
  c.events = r.events.size();
  c.graphs = r.graphs.size();
  c.graph_execs = r.execs.size();
  return c;
}

std::map<std::string, uint64_t> launches_by_file() {
  Runtime& r = runtime();
  const std::lock_guard lock(r.mutex);
  return r.launches;
}

void set_device_count(int count) {
  Runtime& r = runtime();
  const std::lock_guard lock(r.mutex);
  r.device_count = count;
}

void set_architecture(int architecture) {
  Runtime& r = runtime();
  const std::lock_guard lock(r.mutex);
  r.architecture = architecture;
}

void set_driver(bool whole) {
  Runtime& r = runtime();
  const std::lock_guard lock(r.mutex);
  r.driver = whole;
}

void fail_call(uint64_t n, cudaError_t error) {
  Runtime& r = runtime();
  const std::lock_guard lock(r.mutex);
  r.fail_at = n == 0 ? 0 : r.counts.calls + n;
  r.fail_with = error;
  r.failed = "";
}

const char* failed_call() { return runtime().failed; }

cudaError_t begin_call(const char* name) {
  Runtime& r = runtime();
  const std::lock_guard lock(r.mutex);
  if (++r.counts.calls != r.fail_at) return cudaSuccess;
  r.failed = name;
  return note(r.fail_with);
}

void* primary_context() { return &runtime(); }

void* current_context() { return contexts.empty() ? nullptr : contexts.back(); }

void set_current_context(void* context) {
  if (!contexts.empty()) contexts.pop_back();
  if (context != nullptr) contexts.push_back(context);
}

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  Runtime& r = runtime();
  const std::lock_guard lock(r.mutex);
  stream = find(stream);
  if (stream == nullptr) return note(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) {
    if (stream->capture->invalid) return note(cudaErrorStreamCaptureInvalidated);
    stream->capture->works.push_back(std::move(work));
    ++stream->captured;
    return cudaSuccess;
  }
  if (stream == &r.legacy) {
    if (const cudaError_t error = refuse_in_capture(cudaErrorStreamCaptureImplicit); error != cudaSuccess) return error;
    drain_blocking();
    run(work);
    return cudaSuccess;
  }
  stream->works.push_back(std::move(work));
  return cudaSuccess;
}

bool is_device_memory(const void* pointer, size_t bytes) {
  Runtime& r = runtime();
  const std::lock_guard lock(r.mutex);
  return room(r.device, pointer) >= bytes;
}

bool is_capturing(cudaStream_t stream) {
  Runtime& r = runtime();
  const std::lock_guard lock(r.mutex);
  stream = find(stream);
  return stream != nullptr && stream->capture != nullptr;
}

void count_object(int change) {
  Runtime& r = runtime();
  const std::lock_guard lock(r.mutex);
  r.counts.library_objects += static_cast<uint64_t>(change);
}

void record(std::string text) {
  Runtime& r = runtime();
  const std::lock_guard lock(r.mutex);
  r.records.push_back(std::move(text));
}

std::vector<std::string> take_records() {
  Runtime& r = runtime();
  const std::lock_guard lock(r.mutex);
  return std::exchange(r.records, {});
}

// A file's name without its folder.
static std::string name_of(const char* file) {
  const std::string path = file;
  return path.substr(path.find_last_of('/') + 1);
}

cudaError_t launch_kernel(cudaStream_t stream, const char* file, int line, Extent grid, Extent block, Work body) {
  if (const cudaError_t error = begin_call("cudaLaunchKernel"); error != cudaSuccess) return error;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535 ||
      threads == 0 || threads > 1024 || block.z > 64) {
    return note(cudaErrorInvalidConfiguration);
  }
  return enqueue(stream, [=, body = std::move(body)] {
    ++runtime().counts.kernel_launches;
    ++runtime().launches[name_of(file)];
    run_grid(file, line, grid, block, body);
  });
}

}  // namespace cudasim

// ---- Device ------------------------------------------------------------------------------------------------------------

cudaError_t cudaRuntimeGetVersion(int* version) {
  ADN_CUDASIM_CALL();
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  ADN_CUDASIM_CALL();
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  ADN_CUDASIM_CALL();
  if (r.device_count == 0) return note(cudaErrorNoDevice);
  *count = r.device_count;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  ADN_CUDASIM_CALL();
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  ADN_CUDASIM_CALL();
  if (r.device_count == 0) return note(cudaErrorNoDevice);
  return device >= 0 && device < r.device_count ? cudaSuccess : note(cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  ADN_CUDASIM_CALL();
  if (device < 0 || device >= r.device_count) return note(cudaErrorInvalidDevice);
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "CUDA simulator");
  properties->totalGlobalMem = kDeviceBytes;
  properties->sharedMemPerBlock = 48 * 1024;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->major = r.architecture / 10;
  properties->minor = r.architecture % 10;
  properties->multiProcessorCount = 1;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  ADN_CUDASIM_CALL();
  if (device < 0 || device >= r.device_count) return note(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = 1;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = r.architecture / 10;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = r.architecture % 10;
      return cudaSuccess;
  }
  return note(cudaErrorInvalidValue);
}

namespace {

cudaError_t cuDeviceGet(int* device, int ordinal) {
  ADN_CUDASIM_CALL();
  if (ordinal < 0 || ordinal >= r.device_count) return cudaErrorInvalidDevice;
  *device = ordinal;
  return cudaSuccess;
}

cudaError_t cuDevicePrimaryCtxRetain(void** context, int) {
  ADN_CUDASIM_CALL();
  *context = cudasim::primary_context();
  ++r.counts.retained_contexts;
  return cudaSuccess;
}

cudaError_t cuDevicePrimaryCtxRelease(int) {
  ADN_CUDASIM_CALL();
  --r.counts.retained_contexts;
  return cudaSuccess;
}

cudaError_t cuCtxPushCurrent(void* context) {
  ADN_CUDASIM_CALL();
  contexts.push_back(context);
  return cudaSuccess;
}

cudaError_t cuCtxPopCurrent(void** context) {
  ADN_CUDASIM_CALL();
  if (contexts.empty()) return cudaErrorDeviceUninitialized;
  *context = contexts.back();
  contexts.pop_back();
  return cudaSuccess;
}

// Of the attributes the context alone.
cudaError_t cuPointerGetAttribute(void* value, int attribute, unsigned long long pointer) {
  ADN_CUDASIM_CALL();
  const auto address = static_cast<uintptr_t>(pointer);
  if (attribute != 1 || room(r.device, reinterpret_cast<const void*>(address)) == 0) return cudaErrorInvalidValue;
  const auto allocation = std::prev(r.device.upper_bound(address));
  const auto owner = r.owners.find(allocation->first);
  *static_cast<void**>(value) = owner != r.owners.end() ? owner->second : cudasim::primary_context();
  return cudaSuccess;
}

}  // namespace

cudaError_t cudaGetDriverEntryPoint(const char* symbol, void** function, unsigned long long) {
  ADN_CUDASIM_CALL();
  *function = nullptr;
  if (!r.driver) return cudaSuccess;
#define ADN_CUDASIM_DRIVER(name) \
  if (std::strcmp(symbol, #name) == 0) *function = reinterpret_cast<void*>(&name)
  ADN_CUDASIM_DRIVER(cuDeviceGet);
  ADN_CUDASIM_DRIVER(cuDevicePrimaryCtxRetain);
  ADN_CUDASIM_DRIVER(cuDevicePrimaryCtxRelease);
  ADN_CUDASIM_DRIVER(cuCtxPushCurrent);
  ADN_CUDASIM_DRIVER(cuCtxPopCurrent);
  ADN_CUDASIM_DRIVER(cuPointerGetAttribute);
#undef ADN_CUDASIM_DRIVER
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  ADN_CUDASIM_CALL();
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) return error;
  ++r.counts.synchronizations;
  drain_all();
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define ADN_CUDASIM_NAME(name) \
  case name:                   \
    return #name
    ADN_CUDASIM_NAME(cudaSuccess);
    ADN_CUDASIM_NAME(cudaErrorInvalidValue);
    ADN_CUDASIM_NAME(cudaErrorMemoryAllocation);
    ADN_CUDASIM_NAME(cudaErrorInitializationError);
    ADN_CUDASIM_NAME(cudaErrorInvalidConfiguration);
    ADN_CUDASIM_NAME(cudaErrorInvalidDevicePointer);
    ADN_CUDASIM_NAME(cudaErrorInvalidMemcpyDirection);
    ADN_CUDASIM_NAME(cudaErrorInsufficientDriver);
    ADN_CUDASIM_NAME(cudaErrorNoDevice);
    ADN_CUDASIM_NAME(cudaErrorInvalidDevice);
    ADN_CUDASIM_NAME(cudaErrorDeviceUninitialized);
    ADN_CUDASIM_NAME(cudaErrorInvalidResourceHandle);
    ADN_CUDASIM_NAME(cudaErrorNotReady);
    ADN_CUDASIM_NAME(cudaErrorIllegalAddress);
    ADN_CUDASIM_NAME(cudaErrorLaunchFailure);
    ADN_CUDASIM_NAME(cudaErrorNotSupported);
    ADN_CUDASIM_NAME(cudaErrorStreamCaptureUnsupported);
    ADN_CUDASIM_NAME(cudaErrorStreamCaptureInvalidated);
    ADN_CUDASIM_NAME(cudaErrorStreamCaptureUnmatched);
    ADN_CUDASIM_NAME(cudaErrorStreamCaptureUnjoined);
    ADN_CUDASIM_NAME(cudaErrorStreamCaptureIsolation);
    ADN_CUDASIM_NAME(cudaErrorStreamCaptureImplicit);
    ADN_CUDASIM_NAME(cudaErrorCapturedEvent);
    ADN_CUDASIM_NAME(cudaErrorUnknown);
#undef ADN_CUDASIM_NAME
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

// ---- Memory ---------------------------------------------------------------------------------------------------------------

namespace {

void* make_memory(std::map<uintptr_t, size_t>& allocations, size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, bytes) != 0) return nullptr;
  std::memset(memory, 0xFF, bytes);
  allocations.emplace(reinterpret_cast<uintptr_t>(memory), bytes);
  return memory;
}

}  // namespace

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  ADN_CUDASIM_CALL();
  if (memory == nullptr) return note(cudaErrorInvalidValue);
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) return error;
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (bytes > kDeviceBytes - r.counts.device_bytes) return note(cudaErrorMemoryAllocation);
  *memory = make_memory(r.device, bytes);
  if (*memory == nullptr) return note(cudaErrorMemoryAllocation);
  ASAN_POISON_MEMORY_REGION(*memory, bytes);
  if (void* const owner = cudasim::current_context(); owner != nullptr && owner != cudasim::primary_context()) {
    r.owners.emplace(reinterpret_cast<uintptr_t>(*memory), owner);
  }
  r.counts.device_bytes += bytes;
  r.counts.device_bytes_high_water = std::max(r.counts.device_bytes_high_water, r.counts.device_bytes);
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  ADN_CUDASIM_CALL();
  if (memory == nullptr) return cudaSuccess;
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) return error;
  const auto it = r.device.find(reinterpret_cast<uintptr_t>(memory));
  if (it == r.device.end()) return note(cudaErrorInvalidValue);
  ++r.counts.synchronizations;
  drain_all();
  ASAN_UNPOISON_MEMORY_REGION(memory, it->second);
  r.counts.device_bytes -= it->second;
  r.owners.erase(it->first);
  r.device.erase(it);
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) { return cudaHostAlloc(memory, bytes, cudaHostAllocDefault); }

cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  ADN_CUDASIM_CALL();
  if (memory == nullptr || bytes == 0) return note(cudaErrorInvalidValue);
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) return error;
  *memory = make_memory(r.host, bytes);
  return *memory != nullptr ? cudaSuccess : note(cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void* memory) {
  ADN_CUDASIM_CALL();
  if (memory == nullptr) return cudaSuccess;
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) return error;
  if (r.host.erase(reinterpret_cast<uintptr_t>(memory)) == 0) return note(cudaErrorInvalidValue);
  drain_all();
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  ADN_CUDASIM_CALL();
  *free = kDeviceBytes - r.counts.device_bytes;
  *total = kDeviceBytes;
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  ADN_CUDASIM_CALL();
  *attributes = {cudaMemoryTypeUnregistered, -1, nullptr, nullptr};
  if (room(r.device, pointer) != 0) {
    *attributes = {cudaMemoryTypeDevice, 0, const_cast<void*>(pointer), nullptr};
  } else if (room(r.host, pointer) != 0) {
    *attributes = {cudaMemoryTypeHost, 0, const_cast<void*>(pointer), const_cast<void*>(pointer)};
  }
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  ADN_CUDASIM_CALL();
  if (const cudaError_t error = check_copy(to, from, bytes, &kind); error != cudaSuccess) return note(error);
  if (kind != cudaMemcpyDeviceToDevice) ++r.counts.synchronizations;
  return cudasim::enqueue(nullptr, [=] {
    if (bytes != 0) std::memmove(to, from, bytes);
  });
}

// As the real one: pageable memory is read before the call returns, and written before it returns; pinned memory when
// the stream comes to it. In a graph both are used at each launch.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  ADN_CUDASIM_CALL();
  if (const cudaError_t error = check_copy(to, from, bytes, &kind); error != cudaSuccess) return note(error);
  const cudaStream_t found = find(stream);
  if (found == nullptr) return note(cudaErrorInvalidResourceHandle);
  if (bytes == 0) return cudaSuccess;
  const bool capturing = found->capture != nullptr;
  if (!capturing && kind == cudaMemcpyHostToDevice && room(r.host, from) < bytes) {
    const auto* begin = static_cast<const unsigned char*>(from);
    auto copy = std::make_shared<std::vector<unsigned char>>(begin, begin + bytes);
    return cudasim::enqueue(stream, [=] { std::memcpy(to, copy->data(), bytes); });
  }
  const cudaError_t error = cudasim::enqueue(stream, [=] { std::memmove(to, from, bytes); });
  if (error == cudaSuccess && !capturing && kind == cudaMemcpyDeviceToHost && room(r.host, to) < bytes) {
    ++r.counts.synchronizations;
    drain(found);
  }
  return error;
}

cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  ADN_CUDASIM_CALL();
  if (room(r.device, memory) < bytes) return note(cudaErrorInvalidValue);
  return cudasim::enqueue(nullptr, [=] { std::memset(memory, value, bytes); });
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  ADN_CUDASIM_CALL();
  if (room(r.device, memory) < bytes) return note(cudaErrorInvalidValue);
  return cudasim::enqueue(stream, [=] { std::memset(memory, value, bytes); });
}

// ---- Streams and events -------------------------------------------------------------------------------------------------

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  ADN_CUDASIM_CALL();
  *stream = new CUstream_st{flags != cudaStreamNonBlocking, {}, nullptr, 0, 0};
  r.streams.insert(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  ADN_CUDASIM_CALL();
  if (r.streams.count(stream) == 0) return note(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) return note(cudaErrorStreamCaptureUnsupported);
  drain(stream);
  r.streams.erase(stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  ADN_CUDASIM_CALL();
  const cudaStream_t found = find(stream);
  if (found == nullptr) return note(cudaErrorInvalidResourceHandle);
  if (found->capture != nullptr) {
    found->capture->invalid = true;
    return note(cudaErrorStreamCaptureUnsupported);
  }
  ++r.counts.synchronizations;
  if (found == &r.legacy) drain_blocking();
  drain(found);
  return cudaSuccess;
}

// Work goes on by itself: to whoever asks often enough it is done.
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  ADN_CUDASIM_CALL();
  const cudaStream_t found = find(stream);
  if (found == nullptr) return note(cudaErrorInvalidResourceHandle);
  if (found->capture != nullptr) {
    found->capture->invalid = true;
    return note(cudaErrorStreamCaptureUnsupported);
  }
  if (found->works.empty()) return cudaSuccess;
  const Work work = std::move(found->works.front());
  found->works.pop_front();
  run(work);
  return cudaErrorNotReady;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  ADN_CUDASIM_CALL();
  *event = new CUevent_st;
  r.events.insert(*event);
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  ADN_CUDASIM_CALL();
  if (r.events.erase(event) == 0) return note(cudaErrorInvalidResourceHandle);
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  ADN_CUDASIM_CALL();
  const cudaStream_t found = find(stream);
  if (r.events.count(event) == 0 || found == nullptr) return note(cudaErrorInvalidResourceHandle);
  event->record = std::make_shared<Record>();
  event->record->stream = found;
  if (found->capture != nullptr) {
    event->record->capture = found->capture;
    event->record->place = found->captured;
    return cudaSuccess;
  }
  return cudasim::enqueue(stream, [record = event->record] {
    record->done = true;
    record->time = Clock::now();
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  ADN_CUDASIM_CALL();
  const cudaStream_t found = find(stream);
  if (r.events.count(event) == 0 || found == nullptr) return note(cudaErrorInvalidResourceHandle);
  const std::shared_ptr<Record> record = event->record;
  if (record->capture != nullptr) {
    if (r.captures.count(record->capture) == 0) return note(cudaErrorCapturedEvent);
    if (found->capture != nullptr && found->capture != record->capture) return note(cudaErrorStreamCaptureIsolation);
    if (found->capture == nullptr) {
      found->capture = record->capture;
      found->captured = found->joined = 0;
      record->capture->streams.insert(found);
    }
    if (found != record->stream) record->stream->joined = std::max(record->stream->joined, record->place);
    return cudaSuccess;
  }
  if (found->capture != nullptr) {
    found->capture->invalid = true;
    return note(cudaErrorStreamCaptureIsolation);
  }
  return cudasim::enqueue(stream, [record] { drain_until(record->stream, record->done); });
}

namespace {

cudaError_t check_event(cudaEvent_t event) {
  if (runtime().events.count(event) == 0) return note(cudaErrorInvalidResourceHandle);
  return event->record->capture != nullptr ? note(cudaErrorCapturedEvent) : cudaSuccess;
}

}  // namespace

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  ADN_CUDASIM_CALL();
  if (const cudaError_t error = check_event(event); error != cudaSuccess) return error;
  ++r.counts.synchronizations;
  const std::shared_ptr<Record> record = event->record;
  if (!record->done) drain_until(record->stream, record->done);
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  ADN_CUDASIM_CALL();
  if (const cudaError_t error = check_event(event); error != cudaSuccess) return error;
  const std::shared_ptr<Record> record = event->record;
  if (record->done) return cudaSuccess;
  const Work work = std::move(record->stream->works.front());
  record->stream->works.pop_front();
  run(work);
  return cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  ADN_CUDASIM_CALL();
  for (cudaEvent_t event : {start, end}) {
    if (const cudaError_t error = check_event(event); error != cudaSuccess) return error;
    if (!event->record->done) return cudaErrorNotReady;
  }
  *milliseconds = std::chrono::duration<float, std::milli>(end->record->time - start->record->time).count();
  return cudaSuccess;
}

// ---- Graphs -----------------------------------------------------------------------------------------------------------------

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  ADN_CUDASIM_CALL();
  const cudaStream_t found = find(stream);
  if (found == nullptr) return note(cudaErrorInvalidResourceHandle);
  if (found == &r.legacy) return note(cudaErrorStreamCaptureUnsupported);
  if (found->capture != nullptr) return note(cudaErrorInvalidValue);
  found->capture = new Capture{found, mode, std::this_thread::get_id(), false, {}, {found}};
  found->captured = found->joined = 0;
  r.captures.insert(found->capture);
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  ADN_CUDASIM_CALL();
  *graph = nullptr;
  const cudaStream_t found = find(stream);
  if (found == nullptr) return note(cudaErrorInvalidResourceHandle);
  Capture* const capture = found->capture;
  if (capture == nullptr) return note(cudaErrorInvalidValue);
  if (capture->origin != found) return note(cudaErrorStreamCaptureUnmatched);
  cudaError_t error = capture->invalid ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
  for (cudaStream_t member : capture->streams) {
    if (error == cudaSuccess && member != found && member->captured > member->joined) {
      error = cudaErrorStreamCaptureUnjoined;
    }
    member->capture = nullptr;
  }
  if (error == cudaSuccess) {
    *graph = new CUgraph_st{std::make_shared<const std::vector<Work>>(std::move(capture->works))};
    r.graphs.insert(*graph);
  }
  r.captures.erase(capture);
  delete capture;
  return note(error);
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  ADN_CUDASIM_CALL();
  const cudaStream_t found = find(stream);
  if (found == nullptr) return note(cudaErrorInvalidResourceHandle);
  *status = found->capture == nullptr ? cudaStreamCaptureStatusNone
            : found->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                      : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  ADN_CUDASIM_CALL();
  if (r.graphs.erase(graph) == 0) return note(cudaErrorInvalidValue);
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  ADN_CUDASIM_CALL();
  if (r.graphs.count(graph) == 0) return note(cudaErrorInvalidValue);
  *exec = new CUgraphExec_st{graph->works};
  r.execs.insert(*exec);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  ADN_CUDASIM_CALL();
  if (r.execs.count(exec) == 0) return note(cudaErrorInvalidValue);
  ++r.counts.graph_launches;
  return cudasim::enqueue(stream, [works = exec->works] {
    for (const Work& work : *works) work();
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  ADN_CUDASIM_CALL();
  if (r.execs.erase(exec) == 0) return note(cudaErrorInvalidValue);
  delete exec;
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  ADN_CUDASIM_CALL();
  if (r.graphs.count(graph) == 0 || nodes != nullptr) return note(cudaErrorInvalidValue);
  *count = graph->works->size();
  return cudaSuccess;
}
