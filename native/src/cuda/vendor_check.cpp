// Compiles only where this project's declarations of cuBLAS and cuDNN agree with NVIDIA's headers, as far as those are found.
#include <type_traits>

#include "cuda/cublas.h"

#if __has_include(<cublas_v2.h>)
#include <cublas_v2.h>
#define ADN_CHECK_CUBLAS
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

}  // namespace
}  // namespace adn::cuda
