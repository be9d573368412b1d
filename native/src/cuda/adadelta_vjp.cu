// The derivative of one tensor's Adadelta step: core/adadelta_formula.h's vector-Jacobian product, element by element,
// and the gradient with respect to lr, which blocks add in double for runs of kRun elements and one more block over the runs, in
// order. Limit: memory, 44 bytes a float32 element.
#include "cuda/block_sum.h"

namespace adn::cuda {
namespace {

constexpr uint64_t kRun = 16 * 1024;

template <class T>
__global__ void __launch_bounds__(kThreads)
    vjp_kernel(double* parts, adn_adadelta_vjp a, T decoupled_weight_decay, AdadeltaNumbersOf<T> n) {
  const T *p = static_cast<const T*>(a.p), *g = static_cast<const T*>(a.g), *v = static_cast<const T*>(a.v),
          *u = static_cast<const T*>(a.u);
  T *p_bar = static_cast<T*>(a.p_bar), *g_bar = static_cast<T*>(a.g_bar), *v_bar = static_cast<T*>(a.v_bar),
    *u_bar = static_cast<T*>(a.u_bar);
  const uint64_t begin = uint64_t{blockIdx.x} * kRun, end = a.count - begin < kRun ? a.count : begin + kRun;
  double sum = 0;
  for (uint64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    sum += static_cast<double>(adadelta_element_vjp(p[i], g[i], v[i], u[i], p_bar[i], g_bar[i], v_bar[i], u_bar[i],
                                                    decoupled_weight_decay, n));
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) add_parts(double* lr_bar, const double* parts, uint64_t count) {
  double sum = 0;
  for (uint64_t i = threadIdx.x; i < count; i += kThreads) sum += parts[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *lr_bar += sum;
}

template <class T>
Error launch_vjp(Stream stream, double* parts, const adn_adadelta_vjp& vjp, const adn_adadelta_group& group) {
  return launch(stream, Grid(ceil_div(vjp.count, kRun)), &vjp_kernel<T>, parts, vjp,
                static_cast<T>(group.decoupled_weight_decay), adadelta_numbers<T>(group, group.lr, 1.0, 1.0));
}

}  // namespace

uint64_t adadelta_vjp_workspace(uint64_t count) { return ceil_div(count, kRun) * sizeof(double); }

Error adadelta_vjp(Stream stream, double* lr_bar, const adn_adadelta_vjp& vjp, const adn_adadelta_group& group,
                   void* workspace) {
  if (vjp.count == 0) return cudaSuccess;
  auto* parts = static_cast<double*>(workspace);
  if (parts == nullptr) return cudaErrorInvalidValue;
  const Error error = vjp.dtype == ADN_DTYPE_FLOAT64 ? launch_vjp<double>(stream, parts, vjp, group)
                                                     : launch_vjp<float>(stream, parts, vjp, group);
  return error != cudaSuccess ? error : launch(stream, Grid(1), &add_parts, lr_bar, parts, ceil_div(vjp.count, kRun));
}

}  // namespace adn::cuda
