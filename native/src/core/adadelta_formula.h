// Adadelta's arithmetic, written once for every backend (Zeiler, arXiv 1212.5701, in torch.optim.Adadelta's order). Taken
// by the host compiler and by nvcc; compiled without contraction, so that every instruction set gives the same bits.
#pragma once

#include "adadelta/adadelta.h"
#include "core/philox.h"  // ADN_HOST_DEVICE

#if defined(__CUDACC__)
#define ADN_SQRT(x) sqrtf(x)
#else
#define ADN_SQRT(x) __builtin_sqrtf(x)
#endif

namespace adn {

// A group's numbers as the kernels want them.
struct AdadeltaNumbers {
  float sign;  // -1 to maximize
  float lr, rho, one_minus_rho, eps, weight_decay;
};

// 1 - rho is taken in double and then rounded, as PyTorch does.
ADN_HOST_DEVICE AdadeltaNumbers adadelta_numbers(const adn_adadelta_options& o) {
  return {o.maximize != 0 ? -1.0f : 1.0f,  static_cast<float>(o.lr),  static_cast<float>(o.rho),
          static_cast<float>(1.0 - o.rho), static_cast<float>(o.eps), static_cast<float>(o.weight_decay)};
}

// One element: reads g, updates p, v (square_avg) and u (acc_delta). Without weight decay p stays out of the gradient, as in
// PyTorch: an infinite p times a decay of 0 would be NaN.
template <bool kDecay>
ADN_HOST_DEVICE void adadelta_element(float& p, float g, float& v, float& u, const AdadeltaNumbers& n) {
  g *= n.sign;
  if (kDecay) g += n.weight_decay * p;
  v = n.rho * v + n.one_minus_rho * g * g;
  const float d = ADN_SQRT(u + n.eps) / ADN_SQRT(v + n.eps) * g;
  u = n.rho * u + n.one_minus_rho * d * d;
  p -= n.lr * d;
}

}  // namespace adn
