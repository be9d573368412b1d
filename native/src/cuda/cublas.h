// cuBLAS, for the linear layers: opened at run time, so that the backend starts without it. Functions and numbers as in
// NVIDIA's reference of cuBLAS 11 to 13 (docs.nvidia.com/cuda/cublas); vendor_check.cpp holds them against its header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "cuda/vendor_library.h"

struct CUstream_st;
struct cublasContext;  // what cublasHandle_t points to

namespace adn::cuda {

constexpr int kCublasSuccess = 0;
constexpr int kCublasNormal = 0;      // CUBLAS_OP_N
constexpr int kCublasTransposed = 1;  // CUBLAS_OP_T
constexpr int kCublasFloat32 = 0;     // CUBLAS_DEFAULT_MATH: of float32 no bit is given up
constexpr int kCublasTf32 = 3;        // CUBLAS_TF32_TENSOR_OP_MATH

// Enumerations are int here.
struct CublasFunctions {
  int (*cublasCreate_v2)(cublasContext** handle);
  int (*cublasDestroy_v2)(cublasContext* handle);
  int (*cublasGetVersion_v2)(cublasContext* handle, int* version);
  int (*cublasSetStream_v2)(cublasContext* handle, CUstream_st* stream);
  int (*cublasSetWorkspace_v2)(cublasContext* handle, void* workspace, size_t bytes);
  int (*cublasSetMathMode)(cublasContext* handle, int mode);
  int (*cublasSgemm_v2)(cublasContext* handle, int op_a, int op_b, int m, int n, int k, const float* alpha,
                        const float* a, int lda, const float* b, int ldb, const float* beta, float* c, int ldc);
  const char* (*cublasGetStatusString)(int status);
};

// What is done to each of them.
#define ADN_CUBLAS_FUNCTIONS(each) \
  each(cublasCreate_v2);           \
  each(cublasDestroy_v2);          \
  each(cublasGetVersion_v2);       \
  each(cublasSetStream_v2);        \
  each(cublasSetWorkspace_v2);     \
  each(cublasSetMathMode);         \
  each(cublasSgemm_v2);            \
  each(cublasGetStatusString)

// A handle of the current device. Calls fail with a VendorError.
class Cublas {
 public:
  // NULL where it cannot be had, and reason says why.
  static std::unique_ptr<Cublas> create(bool tf32, std::string& reason);
  ~Cublas();
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;

  int version() const { return version_; }  // e.g. 120304

  // A matrix in memory row by row, or its transpose.
  struct Operand {
    const float* data;
    bool transposed;
  };
  // c[rows][columns] = a[rows][depth] * b[depth][columns]. With a workspace of ours cuBLAS allocates nothing, so that it can be
  // captured, and gives the same bits each time.
  void multiply(CUstream_st* stream, float* c, Operand a, Operand b, int rows, int columns, int depth, void* workspace,
                uint64_t workspace_bytes);

 private:
  explicit Cublas(const CublasFunctions& functions) : functions_(functions) {}
  void check(int status, const char* call) const;

  const CublasFunctions& functions_;
  cublasContext* handle_ = nullptr;
  int version_ = 0;
};

}  // namespace adn::cuda
