// A stand-in for cuBLAS: the functions that the backend uses, with real arithmetic on the CPU and the checks of its reference. It
// is strict where a mistake would show on a GPU alone: a product that is captured without a workspace is refused, since cuBLAS
// would allocate one, and TF32 rounds as tensor cores do.
#include "cuda/cublas.h"

#include <cstring>
#include <set>
#include <type_traits>

#include "runtime.h"
#include "tf32.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
  void* workspace = nullptr;
  size_t workspace_bytes = 0;
  int math = adn::cuda::kCublasFloat32;
};

namespace {

enum Status : int {
  kSuccess = 0,
  kNotInitialized = 1,
  kAllocFailed = 3,
  kInvalidValue = 7,
  kMappingError = 11,
  kExecutionFailed = 13,
};

// Lives as long as the program, since a handle whose destruction was made to fail stays.
std::set<cublasContext*>& handles = *new std::set<cublasContext*>;

int status_of(cudaError_t error) {
  return error == cudaSuccess ? kSuccess : error == cudaErrorMemoryAllocation ? kAllocFailed : kExecutionFailed;
}

// A call: counted, failing where a test says so, and only with a handle that is alive.
#define ADN_CUBLAS_CALL(handle)                                                                               \
  if (const cudaError_t error = cudasim::begin_call(__func__); error != cudaSuccess) return status_of(error); \
  if (handles.count(handle) == 0) return kNotInitialized

// Column-major: element (row, column) of op(matrix).
struct View {
  const float* data;
  int transposed, stride;
  float at(int64_t row, int64_t column) const {
    return transposed != 0 ? data[row * stride + column] : data[column * stride + row];
  }
};

size_t bytes_of(int64_t rows, int64_t columns, int stride) {
  return static_cast<size_t>((columns - 1) * stride + rows) * sizeof(float);
}

}  // namespace

extern "C" {

int cublasCreate_v2(cublasContext** handle) {
  if (const cudaError_t error = cudasim::begin_call(__func__); error != cudaSuccess) return status_of(error);
  *handle = new cublasContext;
  handles.insert(*handle);
  cudasim::count_object(1);
  return kSuccess;
}

int cublasDestroy_v2(cublasContext* handle) {
  ADN_CUBLAS_CALL(handle);
  handles.erase(handle);
  delete handle;
  cudasim::count_object(-1);
  return kSuccess;
}

int cublasGetVersion_v2(cublasContext* handle, int* version) {
  ADN_CUBLAS_CALL(handle);
  *version = 130002;
  return kSuccess;
}

int cublasSetStream_v2(cublasContext* handle, cudaStream_t stream) {
  ADN_CUBLAS_CALL(handle);
  handle->stream = stream;
  handle->workspace = nullptr;
  handle->workspace_bytes = 0;
  return kSuccess;
}

int cublasSetWorkspace_v2(cublasContext* handle, void* workspace, size_t bytes) {
  ADN_CUBLAS_CALL(handle);
  if (reinterpret_cast<uintptr_t>(workspace) % 256 != 0 || !cudasim::is_device_memory(workspace, bytes)) {
    return kInvalidValue;
  }
  handle->workspace = workspace;
  handle->workspace_bytes = bytes;
  return kSuccess;
}

int cublasSetMathMode(cublasContext* handle, int mode) {
  ADN_CUBLAS_CALL(handle);
  if (mode != adn::cuda::kCublasFloat32 && mode != adn::cuda::kCublasTf32) return kInvalidValue;
  handle->math = mode;
  return kSuccess;
}

int cublasSgemm_v2(cublasContext* handle, int op_a, int op_b, int m, int n, int k, const float* alpha, const float* a,
                   int lda, const float* b, int ldb, const float* beta, float* c, int ldc) {
  ADN_CUBLAS_CALL(handle);
  if (op_a < 0 || op_a > 1 || op_b < 0 || op_b > 1 || m < 0 || n < 0 || k < 0 || alpha == nullptr || beta == nullptr) {
    return kInvalidValue;
  }
  const int a_rows = op_a == 0 ? m : k, b_rows = op_b == 0 ? k : n;
  if (lda < a_rows || ldb < b_rows || ldc < m || lda < 1 || ldb < 1 || ldc < 1) return kInvalidValue;
  if (handle->workspace == nullptr && cudasim::is_capturing(handle->stream)) return kAllocFailed;
  if (m == 0 || n == 0) return kSuccess;
  if (!cudasim::is_device_memory(a, bytes_of(a_rows, op_a == 0 ? k : m, lda)) ||
      !cudasim::is_device_memory(b, bytes_of(b_rows, op_b == 0 ? n : k, ldb)) ||
      !cudasim::is_device_memory(c, bytes_of(m, n, ldc))) {
    return kMappingError;
  }
  const bool tf32 = handle->math == adn::cuda::kCublasTf32;
  cudasim::record(std::string("cublasSgemm ") + (tf32 ? "tf32" : "float32"));
  const View left{a, op_a, lda}, right{b, op_b, ldb};
  void* const workspace = handle->workspace;
  const size_t workspace_bytes = handle->workspace_bytes;
  return status_of(cudasim::enqueue(handle->stream, [=, scale = *alpha, keep = *beta] {
    if (workspace != nullptr) std::memset(workspace, 0xFF, workspace_bytes);
    for (int64_t column = 0; column < n; ++column) {
      for (int64_t row = 0; row < m; ++row) {
        float sum = 0;
        for (int64_t i = 0; i < k; ++i) {
          const float x = left.at(row, i), y = right.at(i, column);
          sum += tf32 ? cudasim::to_tf32(x) * cudasim::to_tf32(y) : x * y;
        }
        float& to = c[column * ldc + row];
        to = keep == 0 ? scale * sum : scale * sum + keep * to;
      }
    }
  }));
}

const char* cublasGetStatusString(int status) {
  switch (status) {
    case kSuccess:
      return "success";
    case kNotInitialized:
      return "the library was not initialized";
    case kAllocFailed:
      return "the resource allocation failed";
    case kInvalidValue:
      return "an unsupported value or parameter was passed to the function";
    case kMappingError:
      return "an access to GPU memory space failed";
    default:
      return "the function failed to launch on the GPU";
  }
}

}  // extern "C"

#define ADN_CHECK(name) static_assert(std::is_same_v<decltype(&::name), decltype(adn::cuda::CublasFunctions::name)>)
ADN_CUBLAS_FUNCTIONS(ADN_CHECK);
