// Adadelta's kernel, included by kernels.inl for each instruction set: core/adadelta_formula.h over contiguous elements.
//
//   g = clip(g / scale); g = -g if maximize; g += weight_decay p; v = rho v + (1-rho) g^2; d = sqrt(u+eps)/sqrt(v+eps) g;
//   u = rho u + (1-rho) d^2; p = (1 - lr decoupled) p - lr d
//
// Limit: memory. It reads p, g, v and u once and writes p, v and u once, 28 bytes a float32 parameter; what options add
// (master weights, an average, zeroed gradients) is done on blocks that are still in the first-level cache, so that it adds
// its own bytes alone. The norm reads the gradients once more beforehand: 4 bytes a parameter.

#include "core/float16.h"

namespace adn::cpu {
namespace {

constexpr int64_t kAdadeltaBlock = 512;

inline double to_number(double x) { return x; }
template <class E>
inline float to_number(E x) {
  return to_float(x);
}
inline void from_number(double& to, double x) { to = x; }
template <class E>
inline void from_number(E& to, float x) {
  from_float(to, x);
}

template <class T>
void adadelta_update(T* __restrict p, const T* __restrict g, T* __restrict v, T* __restrict u, int64_t count,
                     const AdadeltaNumbersOf<T>& numbers) {
  const AdadeltaNumbersOf<T> n = numbers;
  if (n.weight_decay != T(0)) {
    for (int64_t i = 0; i < count; ++i) adadelta_element<true>(p[i], g[i], v[i], u[i], n);
  } else {
    for (int64_t i = 0; i < count; ++i) adadelta_element<false>(p[i], g[i], v[i], u[i], n);
  }
}

template <class T, class E>
struct IsSame {
  static constexpr bool value = false;
};
template <class T>
struct IsSame<T, T> {
  static constexpr bool value = true;
};

// Elements of type E, computed in T.
template <class T, class E>
void adadelta_run(const AdadeltaRun& r, const AdadeltaNumbersOf<T>& numbers) {
  constexpr bool kSame = IsSame<T, E>::value;
  const AdadeltaNumbersOf<T> n = numbers;
  E* p = static_cast<E*>(r.p);
  E* g = static_cast<E*>(r.g);
  T* v = static_cast<T*>(r.v);
  T* u = static_cast<T*>(r.u);
  T* master = static_cast<T*>(r.master);
  T* average = static_cast<T*>(r.average);
  if constexpr (kSame) {
    if (!r.clip && !r.zero && average == nullptr) {
      adadelta_update(p, g, v, u, r.count, n);
      return;
    }
  }
  T weights[kAdadeltaBlock], gradients[kAdadeltaBlock];
  for (int64_t at = 0; at < r.count; at += kAdadeltaBlock) {
    const int64_t count = r.count - at < kAdadeltaBlock ? r.count - at : kAdadeltaBlock;
    E* pe = p + at;
    E* ge = g + at;
    for (int64_t i = 0; i < count; ++i) gradients[i] = adadelta_gradient<T>(to_number(ge[i]), n);
    T* w = weights;
    if constexpr (kSame) {
      w = pe;
    } else if (master != nullptr) {
      w = master + at;
    } else {
      for (int64_t i = 0; i < count; ++i) weights[i] = to_number(pe[i]);
    }
    adadelta_update(w, gradients, v + at, u + at, count, n);
    if constexpr (!kSame) {
      for (int64_t i = 0; i < count; ++i) from_number(pe[i], w[i]);
    }
    if (average != nullptr) {
      for (int64_t i = 0; i < count; ++i) adadelta_average(average[at + i], w[i], n);
    }
    if (r.zero) {
      for (int64_t i = 0; i < count; ++i) ge[i] = E{};
    }
  }
}

void adadelta(const AdadeltaRun& r, const AdadeltaGroupNumbers& numbers) {
  switch (r.dtype) {
    case ADN_DTYPE_FLOAT64:
      return adadelta_run<double, double>(r, numbers.doubles);
    case ADN_DTYPE_FLOAT16:
      return adadelta_run<float, Half>(r, numbers.floats);
    case ADN_DTYPE_BFLOAT16:
      return adadelta_run<float, BFloat16>(r, numbers.floats);
    default:
      return adadelta_run<float, float>(r, numbers.floats);
  }
}

template <class T, class E>
bool norm_run(double* sums, const E* g, int64_t count, const AdadeltaNumbersOf<T>& numbers) {
  const AdadeltaNumbersOf<T> n = numbers;
  double sum[kNormLanes];
  T bad[kNormLanes] = {};  // x - x is NaN for what is not finite, and 0 for the rest
  for (int64_t j = 0; j < kNormLanes; ++j) sum[j] = sums[j];
  int64_t i = 0;
  for (; i + kNormLanes <= count; i += kNormLanes) {
    for (int64_t j = 0; j < kNormLanes; ++j) {
      const T x = to_number(g[i + j]);
      const double y = static_cast<double>(adadelta_unscaled(x, n));
      sum[j] += y * y;
      bad[j] += x - x;
    }
  }
  for (int64_t j = 0; i + j < count; ++j) {
    const T x = to_number(g[i + j]);
    const double y = static_cast<double>(adadelta_unscaled(x, n));
    sum[j] += y * y;
    bad[j] += x - x;
  }
  bool finite = true;
  for (int64_t j = 0; j < kNormLanes; ++j) {
    sums[j] = sum[j];
    finite = finite && bad[j] == T(0);
  }
  return finite;
}

bool adadelta_norm(double* sums, const AdadeltaRun& r, const AdadeltaGroupNumbers& numbers) {
  switch (r.dtype) {
    case ADN_DTYPE_FLOAT64:
      return norm_run(sums, static_cast<const double*>(r.g), r.count, numbers.doubles);
    case ADN_DTYPE_FLOAT16:
      return norm_run(sums, static_cast<const Half*>(r.g), r.count, numbers.floats);
    case ADN_DTYPE_BFLOAT16:
      return norm_run(sums, static_cast<const BFloat16*>(r.g), r.count, numbers.floats);
    default:
      return norm_run(sums, static_cast<const float*>(r.g), r.count, numbers.floats);
  }
}

template <class T>
double vjp_run(const adn_adadelta_vjp& a, double decoupled_weight_decay, const AdadeltaNumbersOf<T>& numbers) {
  const AdadeltaNumbersOf<T> n = numbers;
  const T decoupled = static_cast<T>(decoupled_weight_decay);
  const T *p = static_cast<const T*>(a.p), *g = static_cast<const T*>(a.g), *v = static_cast<const T*>(a.v),
          *u = static_cast<const T*>(a.u);
  T *p_bar = static_cast<T*>(a.p_bar), *g_bar = static_cast<T*>(a.g_bar), *v_bar = static_cast<T*>(a.v_bar),
    *u_bar = static_cast<T*>(a.u_bar);
  double lr_bar = 0;
  for (uint64_t i = 0; i < a.count; ++i) {
    lr_bar += static_cast<double>(
        adadelta_element_vjp(p[i], g[i], v[i], u[i], p_bar[i], g_bar[i], v_bar[i], u_bar[i], decoupled, n));
  }
  return lr_bar;
}

double adadelta_vjp(const adn_adadelta_vjp& a, double decoupled_weight_decay, const AdadeltaGroupNumbers& numbers) {
  return a.dtype == ADN_DTYPE_FLOAT64 ? vjp_run(a, decoupled_weight_decay, numbers.doubles)
                                      : vjp_run(a, decoupled_weight_decay, numbers.floats);
}

}  // namespace
}  // namespace adn::cpu
