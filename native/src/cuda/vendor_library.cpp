#include "cuda/vendor_library.h"

#include <algorithm>
#include <cstdlib>

#include "core/library.h"

namespace adn::cuda {
namespace {

std::string file_name(const std::string& name, int version) {
#if defined(_WIN32)
  return name + "64_" + std::to_string(version) + ".dll";
#else
  return "lib" + name + ".so." + std::to_string(version);
#endif
}

std::string folder() {
  const char* given = std::getenv("ADADELTA_CUDA_LIBRARY_PATH");
  if (given != nullptr && *given != '\0') return std::string(given) + "/";
#if defined(ADN_CUDA_LIBRARY_PATH)
  return ADN_CUDA_LIBRARY_PATH "/";
#else
  return {};
#endif
}

}  // namespace

VendorLibrary::VendorLibrary(const std::string& name, const std::vector<VendorVersion>& versions) {
  for (const VendorVersion& version : versions) {
    file_ = file_name(name, version.number);
    const auto open = [&](const std::string& file) {
      std::string error;
      void* library = open_library(folder() + file, error);
      if (library == nullptr) reason_ += (reason_.empty() ? "" : "; ") + file + ": " + error;
      return library;
    };
    library_ = open(file_);
    if (library_ == nullptr) continue;
    const bool whole = std::all_of(version.parts.begin(), version.parts.end(),
                                   [&](const char* part) { return open(file_name(part, version.number)) != nullptr; });
    if (whole) {
      reason_.clear();
      return;
    }
    close_library(library_);
    library_ = nullptr;
  }
}

void* VendorLibrary::symbol(const char* name) {
  void* found = find_symbol(library_, name);
  if (found == nullptr && reason_.empty()) reason_ = file_ + " has no " + name;
  return found;
}

}  // namespace adn::cuda
