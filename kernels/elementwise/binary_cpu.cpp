#include <cmath>
#include <type_traits>

#include "kernels/elementwise/elementwise.h"

namespace plinth::kernels::cpu {
namespace {

template <class C>
C divide(C a, C b) {
  if constexpr (std::is_integral_v<C>) {
    // The most negative value over -1 has no quotient; multiplying wraps to itself, as the
    // hardware's own arithmetic does.
    if (b == 0) return 0;
    if constexpr (std::is_signed_v<C>) {
      if (b == C(-1))
        return static_cast<C>(std::make_unsigned_t<C>(0) - static_cast<std::make_unsigned_t<C>>(a));
    }
  }
  return static_cast<C>(a / b);
}

template <class C>
C power(C a, C b) {
  if constexpr (std::is_integral_v<C>) {
    return static_cast<C>(std::pow(static_cast<double>(a), static_cast<double>(b)));
  } else {
    return std::pow(a, b);
  }
}

// Integer arithmetic wraps: signed overflow would be undefined.
template <class C, class F>
C wrapping(C a, C b, F f) {
  if constexpr (std::is_integral_v<C>) {
    using U = std::make_unsigned_t<C>;
    return static_cast<C>(f(static_cast<U>(a), static_cast<U>(b)));
  } else {
    return f(a, b);
  }
}

}  // namespace

template <class T>
void binary(BinaryOp op, const Loop<3>& loop, const T* x, const T* y, T* out) {
  using C = compute_t<T>;
  switch (op) {
    case BinaryOp::Add:
      return map(loop, out, x, y,
                 [](C a, C b) { return wrapping(a, b, [](auto u, auto v) { return u + v; }); });
    case BinaryOp::Sub:
      return map(loop, out, x, y,
                 [](C a, C b) { return wrapping(a, b, [](auto u, auto v) { return u - v; }); });
    case BinaryOp::Mul:
      return map(loop, out, x, y,
                 [](C a, C b) { return wrapping(a, b, [](auto u, auto v) { return u * v; }); });
    case BinaryOp::Div: return map(loop, out, x, y, [](C a, C b) { return divide(a, b); });
    case BinaryOp::Pow: return map(loop, out, x, y, [](C a, C b) { return power(a, b); });
    case BinaryOp::Maximum:
      return map(loop, out, x, y, [](C a, C b) { return a != a || a > b ? a : b; });
    case BinaryOp::Minimum:
      return map(loop, out, x, y, [](C a, C b) { return a != a || a < b ? a : b; });
  }
}

template <class T>
void add_scaled(const Loop<3>& loop, const T* x, const T* y, double alpha, T* out) {
  using C = compute_t<T>;
  const C factor = static_cast<C>(alpha);
  map(loop, out, x, y, [factor](C a, C b) { return static_cast<C>(a + factor * b); });
}

#define PLINTH_INSTANTIATE(T)                                                \
  template void binary<T>(BinaryOp, const Loop<3>&, const T*, const T*, T*); \
  template void add_scaled<T>(const Loop<3>&, const T*, const T*, double, T*);
PLINTH_INSTANTIATE(double)
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
PLINTH_INSTANTIATE(int64_t)
PLINTH_INSTANTIATE(int32_t)
PLINTH_INSTANTIATE(uint8_t)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cpu
