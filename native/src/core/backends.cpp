#include "core/backends.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "core/error.h"
#include "core/library.h"
#include "cpu/backend.h"

namespace adn {
namespace {

constexpr char kPathVariable[] = "ADADELTA_BACKEND_PATH";

#if defined(_WIN32)
constexpr char kCudaFile[] = "adadelta_native_cuda.dll";
#elif defined(__APPLE__)
constexpr char kCudaFile[] = "libadadelta_native_cuda.dylib";
#else
constexpr char kCudaFile[] = "libadadelta_native_cuda.so";
#endif

struct Loaded {
  const adn_backend* backend = nullptr;
  std::string reason;  // why not
};

// An explicit path is the only one tried: falling back to another file would hide the mistake.
std::string cuda_path() {
  const char* given = std::getenv(kPathVariable);
  // A bare name would be searched for by the system.
  const std::string path = given != nullptr && *given != '\0' ? absolute_path(given) : own_folder();
  return path.empty() ? kCudaFile : is_folder(path) ? path + "/" + kCudaFile : path;
}

const adn_backend* try_load(const std::string& path, std::string& error) {
  if (path == kCudaFile) {
    error = "the folder that the library was loaded from is not known";
    return nullptr;
  }
  if (!is_file_or_folder(path)) {
    error = "no such file";
    return nullptr;
  }
  void* library = open_library(path, error);
  if (library == nullptr) return nullptr;
  const auto get = reinterpret_cast<decltype(&adn_backend_get)>(find_symbol(library, "adn_backend_get"));
  if (get == nullptr) {
    error = "not a backend of Adadelta.Native: it has no adn_backend_get";
  } else {
    const adn_backend* backend = get();
    if (backend->backend_version == ADN_BACKEND_VERSION && backend->device_type == ADN_DEVICE_CUDA) return backend;
    error = backend->backend_version != ADN_BACKEND_VERSION
                ? "backend version " + std::to_string(backend->backend_version) + ", expected " +
                      std::to_string(ADN_BACKEND_VERSION) + ": it is from another release than the library"
                : "a backend for device type " + std::to_string(backend->device_type) + ", expected 2 (CUDA)";
  }
  close_library(library);
  return nullptr;
}

// Loaded once: a library that changes on disk while the process runs is not looked at again.
const Loaded& cuda() {
  static const Loaded loaded = [] {
    Loaded result;
    const std::string path = cuda_path();
    std::string error;
    result.backend = try_load(path, error);
    if (result.backend == nullptr) {
      result.reason = std::string("the CUDA backend cannot be loaded: ") + path + ": " + error + " (" + kPathVariable +
                      " names another file or folder)";
    }
    return result;
  }();
  return loaded;
}

const char* cuda_reason() { return cuda().backend != nullptr ? cuda().backend->reason() : cuda().reason.c_str(); }

}  // namespace

const adn_backend& find_backend(int32_t device_type) {
  if (device_type == ADN_DEVICE_CPU) return cpu_backend();
  const char* reason = cuda_reason();
  if (*reason == '\0') return *cuda().backend;
  if (device_type == ADN_DEVICE_AUTO) return cpu_backend();
  fail(ADN_STATUS_UNSUPPORTED, "options.device_type: 2 (CUDA): %s", reason);
}

const char* backend_reason(const char* name) {
  if (std::strcmp(name, "cpu") == 0) return cpu_backend().reason();
  if (std::strcmp(name, "cuda") == 0) return cuda_reason();
  return nullptr;
}

}  // namespace adn
