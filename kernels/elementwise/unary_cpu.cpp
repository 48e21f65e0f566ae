#include <cmath>
#include <type_traits>

#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/functions.h"
#include "kernels/elementwise/map.h"
#include "kernels/vector_math.h"

namespace plinth::kernels::cpu {
namespace {

template <class T>
void real_only(UnaryOp op, const Loop<2>& loop, const T* x, T* out) {
  using C = compute_t<T>;
  switch (op) {
    case UnaryOp::Exp: return map(loop, out, x, [](C a) { return math::exp(a); });
    case UnaryOp::Log: return map(loop, out, x, [](C a) { return math::log(a); });
    case UnaryOp::Sqrt: return map(loop, out, x, [](C a) { return std::sqrt(a); });
    case UnaryOp::Rsqrt: return map(loop, out, x, [](C a) { return C(1) / std::sqrt(a); });
    case UnaryOp::Reciprocal: return map(loop, out, x, [](C a) { return C(1) / a; });
    case UnaryOp::Sin: return map(loop, out, x, [](C a) { return std::sin(a); });
    case UnaryOp::Cos: return map(loop, out, x, [](C a) { return std::cos(a); });
    case UnaryOp::Tanh: return map(loop, out, x, [](C a) { return math::tanh(a); });
    case UnaryOp::Sigmoid: return map(loop, out, x, [](C a) { return math::sigmoid(a); });
    case UnaryOp::Erf: return map(loop, out, x, [](C a) { return math::erf(a); });
    case UnaryOp::Floor: return map(loop, out, x, [](C a) { return std::floor(a); });
    case UnaryOp::Round: return map(loop, out, x, [](C a) { return std::nearbyint(a); });
    default: return;
  }
}

}  // namespace

template <class T>
void unary(UnaryOp op, const Loop<2>& loop, const T* x, T* out) {
  using C = compute_t<T>;
  switch (op) {
    case UnaryOp::Neg: return map(loop, out, x, [](C a) { return static_cast<C>(-a); });
    case UnaryOp::Abs: return map(loop, out, x, [](C a) { return absolute(a); });
    case UnaryOp::Square: return map(loop, out, x, [](C a) { return static_cast<C>(a * a); });
    case UnaryOp::Sign: return map(loop, out, x, [](C a) { return sign(a); });
    default: break;
  }
  if constexpr (!std::is_integral_v<T>) real_only(op, loop, x, out);
}

#define PLINTH_INSTANTIATE(T) template void unary<T>(UnaryOp, const Loop<2>&, const T*, T*);
PLINTH_INSTANTIATE(double)
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
PLINTH_INSTANTIATE(int64_t)
PLINTH_INSTANTIATE(int32_t)
PLINTH_INSTANTIATE(uint8_t)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cpu
