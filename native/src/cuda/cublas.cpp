#include "cuda/cublas.h"

namespace adn::cuda {
namespace {

struct Loaded {
  CublasFunctions functions = {};
  std::string reason;
};

const Loaded& loaded() {
  static const Loaded once = [] {
    Loaded result;
    VendorLibrary library("cublas", {{13, {}}, {12, {}}, {11, {}}});
#define ADN_FIND(name) library.find(result.functions.name, #name)
    ADN_CUBLAS_FUNCTIONS(ADN_FIND);
#undef ADN_FIND
    result.reason = library.reason();
    return result;
  }();
  return once;
}

}  // namespace

std::unique_ptr<Cublas> Cublas::create(bool tf32, std::string& reason) {
  reason = loaded().reason;
  if (!reason.empty()) return nullptr;
  std::unique_ptr<Cublas> cublas(new Cublas(loaded().functions));
  const CublasFunctions& f = cublas->functions_;
  try {
    cublas->check(f.cublasCreate_v2(&cublas->handle_), "cublasCreate");
    cublas->check(f.cublasGetVersion_v2(cublas->handle_, &cublas->version_), "cublasGetVersion");
    cublas->check(f.cublasSetMathMode(cublas->handle_, tf32 ? kCublasTf32 : kCublasFloat32), "cublasSetMathMode");
  } catch (const VendorError& error) {
    reason = error.text;
    return nullptr;
  }
  return cublas;
}

Cublas::~Cublas() {
  if (handle_ != nullptr) static_cast<void>(functions_.cublasDestroy_v2(handle_));
}

void Cublas::check(int status, const char* call) const {
  if (status != kCublasSuccess) {
    throw VendorError{std::string(call) + ": " + functions_.cublasGetStatusString(status) + " (" +
                      std::to_string(status) + ")"};
  }
}

// cuBLAS counts column by column, so it sees the transpose of each matrix: c' = b' a'.
void Cublas::multiply(CUstream_st* stream, float* c, Operand a, Operand b, int rows, int columns, int depth,
                      void* workspace, uint64_t workspace_bytes) {
  const CublasFunctions& f = functions_;
  check(f.cublasSetStream_v2(handle_, stream), "cublasSetStream");
  // Setting the stream has dropped the workspace.
  check(f.cublasSetWorkspace_v2(handle_, workspace, workspace_bytes), "cublasSetWorkspace");
  const float one = 1, zero = 0;
  const auto op = [](const Operand& operand) { return operand.transposed ? kCublasTransposed : kCublasNormal; };
  check(f.cublasSgemm_v2(handle_, op(b), op(a), columns, rows, depth, &one, b.data, b.transposed ? depth : columns,
                         a.data, a.transposed ? rows : depth, &zero, c, columns),
        "cublasSgemm");
}

}  // namespace adn::cuda
