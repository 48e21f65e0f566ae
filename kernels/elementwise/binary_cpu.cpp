#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/functions.h"
#include "kernels/elementwise/map.h"

namespace plinth::kernels::cpu {
namespace {

// Whether operand 2 is one element for all.
bool repeats_one(const Loop<3>& loop) {
  for (int d = 0; d < loop.dims; ++d)
    if (loop.size[d] > 1 && loop.stride[2][d] != 0) return false;
  return loop.rows() > 0 && loop.inner() > 0;
}

// Squares and cubes are products, which take a fiftieth of std::pow()'s time.
template <class T>
void powers(const Loop<3>& loop, const T* x, const T* y, T* out) {
  using C = compute_t<T>;
  if constexpr (std::is_floating_point_v<C>) {
    const C exponent = repeats_one(loop) ? static_cast<C>(*y) : C{1};
    if (exponent == 2) return map(loop, out, x, y, [](C a, C) { return a * a; });
    if (exponent == 3) return map(loop, out, x, y, [](C a, C) { return a * a * a; });
  }
  map(loop, out, x, y, [](C a, C b) { return power(a, b); });
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
    case BinaryOp::Pow: return powers(loop, x, y, out);
    case BinaryOp::Maximum: return map(loop, out, x, y, [](C a, C b) { return maximum(a, b); });
    case BinaryOp::Minimum: return map(loop, out, x, y, [](C a, C b) { return minimum(a, b); });
  }
}

template <class T, class Y>
void add_scaled(const Loop<3>& loop, const T* x, const Y* y, double alpha, T* out) {
  using C = compute_t<T>;
  const C factor = static_cast<C>(alpha);
  map(loop, out, x, y, [factor](C a, C b) { return static_cast<C>(a + factor * b); });
}

#define PLINTH_INSTANTIATE(T)                                                \
  template void binary<T>(BinaryOp, const Loop<3>&, const T*, const T*, T*); \
  template void add_scaled(const Loop<3>&, const T*, const T*, double, T*);
PLINTH_INSTANTIATE(double)
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
PLINTH_INSTANTIATE(int64_t)
PLINTH_INSTANTIATE(int32_t)
PLINTH_INSTANTIATE(uint8_t)
#undef PLINTH_INSTANTIATE
template void add_scaled(const Loop<3>&, const float*, const BFloat16*, double, float*);
template void add_scaled(const Loop<3>&, const float*, const Float16*, double, float*);

}  // namespace plinth::kernels::cpu
