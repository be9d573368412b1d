// A sequence of ABI calls read from bytes: arbitrary layers, sizes, option structs, order of calls, NULLs, and allocations that
// fail. libFuzzer runs it (tests/fuzz/run); replay.cpp runs the committed corpus with every build.
//
// What holds for every input: no sanitizer reports, no call ends as an internal or a device error, a failed call has left a
// message and no object, and an external tensor's memory is let go exactly once.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "adadelta/adadelta.h"

namespace {

// ---- Allocations that fail ----

// Only the library's calls are limited, on the thread that makes them: -1 is no limit.
thread_local int64_t until_failure = -1;
thread_local bool in_library = false;

// More is legal, and slow without teaching anything.
constexpr size_t kLargestBlock = size_t{4} << 20;

bool allowed(size_t size) {
  if (!in_library) return true;
  if (size > kLargestBlock || until_failure == 0) return false;
  if (until_failure > 0) --until_failure;
  return true;
}

void* allocate(size_t size, size_t alignment) {
  if (!allowed(size)) return nullptr;
  return alignment == 0 ? std::malloc(size == 0 ? 1 : size)
                        : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

void* allocate_or_throw(size_t size, size_t alignment) {
  void* memory = allocate(size, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// The library's calls of calloc, by the linker's --wrap.
extern "C" void* __real_calloc(size_t count, size_t size);
extern "C" void* __wrap_calloc(size_t count, size_t size) {
  size_t bytes = 0;
  return __builtin_mul_overflow(count, size, &bytes) || !allowed(bytes) ? nullptr : __real_calloc(count, size);
}

void* operator new(size_t size) { return allocate_or_throw(size, 0); }
void* operator new[](size_t size) { return allocate_or_throw(size, 0); }
void* operator new(size_t size, std::align_val_t a) { return allocate_or_throw(size, static_cast<size_t>(a)); }
void* operator new[](size_t size, std::align_val_t a) { return allocate_or_throw(size, static_cast<size_t>(a)); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return allocate(size, 0); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return allocate(size, 0); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

namespace {

[[noreturn]] void stop(const char* what, const char* call) {
  std::fprintf(stderr, "%s: %s; last error: %s\n", call, what, adn_last_error());
  std::abort();
}

// ---- The input ----

// Bytes, and zeros when they are used up.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  template <class T>
  T number() {
    T value{};
    uint8_t bytes[sizeof(T)];
    for (uint8_t& b : bytes) b = byte();
    std::memcpy(&value, bytes, sizeof value);
    return value;
  }
  uint64_t below(uint64_t bound) { return byte() % bound; }
  bool one_in(uint64_t n) { return below(n) == n - 1; }

  // Mostly small, now and then at an edge of an integer type.
  uint64_t size() {
    const uint8_t b = byte();
    if (b < 224) return b % 14;
    constexpr uint64_t edges[] = {UINT64_MAX,
                                  UINT64_MAX - 1,
                                  UINT64_C(1) << 63,
                                  INT64_MAX,
                                  UINT64_C(1) << 62,
                                  UINT64_C(1) << 33,
                                  UINT64_C(1) << 32,
                                  UINT32_MAX,
                                  UINT64_C(1) << 31,
                                  INT32_MAX,
                                  UINT64_C(1) << 30,
                                  65536,
                                  1000,
                                  257,
                                  64};
    const uint8_t which = b - 224;
    return which < std::size(edges) ? edges[which] : number<uint64_t>();
  }
  double real() {
    constexpr double known[] = {0, 1, 0.9, 0.5, 1e-6, 0.1, -1, 1e300, 1e-60, 1e39, 1e-39};
    const uint8_t b = byte();
    return b < 200 ? known[b % std::size(known)] : number<double>();
  }
  float small_real() { return static_cast<float>(static_cast<int8_t>(byte())) / 32; }
  int32_t choice(int32_t below_this) {
    return one_in(16) ? number<int32_t>() : static_cast<int32_t>(below(static_cast<uint64_t>(below_this)));
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

// An option struct in a block of exactly its own struct_size, so that a read or write behind it is seen.
template <class T>
class Struct {
 public:
  explicit Struct(Input& in) {
    constexpr uint32_t full = sizeof(T);
    const uint32_t sizes[] = {full,      full, full, full, full - 4, full - 8, full + 8,
                              full + 64, 8,    12,   4,    0,        9,        full + 1};
    // The field itself must be there.
    size_ = sizes[in.byte() % std::size(sizes)];
    bytes_ = static_cast<unsigned char*>(std::calloc(1, std::max<size_t>(size_, 4)));
  }
  Struct(const Struct&) = delete;
  ~Struct() { std::free(bytes_); }
  uint32_t size() const { return size_; }
  T* get() { return reinterpret_cast<T*>(bytes_); }
  void set_size() { std::memcpy(bytes_, &size_, 4); }
  // Sets a member, where the struct is long enough to have it.
  template <class M, class V>
  void set(M T::*member, V value) {
    T whole{};
    const auto offset = reinterpret_cast<unsigned char*>(&(whole.*member)) - reinterpret_cast<unsigned char*>(&whole);
    const M converted = static_cast<M>(value);
    if (static_cast<size_t>(offset) + sizeof(M) <= size_) std::memcpy(bytes_ + offset, &converted, sizeof(M));
  }
  void scribble(Input& in) {
    if (size_ > 4) bytes_[4 + in.byte() % (size_ - 4)] = in.byte();
  }

 private:
  uint32_t size_ = 0;
  unsigned char* bytes_ = nullptr;
};

// An array of exactly the given count, NULL for 0. Counts beyond what any object here can have stand on a block of one
// element: they must be refused before anything is read.
template <class T>
class Array {
 public:
  explicit Array(uint64_t count) : count_(count <= kLargestBlock ? count : 1) {
    data_ = static_cast<T*>(count == 0 ? nullptr : std::calloc(count_, sizeof(T)));
    if (count != 0 && data_ == nullptr) std::abort();
  }
  Array(const Array&) = delete;
  ~Array() { std::free(data_); }
  T* get() { return data_; }
  // A pattern of a few bytes of the input, repeated.
  template <class Draw>
  T* fill(Draw draw) {
    constexpr uint64_t period = 7;
    for (uint64_t i = 0; i < count_ && data_ != nullptr; ++i) data_[i] = i < period ? draw() : data_[i - period];
    return data_;
  }

 private:
  uint64_t count_;
  T* data_ = nullptr;
};

// ---- The calls ----

constexpr size_t kExternalBytes = 4096;

struct External {
  int* released;
};

// One slot in eight, and every empty one, gives NULL.
template <class T, size_t N>
struct Slots {
  T* handles[N] = {};
  T*& any(Input& in) { return handles[in.below(N)]; }
  T* get(Input& in) { return in.one_in(24) ? nullptr : any(in); }
};

class Session {
 public:
  explicit Session(const uint8_t* data, size_t size) : in_(data, size) {
    external_ = static_cast<unsigned char*>(std::aligned_alloc(64, kExternalBytes));
    std::memset(external_, 0, kExternalBytes);
  }

  ~Session() {
    for (size_t i = 0; i < std::size(order_); ++i) std::swap(order_[i], order_[in_.below(std::size(order_))]);
    for (const int kind : order_) {
      if (kind == 0) drop(contexts_, adn_context_destroy);
      if (kind == 1) drop(tensors_, adn_tensor_destroy);
      if (kind == 2) drop(datasets_, adn_dataset_destroy);
      if (kind == 3) drop(networks_, adn_network_destroy);
      if (kind == 4) drop(optimizers_, adn_adadelta_destroy);
    }
    if (released_ != externals_) stop("memory of an external tensor was not let go once", "destroy");
    std::free(external_);
  }

  void run() {
    create_context(true);
    create_network(true);
    for (int calls = 0; calls < 64 && !in_.empty(); ++calls) one();
  }

 private:
  template <class Body>
  adn_status call(const char* name, Body body) {
    until_failure = fail_next_ ? in_.byte() : -1;
    fail_next_ = false;
    in_library = true;
    const adn_status status = body();
    in_library = false;
    if (status < ADN_STATUS_OK || status >= ADN_STATUS_DEVICE_ERROR) stop("a status that no input may lead to", name);
    if (status != ADN_STATUS_OK && adn_last_error()[0] == '\0') stop("a failure without a message", name);
    return status;
  }

  // A call that makes an object in a slot.
  template <class T, class Body>
  adn_status make(const char* name, T*& slot, void (*destroy)(T*), Body body) {
    T* const untouched = reinterpret_cast<T*>(external_);
    T* made = untouched;
    const adn_status status = call(name, [&] { return body(&made); });
    if ((made == untouched) != (status != ADN_STATUS_OK)) stop("an object and the status do not fit", name);
    if (status == ADN_STATUS_OK) {
      destroy(slot);
      slot = made;
    }
    return status;
  }

  template <class T, size_t N>
  static void drop(Slots<T, N>& slots, void (*destroy)(T*)) {
    for (T*& handle : slots.handles) {
      destroy(handle);
      handle = nullptr;
    }
  }

  template <class T, size_t N>
  void destroy_one(Slots<T, N>& slots, void (*destroy)(T*)) {
    T*& slot = slots.any(in_);
    destroy(slot);
    slot = nullptr;
  }

  void create_context(bool plain = false) {
    Struct<adn_context_options> options(in_);
    const bool defaults = !plain && in_.one_in(16);
    adn_context_options_init(options.get(), options.size());
    options.set_size();
    // One thread mostly: threads are slow to start.
    constexpr uint32_t threads[] = {1, 1, 1, 1, 1, 2, 3, 257, UINT32_MAX};
    options.set(&adn_context_options::device_type, plain ? ADN_DEVICE_CPU : in_.choice(3));
    options.set(&adn_context_options::thread_count, plain ? 1 : threads[in_.byte() % std::size(threads)]);
    options.set(&adn_context_options::instruction_set, plain ? 0 : in_.choice(4));
    if (!plain && in_.one_in(8)) options.scribble(in_);
    if (options.size() > 12 && options.size() < 20) return;  // would start a thread for every processor
    make("adn_context_create", contexts_.any(in_), adn_context_destroy,
         [&](adn_context** made) { return adn_context_create(made, defaults ? nullptr : options.get()); });
  }

  // Layers in one block, at the stride that their struct_size says.
  void create_network(bool plain = false) {
    constexpr uint32_t full = sizeof(adn_layer);
    constexpr uint32_t strides[] = {full,     full, full, full, full, full, full - 8, full + 8,
                                    full + 4, 24,   12,   8,    4,    0,    full + 1};
    const uint32_t stride = strides[in_.byte() % std::size(strides)];
    const uint64_t count = in_.below(9);
    const size_t bytes = std::max<size_t>(stride * count, 4);
    auto* block = static_cast<unsigned char*>(std::calloc(1, bytes));
    char names[8][72] = {};
    for (uint64_t i = 0; i < count; ++i) {
      adn_layer layer{};
      const auto kind = in_.one_in(24) ? in_.number<int32_t>() : static_cast<int32_t>(1 + in_.below(7));
      if (adn_layer_init(&layer, sizeof layer, kind) != ADN_STATUS_OK) layer.kind = kind;
      layer.struct_size = i > 0 && in_.one_in(48) ? in_.number<uint32_t>() : stride;
      layer.out_features = in_.size();
      const uint8_t what = in_.byte();
      for (int axis = 0; axis < 2; ++axis) {
        if (what & 1) layer.kernel[axis] = in_.size();
        if (what & 2) layer.stride[axis] = in_.size();
        if (what & 4) layer.padding[axis] = in_.size();
        if (what & 8) layer.dilation[axis] = in_.size();
      }
      if (what & 16) layer.probability = static_cast<float>(in_.real());
      if (what & 32) layer.bias = in_.choice(3);
      if ((what & 192) == 192) {
        const uint64_t length = in_.below(70);
        for (uint64_t c = 0; c < length; ++c) names[i][c] = static_cast<char>(in_.byte());
        layer.name = names[i];
      }
      std::memcpy(block + i * stride, &layer, std::min<size_t>({sizeof layer, stride, bytes - i * stride}));
    }
    // The first struct_size is always read.
    if (stride < 4) std::memcpy(block, &stride, 4);
    Struct<adn_network_options> options(in_);
    adn_network_options_init(options.get(), options.size());
    options.set_size();
    uint64_t shape[3];
    for (uint64_t& extent : shape) extent = plain ? 1 + in_.below(12) : in_.size();
    if (options.size() >= 32) std::memcpy(options.get()->input_shape, shape, sizeof shape);
    options.set(&adn_network_options::max_batch_size, in_.one_in(4) ? in_.size() : 1 + in_.below(5));
    options.set(&adn_network_options::seed, in_.byte());
    options.set(&adn_network_options::reduction, in_.choice(2));
    options.set(&adn_network_options::input_gradient, in_.choice(2));
    if (in_.one_in(4)) options.set(&adn_network_options::inference, in_.choice(2));
    if (in_.one_in(32)) options.scribble(in_);
    const uint64_t told = in_.one_in(64) ? 0 : count;
    make("adn_network_create", networks_.any(in_), adn_network_destroy, [&](adn_network** made) {
      return adn_network_create(made, contexts_.get(in_),
                                in_.one_in(64) ? nullptr : reinterpret_cast<adn_layer*>(block), told,
                                in_.one_in(64) ? nullptr : options.get());
    });
    std::free(block);
  }

  // A count that fits, mostly.
  uint64_t near(uint64_t count) { return in_.one_in(12) ? in_.size() : count; }

  adn_network_info info_of(const adn_network* network) {
    adn_network_info info{};
    info.struct_size = sizeof info;
    if (network == nullptr || adn_network_get_info(&info, network) != ADN_STATUS_OK) {
      info = {};
      info.input_shape[0] = info.input_shape[1] = info.input_shape[2] = 1;
    }
    return info;
  }

  uint64_t elements_of(const adn_tensor* tensor) {
    uint32_t rank = 0;
    uint64_t shape[ADN_MAX_RANK], count = 1;
    if (tensor == nullptr || adn_tensor_get_shape(&rank, shape, tensor) != ADN_STATUS_OK) return 1;
    for (uint32_t i = 0; i < rank; ++i) count *= shape[i];
    return count;
  }

  void create_tensor() {
    const uint32_t rank = in_.one_in(16) ? in_.number<uint32_t>() : static_cast<uint32_t>(in_.below(4));
    Array<uint64_t> shape(std::min<uint64_t>(rank, ADN_MAX_RANK));
    shape.fill([&] { return in_.size(); });
    const uint64_t* extents = in_.one_in(32) ? nullptr : shape.get();
    adn_context* context = contexts_.get(in_);
    const int32_t dtype = in_.choice(5);
    const uint64_t how = in_.below(3);
    adn_tensor*& slot = tensors_.any(in_);
    if (how == 0) {
      make("adn_tensor_create", slot, adn_tensor_destroy,
           [&](adn_tensor** made) { return adn_tensor_create(made, context, extents, rank); });
    } else if (how == 1) {
      make("adn_tensor_create_typed", slot, adn_tensor_destroy,
           [&](adn_tensor** made) { return adn_tensor_create_typed(made, context, dtype, extents, rank); });
    } else {
      // The caller answers for the size of the memory.
      uint64_t bytes = 8;
      for (uint32_t i = 0; i < std::min<uint32_t>(rank, ADN_MAX_RANK); ++i) {
        if (__builtin_mul_overflow(bytes, shape.get()[i], &bytes)) bytes = UINT64_MAX;
      }
      const uint64_t offset = in_.byte();
      if (extents != nullptr && rank <= ADN_MAX_RANK && bytes > kExternalBytes - 256) return;
      void* data = in_.one_in(32) ? nullptr : external_ + offset;
      const bool released = !in_.one_in(8);
      const auto release = [](void* user) { ++*static_cast<int*>(user); };
      if (make("adn_tensor_create_external", slot, adn_tensor_destroy, [&](adn_tensor** made) {
            return adn_tensor_create_external(made, context, data, dtype, extents, rank,
                                              released ? static_cast<adn_release>(release) : nullptr, &released_);
          }) == ADN_STATUS_OK) {
        externals_ += released ? 1 : 0;
      }
    }
  }

  void use_tensor() {
    adn_tensor* tensor = tensors_.get(in_);
    const uint64_t count = near(elements_of(tensor)), how = in_.below(7);
    Array<float> floats(how < 2 ? count : 0);
    if (how == 0) {
      call("adn_tensor_read", [&] { return adn_tensor_read(floats.get(), count, tensor); });
    } else if (how == 1) {
      floats.fill([&] { return in_.small_real(); });
      call("adn_tensor_write", [&] { return adn_tensor_write(tensor, floats.get(), count); });
    } else if (how == 2 || how == 3) {
      constexpr uint64_t sizes[] = {4, 8, 2, 2, 8};
      int32_t dtype = 0;
      adn_tensor_get_dtype(&dtype, tensor);
      const uint64_t bytes = near(elements_of(tensor) * sizes[dtype]);
      Array<uint8_t> data(bytes);
      data.fill([&] { return in_.byte(); });
      const uint64_t offset = in_.one_in(4) ? in_.size() : 0;
      call("adn_tensor_bytes", [&] {
        return how == 2 ? adn_tensor_read_bytes(data.get(), offset, bytes, tensor)
                        : adn_tensor_write_bytes(tensor, data.get(), offset, bytes);
      });
    } else if (how == 4) {
      call("adn_tensor_fill", [&] { return adn_tensor_fill(tensor, static_cast<float>(in_.real())); });
    } else if (how == 5) {
      int32_t dtype = 0;
      call("adn_tensor_get_dtype", [&] { return adn_tensor_get_dtype(in_.one_in(8) ? nullptr : &dtype, tensor); });
    } else {
      uint32_t rank = 0;
      uint64_t shape[ADN_MAX_RANK];
      call("adn_tensor_get_shape",
           [&] { return adn_tensor_get_shape(&rank, in_.one_in(8) ? nullptr : shape, tensor); });
    }
  }

  void create_dataset() {
    uint64_t shape[3];
    for (uint64_t& extent : shape) extent = in_.one_in(3) ? in_.size() : 1;
    adn_network* like = networks_.get(in_);
    if (in_.one_in(2)) {
      const adn_network_info info = info_of(like);
      std::copy(info.input_shape, info.input_shape + 3, shape);
    }
    const uint64_t count = in_.one_in(8) ? in_.size() : 1 + in_.below(9);
    uint64_t pixels = count;
    for (const uint64_t extent : shape) pixels *= extent;
    pixels = near(pixels);
    const bool external = in_.one_in(2) && pixels <= kExternalBytes;
    Array<uint8_t> data(external ? 0 : pixels), labels(count);
    data.fill([&] { return in_.byte(); });
    labels.fill([&] { return static_cast<uint8_t>(in_.below(12)); });
    const uint64_t* extents = in_.one_in(32) ? nullptr : shape;
    adn_context* context = contexts_.get(in_);
    make("adn_dataset_create", datasets_.any(in_), adn_dataset_destroy, [&](adn_dataset** made) {
      return external ? adn_dataset_create_external(made, context, external_, pixels, labels.get(), count, extents)
                      : adn_dataset_create(made, context, data.get(), pixels, labels.get(), count, extents);
    });
  }

  void look_at_network() {
    adn_network* network = networks_.get(in_);
    const adn_network_info known = info_of(network);
    const uint64_t how = in_.below(8), index = in_.one_in(8) ? in_.size() : in_.below(9);
    if (how == 0) {
      Struct<adn_network_info> info(in_);
      info.set_size();
      call("adn_network_get_info", [&] { return adn_network_get_info(info.get(), network); });
    } else if (how == 1) {
      Struct<adn_layer_info> info(in_);
      info.set_size();
      call("adn_network_get_layer", [&] { return adn_network_get_layer(info.get(), network, index); });
    } else if (how == 2) {
      adn_tensor *value = nullptr, *gradient = nullptr;
      const char* name = nullptr;
      const uint64_t wanted = in_.below(4);
      call("adn_network_get_parameter", [&] {
        return adn_network_get_parameter(wanted & 1 ? nullptr : &value, wanted & 2 ? nullptr : &gradient, &name,
                                         network, index);
      });
      for (adn_tensor* handle : {value, gradient}) {
        adn_tensor*& slot = tensors_.any(in_);
        adn_tensor_destroy(slot);
        slot = handle;
      }
    } else if (how == 3) {
      uint64_t found = 0;
      char name[16] = {};
      for (size_t i = 0; i + 1 < sizeof name; ++i) name[i] = static_cast<char>(in_.byte());
      constexpr const char* names[] = {"conv1.weight", "fc1.bias", "fc1", nullptr};
      const uint64_t which = in_.below(5);
      call("adn_network_find_parameter",
           [&] { return adn_network_find_parameter(&found, network, which == 4 ? name : names[which]); });
    } else if (how == 4) {
      uint64_t step = 0;
      call("adn_network_step", [&] {
        return in_.one_in(2) ? adn_network_get_step(&step, network)
                             : adn_network_set_step(network, in_.number<uint64_t>());
      });
    } else if (how == 5) {
      const uint64_t count = near(batch_ * known.input_shape[0] * known.input_shape[1] * known.input_shape[2]);
      Array<float> data(count);
      call("adn_network_read_input_gradient",
           [&] { return adn_network_read_input_gradient(data.get(), count, network); });
    } else if (how == 6) {
      adn_layer_info layer{};
      layer.struct_size = sizeof layer;
      if (network != nullptr) adn_network_get_layer(&layer, network, index);
      const uint64_t count = near(batch_ * layer.output_shape[0] * layer.output_shape[1] * layer.output_shape[2]);
      Array<float> data(count);
      call("adn_network_read_activation",
           [&] { return adn_network_read_activation(data.get(), count, network, index); });
    } else {
      const uint64_t count = in_.one_in(4) ? in_.size() : in_.below(4);
      Array<float> data(count);
      call("adn_network_read_losses", [&] { return adn_network_read_losses(data.get(), count, network); });
    }
  }

  // Copies into another slot, and parameters from one network into another.
  void clone_or_copy() {
    adn_network* network = networks_.get(in_);
    if (in_.one_in(2)) {
      const uint64_t max_batch_size = in_.one_in(8) ? in_.size() : in_.below(6);
      const int32_t inference = in_.choice(2);
      adn_network*& slot = networks_.any(in_);
      make("adn_network_clone", slot, adn_network_destroy,
           [&](adn_network** made) { return adn_network_clone(made, network, max_batch_size, inference); });
    } else {
      adn_network* from = networks_.get(in_);
      call("adn_network_copy_parameters", [&] { return adn_network_copy_parameters(network, from); });
    }
  }

  // Forward passes and training steps, from each of the three sources.
  void pass() {
    adn_network* network = networks_.get(in_);
    adn_adadelta* optimizer = optimizers_.get(in_);
    const adn_network_info known = info_of(network);
    const uint64_t batch = in_.one_in(16) ? in_.size() : 1 + in_.below(4), how = in_.below(6);
    const uint64_t count = near(batch * known.input_shape[0] * known.input_shape[1] * known.input_shape[2]);
    const uint64_t outputs = in_.one_in(4) ? 0 : near(batch * known.output_count);
    const int32_t mode = in_.choice(2);
    const bool external = how == 2 || how == 5;
    if (external && count > kExternalBytes / 4 - 8) return;
    Array<float> input(external ? 0 : count), output(how < 3 ? outputs : 0);
    input.fill([&] { return in_.small_real(); });
    Array<int32_t> labels(how >= 3 ? batch : 0);
    labels.fill([&] { return in_.choice(3); });
    Array<uint32_t> indices(how == 1 || how == 4 ? batch : 0);
    indices.fill([&] { return static_cast<uint32_t>(in_.one_in(32) ? in_.number<uint32_t>() : in_.below(2)); });
    const adn_dataset* dataset = datasets_.get(in_);
    const auto* outside = reinterpret_cast<const float*>(external_ + 4 * in_.below(8) + (in_.one_in(16) ? 1 : 0));
    float loss = 0;
    float* wanted = in_.one_in(4) ? nullptr : &loss;
    batch_ = batch;
    switch (how) {
      case 0:
        call("adn_network_forward",
             [&] { return adn_network_forward(output.get(), outputs, network, input.get(), count, batch, mode); });
        break;
      case 1:
        call("adn_network_forward_dataset", [&] {
          return adn_network_forward_dataset(output.get(), outputs, network, dataset, indices.get(), batch, mode);
        });
        break;
      case 2:
        call("adn_network_forward_external",
             [&] { return adn_network_forward_external(output.get(), outputs, network, outside, count, batch, mode); });
        break;
      case 3:
        call("adn_network_train_step", [&] {
          return adn_network_train_step(wanted, network, optimizer, input.get(), count, labels.get(), batch);
        });
        break;
      case 4:
        call("adn_network_train_step_dataset",
             [&] { return adn_network_train_step_dataset(wanted, network, optimizer, dataset, indices.get(), batch); });
        break;
      default:
        call("adn_network_train_step_external", [&] {
          return adn_network_train_step_external(wanted, network, optimizer, outside, count, labels.get(), batch);
        });
    }
  }

  void loss_or_backward() {
    adn_network* network = networks_.get(in_);
    if (in_.one_in(2)) {
      const uint64_t count = near(batch_);
      Array<int32_t> labels(count);
      labels.fill([&] { return in_.choice(3); });
      float loss = 0;
      call("adn_network_loss", [&] { return adn_network_loss(&loss, network, labels.get(), count); });
    } else {
      const uint64_t count = in_.one_in(2) ? 0 : near(batch_ * info_of(network).output_count);
      Array<float> gradient(count);
      gradient.fill([&] { return in_.small_real(); });
      call("adn_network_backward", [&] { return adn_network_backward(network, gradient.get(), count); });
    }
  }

  void fill_options(Struct<adn_adadelta_options>& options) {
    if (in_.one_in(2)) {
      adn_adadelta_options_init(options.get(), options.size());
    } else {
      adn_adadelta_options_preset(options.get(), options.size(), in_.choice(3));
    }
    options.set_size();
    const auto what = in_.number<uint16_t>();
    if (what & 1) options.set(&adn_adadelta_options::lr, in_.real());
    if (what & 2) options.set(&adn_adadelta_options::rho, in_.real());
    if (what & 4) options.set(&adn_adadelta_options::eps, in_.real());
    if (what & 8) options.set(&adn_adadelta_options::weight_decay, in_.real());
    if (what & 16) options.set(&adn_adadelta_options::foreach, in_.choice(3));
    if (what & 32) options.set(&adn_adadelta_options::differentiable, in_.choice(2));
    if (what & 64) options.set(&adn_adadelta_options::zero_eps, in_.choice(3));
    if (what & 128) options.set(&adn_adadelta_options::master_weights, in_.choice(2));
    if (what & 256) options.set(&adn_adadelta_options::decoupled_weight_decay, in_.real());
    if (what & 512) options.set(&adn_adadelta_options::clip_value, in_.real());
    if (what & 1024) options.set(&adn_adadelta_options::average_decay, in_.real());
    if (what & 2048) options.set(&adn_adadelta_options::maximize, in_.choice(2));
    if ((what & 0xF000) == 0xF000) options.scribble(in_);
  }

  void create_optimizer() {
    Struct<adn_adadelta_options> options(in_);
    fill_options(options);
    adn_context* context = contexts_.get(in_);
    adn_adadelta*& slot = optimizers_.any(in_);
    make("adn_adadelta_create", slot, adn_adadelta_destroy, [&](adn_adadelta** made) {
      return adn_adadelta_create(made, context, in_.one_in(4) ? nullptr : options.get());
    });
    add_group(slot);
  }

  // Parameters of a network, as a training has them, or any tensors.
  void add_group(adn_adadelta* optimizer) {
    Struct<adn_adadelta_options> options(in_);
    fill_options(options);
    const bool of_network = !in_.one_in(3);
    const adn_network* network = networks_.get(in_);
    const uint64_t count = of_network ? std::min<uint64_t>(info_of(network).parameter_count, 16) : in_.below(5);
    adn_tensor *parameters[16] = {}, *gradients[16] = {};
    for (uint64_t i = 0; i < count; ++i) {
      if (of_network) {
        adn_network_get_parameter(&parameters[i], &gradients[i], nullptr, network, i);
      } else {
        parameters[i] = tensors_.get(in_);
        gradients[i] = tensors_.get(in_);
      }
    }
    uint64_t group = 0;
    call("adn_adadelta_add_group", [&] {
      return adn_adadelta_add_group(&group, optimizer, parameters, gradients, count,
                                    in_.one_in(2) ? nullptr : options.get());
    });
    for (uint64_t i = 0; i < count && of_network; ++i) {
      adn_tensor_destroy(parameters[i]);
      adn_tensor_destroy(gradients[i]);
    }
  }

  void use_optimizer() {
    adn_adadelta* optimizer = optimizers_.get(in_);
    const uint64_t index = in_.one_in(8) ? in_.size() : in_.below(5);
    uint64_t number = 0;
    double real = 0;
    adn_tensor *first = nullptr, *second = nullptr;
    switch (in_.below(18)) {
      case 0:
        add_group(optimizer);
        break;
      case 1:
        call("adn_adadelta_get_parameter_count", [&] { return adn_adadelta_get_parameter_count(&number, optimizer); });
        break;
      case 2:
        call("adn_adadelta_set_gradient",
             [&] { return adn_adadelta_set_gradient(optimizer, index, tensors_.get(in_)); });
        break;
      case 3:
        call("adn_adadelta_get_group_count", [&] { return adn_adadelta_get_group_count(&number, optimizer); });
        break;
      case 4: {
        Struct<adn_adadelta_options> options(in_);
        options.set_size();
        call("adn_adadelta_get_options", [&] { return adn_adadelta_get_options(options.get(), optimizer, index); });
        break;
      }
      case 5: {
        Struct<adn_adadelta_options> options(in_);
        fill_options(options);
        call("adn_adadelta_set_options", [&] { return adn_adadelta_set_options(optimizer, index, options.get()); });
        break;
      }
      case 6:
        call("adn_adadelta_set_lr_tensor",
             [&] { return adn_adadelta_set_lr_tensor(optimizer, index, tensors_.get(in_)); });
        break;
      case 7:
        call("adn_adadelta_get_lr", [&] { return adn_adadelta_get_lr(&real, optimizer, index); });
        break;
      case 8:
        call("adn_adadelta_set_lr", [&] { return adn_adadelta_set_lr(optimizer, index, in_.real()); });
        break;
      case 9: {
        Struct<adn_adadelta_pass_options> options(in_);
        adn_adadelta_pass_options_init(options.get(), options.size());
        options.set_size();
        if (in_.one_in(2)) options.set(&adn_adadelta_pass_options::gradient_scale, in_.real());
        if (in_.one_in(2)) options.set(&adn_adadelta_pass_options::clip_norm, in_.real());
        options.set(&adn_adadelta_pass_options::zero_gradients, in_.choice(2));
        options.set(&adn_adadelta_pass_options::skip_nonfinite, in_.choice(2));
        call("adn_adadelta_set_pass_options", [&] { return adn_adadelta_set_pass_options(optimizer, options.get()); });
        break;
      }
      case 10: {
        Struct<adn_adadelta_pass_options> options(in_);
        options.set_size();
        call("adn_adadelta_get_pass_options", [&] { return adn_adadelta_get_pass_options(options.get(), optimizer); });
        break;
      }
      case 11: {
        Struct<adn_adadelta_report> report(in_);
        report.set_size();
        call("adn_adadelta_get_report", [&] { return adn_adadelta_get_report(report.get(), optimizer); });
        break;
      }
      case 12:
        call("adn_adadelta_get_state", [&] { return adn_adadelta_get_state(&first, &second, optimizer, index); });
        break;
      case 13:
        call("adn_adadelta_get_weights", [&] { return adn_adadelta_get_weights(&first, &second, optimizer, index); });
        break;
      case 14:
        call("adn_adadelta_parameter_step", [&] {
          return in_.one_in(2) ? adn_adadelta_get_parameter_step(&number, optimizer, index)
                               : adn_adadelta_set_parameter_step(optimizer, index, in_.size());
        });
        break;
      case 15:
        call("adn_adadelta_set_step", [&] {
          return in_.one_in(2) ? adn_adadelta_get_step(&number, optimizer)
                               : adn_adadelta_set_step(optimizer, in_.size());
        });
        break;
      case 16: {
        const uint64_t parameters = in_.below(4), groups = in_.below(3);
        Array<double> lr(groups);
        Array<adn_adadelta_cotangent> cotangents(parameters);
        for (uint64_t i = 0; i < parameters; ++i) {
          cotangents.get()[i] = {tensors_.get(in_), tensors_.get(in_), tensors_.get(in_), tensors_.get(in_)};
        }
        call("adn_adadelta_backward",
             [&] { return adn_adadelta_backward(lr.get(), groups, optimizer, cotangents.get(), parameters); });
        break;
      }
      default:
        call("adn_adadelta_tape", [&] {
          return in_.one_in(2) ? adn_adadelta_get_tape_length(&number, optimizer) : adn_adadelta_clear_tape(optimizer);
        });
    }
    for (adn_tensor* handle : {first, second}) {
      if (handle == nullptr) continue;
      adn_tensor*& slot = tensors_.any(in_);
      adn_tensor_destroy(slot);
      slot = handle;
    }
  }

  void look_at_context() {
    Struct<adn_context_info> info(in_);
    info.set_size();
    const adn_context* context = contexts_.get(in_);
    call("adn_context_get_info", [&] { return adn_context_get_info(info.get(), context); });
    call("adn_context_synchronize", [&] { return adn_context_synchronize(contexts_.get(in_)); });
  }

  void random_numbers() {
    const uint64_t count = in_.below(40), seed = in_.number<uint64_t>(), stream = in_.byte();
    Array<uint32_t> numbers(count);
    call("adn_random", [&] {
      return in_.one_in(2) ? adn_random_bits(numbers.get(), count, seed, stream, in_.size())
                           : adn_random_permutation(numbers.get(), count, seed, stream);
    });
  }

  void one() {
    const uint64_t what = in_.below(32);
    fail_next_ = in_.one_in(16);
    switch (what) {
      case 0:
        return create_context();
      case 1:
        return create_network();
      case 2:
        return in_.one_in(2) ? clone_or_copy() : create_network();
      case 3:
      case 4:
        return create_tensor();
      case 5:
      case 6:
        return use_tensor();
      case 7:
        return create_dataset();
      case 8:
      case 9:
      case 10:
        return look_at_network();
      case 11:
      case 12:
        return loss_or_backward();
      case 13:
      case 14:
        return create_optimizer();
      case 15:
      case 16:
      case 17:
      case 18:
        return use_optimizer();
      case 19:
        return look_at_context();
      case 20:
        return random_numbers();
      case 21:
        return destroy_one(contexts_, adn_context_destroy);
      case 22:
        return destroy_one(tensors_, adn_tensor_destroy);
      case 23:
        return destroy_one(datasets_, adn_dataset_destroy);
      case 24:
        return destroy_one(networks_, adn_network_destroy);
      case 25:
        return destroy_one(optimizers_, adn_adadelta_destroy);
      case 26:
      case 27: {
        adn_adadelta* optimizer = optimizers_.get(in_);
        call("adn_adadelta_step", [&] { return adn_adadelta_step(optimizer); });
        return;
      }
      default:
        return pass();
    }
  }

  Input in_;
  Slots<adn_context, 2> contexts_;
  Slots<adn_tensor, 8> tensors_;
  Slots<adn_dataset, 2> datasets_;
  Slots<adn_network, 2> networks_;
  Slots<adn_adadelta, 2> optimizers_;
  int order_[5] = {0, 1, 2, 3, 4};
  bool fail_next_ = false;
  uint64_t batch_ = 1;
  int externals_ = 0, released_ = 0;
  unsigned char* external_ = nullptr;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Session(data, size).run();
  return 0;
}
