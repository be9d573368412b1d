// A device and its backend, and the memory allocated on it.
#pragma once

#include <memory>
#include <vector>

#include "core/backends.h"
#include "core/error.h"
#include "core/use_flag.h"

namespace adn {

class Context {
 public:
  explicit Context(const adn_context_options& options);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Calls a function of the backend and turns its status into an exception with the backend's message.
  template <class Function, class... Arguments>
  void call(Function adn_backend::*function, Arguments... arguments) const {
    const adn_status status = (backend_->*function)(arguments...);
    if (status != ADN_STATUS_OK) rethrow(status);
  }

  // Waits until the device has done everything given to it.
  void synchronize() const;

  const adn_backend& backend() const { return *backend_; }
  void* device() const { return device_; }

 private:
  [[noreturn]] void rethrow(adn_status status) const;

  const adn_backend* backend_;
  void* device_ = nullptr;
};

// Labelled images as bytes, on the device; the labels are kept here.
class Dataset {
 public:
  // external: the pixels stay the caller's and where they are, and the CPU reads them there.
  Dataset(std::shared_ptr<Context> context, const uint8_t* pixels, const uint8_t* labels, uint64_t count,
          const uint64_t* shape, bool external);
  ~Dataset();
  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;

  const std::shared_ptr<Context>& context() const { return context_; }
  const void* data() const { return data_; }
  uint64_t count() const { return count_; }
  const uint64_t* shape() const { return shape_; }
  int32_t label(uint64_t index) const { return labels_[index]; }

 private:
  std::shared_ptr<Context> context_;
  void* data_ = nullptr;
  uint64_t count_;
  uint64_t shape_[3];
  std::vector<uint8_t> labels_;
};

// Device memory that tensors look at: zeroed memory of its own, or the caller's.
class Storage {
 public:
  // use: the flag of the object that it is part of; without it, it is one of its own.
  Storage(std::shared_ptr<Context> context, uint64_t bytes, UseFlag::Pointer use = std::make_shared<UseFlag>());
  // release(user) is called when the last user is gone; not when this throws.
  Storage(std::shared_ptr<Context> context, void* external, uint64_t bytes, adn_release release, void* user);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  const std::shared_ptr<Context>& context() const { return context_; }
  unsigned char* data() const { return data_; }
  float* floats() const { return reinterpret_cast<float*>(data_); }
  uint64_t bytes() const { return bytes_; }

  const UseFlag::Pointer& use() const { return use_; }

  // Changes whenever the contents do, so that copies derived from them can be kept. Whoever writes to the memory, or has a
  // backend write to it, calls touch first, and holds the flag.
  uint64_t version() const { return version_; }
  void touch() { ++version_; }

  // Whether anything is derived from the contents: a step, which may write to a thousand storages, touches those alone.
  bool has_copies() const { return has_copies_; }
  void note_copies() { has_copies_ = true; }

 private:
  std::shared_ptr<Context> context_;
  unsigned char* data_ = nullptr;
  uint64_t bytes_;
  bool own_;
  adn_release release_ = nullptr;
  void* user_ = nullptr;
  UseFlag::Pointer use_;
  uint64_t version_ = 1;
  bool has_copies_ = false;
};

}  // namespace adn
