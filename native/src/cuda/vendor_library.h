// NVIDIA's libraries that may be missing, opened at run time.
#pragma once

#include <string>
#include <vector>

namespace adn::cuda {

// A failed call of one of them, with the library's own text: the numbers alone differ between its versions.
struct VendorError {
  std::string text;
};

struct VendorVersion {
  int number;                      // in the file's name: 12 of libcublas.so.12
  std::vector<const char*> parts;  // names of libraries that it would open by itself, and without which it would abort
};

// Looked for where the environment variable ADADELTA_CUDA_LIBRARY_PATH says (a folder), else where the system looks. What has
// been opened stays open to the end of the process.
class VendorLibrary {
 public:
  // Takes the first of the versions that opens together with its parts.
  VendorLibrary(const std::string& name, const std::vector<VendorVersion>& versions);
  template <class Function>
  void find(Function& function, const char* name) {
    if (library_ != nullptr) function = reinterpret_cast<Function>(symbol(name));
  }
  // Why it cannot be used: "" when it can and has all that was looked for.
  const std::string& reason() const { return reason_; }

 private:
  void* symbol(const char* name);

  std::string file_, reason_;
  void* library_ = nullptr;
};

}  // namespace adn::cuda
