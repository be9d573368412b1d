// Compiles only where this project's declarations of cuBLAS and cuDNN agree with NVIDIA's headers, as far as those are found.
#include <cstddef>
#include <type_traits>

#include "cuda/cublas.h"
#include "cuda/cudnn.h"

#if __has_include(<cublas_v2.h>)
#include <cublas_v2.h>
#define ADN_CHECK_CUBLAS
#endif
#if __has_include(<cudnn.h>)
#include <cudnn.h>
#define ADN_CHECK_CUDNN
#endif

namespace adn::cuda {
namespace {

// A type as this project writes it: an enumeration is an int.
template <class T>
struct Plain {
  using Type = std::conditional_t<std::is_enum_v<T>, int, T>;
};
template <class Result, class... Arguments>
struct Plain<Result(Arguments...)> {
  using Type = typename Plain<Result>::Type (*)(typename Plain<Arguments>::Type...);
};

#if defined(ADN_CHECK_CUBLAS)
#define ADN_CHECK(name) \
  static_assert(std::is_same_v<decltype(CublasFunctions::name), Plain<decltype(::name)>::Type>, #name)
ADN_CUBLAS_FUNCTIONS(ADN_CHECK);
#undef ADN_CHECK
static_assert(sizeof(cublasStatus_t) == sizeof(int));
static_assert(kCublasSuccess == CUBLAS_STATUS_SUCCESS && kCublasNormal == CUBLAS_OP_N &&
              kCublasTransposed == CUBLAS_OP_T && kCublasFloat32 == CUBLAS_DEFAULT_MATH &&
              kCublasTf32 == CUBLAS_TF32_TENSOR_OP_MATH);
#endif

#if defined(ADN_CHECK_CUDNN)
template <class Theirs>
constexpr bool same_layout() {
  return sizeof(Theirs) == sizeof(CudnnAlgorithm) && offsetof(Theirs, algo) == offsetof(CudnnAlgorithm, algo) &&
         offsetof(Theirs, status) == offsetof(CudnnAlgorithm, status) &&
         offsetof(Theirs, time) == offsetof(CudnnAlgorithm, time) &&
         offsetof(Theirs, memory) == offsetof(CudnnAlgorithm, memory) &&
         offsetof(Theirs, determinism) == offsetof(CudnnAlgorithm, determinism) &&
         offsetof(Theirs, mathType) == offsetof(CudnnAlgorithm, math_type);
}
static_assert(same_layout<cudnnConvolutionFwdAlgoPerf_t>() && same_layout<cudnnConvolutionBwdDataAlgoPerf_t>() &&
              same_layout<cudnnConvolutionBwdFilterAlgoPerf_t>());
// NVIDIA has a structure of its own for each pass.
template <>
struct Plain<cudnnConvolutionFwdAlgoPerf_t*> {
  using Type = CudnnAlgorithm*;
};
template <>
struct Plain<cudnnConvolutionBwdDataAlgoPerf_t*> {
  using Type = CudnnAlgorithm*;
};
template <>
struct Plain<cudnnConvolutionBwdFilterAlgoPerf_t*> {
  using Type = CudnnAlgorithm*;
};
#define ADN_CHECK(name) \
  static_assert(std::is_same_v<decltype(CudnnFunctions::name), Plain<decltype(::name)>::Type>, #name)
ADN_CUDNN_FUNCTIONS(ADN_CHECK);
#undef ADN_CHECK
static_assert(kCudnnSuccess == CUDNN_STATUS_SUCCESS && kCudnnFloat == CUDNN_DATA_FLOAT &&
              kCudnnNchw == CUDNN_TENSOR_NCHW && kCudnnCrossCorrelation == CUDNN_CROSS_CORRELATION &&
              kCudnnTf32 == CUDNN_DEFAULT_MATH && kCudnnFloat32 == CUDNN_FMA_MATH &&
              kCudnnDeterministic == CUDNN_DETERMINISTIC);
#endif

}  // namespace
}  // namespace adn::cuda
