// Adadelta's arithmetic, written once for every backend (Zeiler, arXiv 1212.5701, in torch.optim.Adadelta's order). Taken
// by the host compiler and by nvcc, C++17; compiled without contraction, so that every instruction set gives the same bits.
// T is what a step computes in: double for float64 parameters, else float.
#pragma once

#include "adadelta/backend.h"
#include "core/philox.h"  // ADN_HOST_DEVICE

namespace adn {

ADN_HOST_DEVICE float square_root(float x) {
#if defined(__CUDACC__)
  return sqrtf(x);
#else
  return __builtin_sqrtf(x);
#endif
}
ADN_HOST_DEVICE double square_root(double x) {
#if defined(__CUDACC__)
  return sqrt(x);
#else
  return __builtin_sqrt(x);
#endif
}

// A group's numbers as the elements want them. Differences such as 1 - rho are taken in double and then rounded, as PyTorch
// does. What an option leaves out is a factor of 1 or a bound of infinity, which changes no bit.
template <class T>
struct AdadeltaNumbersOf {
  T unscale;      // reciprocal of the gradients' scale
  T clip_value;   // infinity: none
  T clip_factor;  // of the clip by norm
  T sign;         // -1 to maximize
  T lr, rho, one_minus_rho, eps, weight_decay;
  T keep;         // of p: 1 - lr * decoupled_weight_decay
  T least_root;   // sqrt(v + eps) is taken to be at least this: 0, or a number below every other root
  T least_state;  // v and u below it are set to 0: the least normal number, or 0
  T average_decay, one_minus_average_decay;
};
using AdadeltaNumbers = AdadeltaNumbersOf<float>;

// lr at the time of the step: the group's own, or the one in memory.
ADN_HOST_DEVICE double adadelta_lr(const adn_adadelta_group& o) {
  if (o.lr_memory == nullptr) return o.lr;
  return o.lr_dtype == ADN_DTYPE_FLOAT64 ? *static_cast<const double*>(o.lr_memory)
                                         : static_cast<double>(*static_cast<const float*>(o.lr_memory));
}

template <class T>
ADN_HOST_DEVICE AdadeltaNumbersOf<T> adadelta_numbers(const adn_adadelta_group& o, double lr, double gradient_scale,
                                                      double clip_factor) {
  AdadeltaNumbersOf<T> n;
  n.unscale = static_cast<T>(1.0 / gradient_scale);
  n.clip_value = static_cast<T>(o.clip_value);
  n.clip_factor = static_cast<T>(clip_factor);
  n.sign = o.maximize != 0 ? T(-1) : T(1);
  n.lr = static_cast<T>(lr);
  n.rho = static_cast<T>(o.rho);
  n.one_minus_rho = static_cast<T>(1.0 - o.rho);
  n.eps = static_cast<T>(o.eps);
  n.weight_decay = static_cast<T>(o.weight_decay);
  n.keep = static_cast<T>(1.0 - lr * o.decoupled_weight_decay);
  // The root of the least positive number is 3.7e-23 in float and 2.2e-162 in double.
  n.least_root = o.keep_zero == 0 ? T(0) : static_cast<T>(sizeof(T) == sizeof(double) ? 1e-200 : 1e-30);
  // Without a gradient the running averages sink into the denormals, where PyTorch's stay for ever (at 5.6e-45 with rho 0.9) and
  // every product takes many times longer. They are added to eps alone, or end in a sum of normal numbers: with eps at least
  // 2^25 times the least normal number, what is dropped is below half a unit in the last place of v + eps and of u + eps.
  const double least = sizeof(T) == sizeof(double) ? 0x1p-1022 : 0x1p-126;
  n.least_state = o.eps >= least * 0x1p25 ? static_cast<T>(least) : T(0);
  n.average_decay = static_cast<T>(o.average_decay);
  n.one_minus_average_decay = static_cast<T>(1.0 - o.average_decay);
  return n;
}

// Of the clip by norm: torch.nn.utils.clip_grad_norm_'s.
ADN_HOST_DEVICE double adadelta_clip_factor(double clip_norm, double norm) {
  const double factor = clip_norm / (norm + 1e-6);
  return factor > 1.0 ? 1.0 : factor;
}

// A gradient after unscaling and clipping by value, of which the norm is taken. NaN stays NaN.
template <class T>
ADN_HOST_DEVICE T adadelta_unscaled(T g, const AdadeltaNumbersOf<T>& n) {
  g *= n.unscale;
  return g > n.clip_value ? n.clip_value : g < -n.clip_value ? -n.clip_value : g;
}

// And after clipping by norm: what the element takes.
template <class T>
ADN_HOST_DEVICE T adadelta_gradient(T g, const AdadeltaNumbersOf<T>& n) {
  return adadelta_unscaled(g, n) * n.clip_factor;
}

// One element: reads g, updates p, v (square_avg) and u (acc_delta). Without weight decay p stays out of the gradient, as in
// PyTorch: an infinite p times a decay of 0 would be NaN.
template <bool kDecay, class T>
ADN_HOST_DEVICE void adadelta_element(T& p, T g, T& v, T& u, const AdadeltaNumbersOf<T>& n) {
  g *= n.sign;
  if (kDecay) g += n.weight_decay * p;
  v = n.rho * v + n.one_minus_rho * g * g;
  v = v < n.least_state ? T(0) : v;
  const T root = square_root(v + n.eps);
  const T d = square_root(u + n.eps) / (root < n.least_root ? n.least_root : root) * g;
  u = n.rho * u + n.one_minus_rho * d * d;
  u = u < n.least_state ? T(0) : u;
  p = n.keep * p - n.lr * d;
}

// The average after an element's update, as torch.optim.swa_utils.get_ema_avg_fn has it.
template <class T>
ADN_HOST_DEVICE void adadelta_average(T& average, T p, const AdadeltaNumbersOf<T>& n) {
  average = n.average_decay * average + n.one_minus_average_decay * p;
}

// The derivative of the element's step (a vector-Jacobian product). p, g, v and u are what the step read; p_bar, v_bar and
// u_bar come in as the gradients with respect to what it wrote and leave as those with respect to what it read. Returns the
// gradient with respect to lr.
template <class T>
ADN_HOST_DEVICE T adadelta_element_vjp(T p, T g, T v, T u, T& p_bar, T& g_bar, T& v_bar, T& u_bar,
                                       T decoupled_weight_decay, const AdadeltaNumbersOf<T>& n) {
  g *= n.sign;
  if (n.weight_decay != T(0)) g += n.weight_decay * p;
  v = n.rho * v + n.one_minus_rho * g * g;
  const T upper = square_root(u + n.eps), root = square_root(v + n.eps);
  // No gradient passes the update of an element that keep_zero keeps: its d is 0 whatever was read.
  const bool kept = root < n.least_root;
  const T d = kept ? T(0) : upper / root * g;
  const T d_bar = T(2) * n.one_minus_rho * d * u_bar - n.lr * p_bar;
  const T new_v_bar = kept ? v_bar : v_bar - d_bar * d / (T(2) * root * root);
  const T direct = kept ? T(0) : d_bar * upper / root;
  const T inner_bar = direct + T(2) * n.one_minus_rho * g * new_v_bar;  // by g after sign and decay
  const T lr_bar = -p_bar * (d + decoupled_weight_decay * p);
  u_bar = n.rho * u_bar + (kept ? T(0) : d_bar * g / (T(2) * upper * root));
  v_bar = n.rho * new_v_bar;
  g_bar = n.sign * inner_bar;
  p_bar = n.keep * p_bar + n.weight_decay * inner_bar;
  return lr_bar;
}

}  // namespace adn
