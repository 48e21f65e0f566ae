#include "kernels/device_loop.cuh"
#include "kernels/elementwise/elementwise_cuda.h"
#include "kernels/elementwise/functions.h"

namespace plinth::kernels::cuda {
namespace {

constexpr int kUnaryOps = 16;

// Integers have few of the functions.
template <class C>
constexpr bool exists(UnaryOp op) {
  return std::is_floating_point_v<C> || op == UnaryOp::Neg || op == UnaryOp::Abs ||
         op == UnaryOp::Square || op == UnaryOp::Sign;
}

// Functions of many instructions have kernels of their own; the others share one, which chooses
// once a vector, so that few kernels are compiled.
constexpr bool is_long(UnaryOp op) {
  return op == UnaryOp::Exp || op == UnaryOp::Log || op == UnaryOp::Sin || op == UnaryOp::Cos ||
         op == UnaryOp::Tanh || op == UnaryOp::Sigmoid || op == UnaryOp::Erf;
}

template <UnaryOp op, class C>
PLINTH_DEVICE C evaluate(C a) {
  if constexpr (op == UnaryOp::Neg) return static_cast<C>(-a);
  if constexpr (op == UnaryOp::Abs) return absolute(a);
  if constexpr (op == UnaryOp::Square) return static_cast<C>(a * a);
  if constexpr (op == UnaryOp::Sign) return sign(a);
  if constexpr (std::is_floating_point_v<C>) {
    if constexpr (op == UnaryOp::Exp) return std::exp(a);
    if constexpr (op == UnaryOp::Log) return std::log(a);
    if constexpr (op == UnaryOp::Sqrt) return std::sqrt(a);
    if constexpr (op == UnaryOp::Rsqrt) return C(1) / std::sqrt(a);
    if constexpr (op == UnaryOp::Reciprocal) return C(1) / a;
    if constexpr (op == UnaryOp::Sin) return std::sin(a);
    if constexpr (op == UnaryOp::Cos) return std::cos(a);
    if constexpr (op == UnaryOp::Tanh) return std::tanh(a);
    if constexpr (op == UnaryOp::Sigmoid) {
      // Of e^-|a|, so that neither tail loses its small values.
      const C e = std::exp(-std::fabs(a));
      return (a < 0 ? e : C(1)) / (C(1) + e);
    }
    if constexpr (op == UnaryOp::Erf) return std::erf(a);
    if constexpr (op == UnaryOp::Floor) return std::floor(a);
    if constexpr (op == UnaryOp::Round) return std::nearbyint(a);
  }
  return a;
}

template <UnaryOp op, class C>
struct Function {
  PLINTH_DEVICE C operator()(C a) const { return evaluate<op>(a); }
};

// All functions, or the short ones.
template <class T, bool kShort>
struct AnyOf {
  using X = T;
  using Out = T;
  using C = compute_t<T>;
  UnaryOp op;
  template <class G>
  PLINTH_DEVICE void with_function(G g) const {
    with_constant<kUnaryOps>(op, [&]<UnaryOp known>() {
      if constexpr (exists<C>(known) && !(kShort && is_long(known))) g(Function<known, C>{});
    });
  }
};

template <UnaryOp op, class T>
using Only = Always<T, T, Function<op, compute_t<T>>>;

}  // namespace

template <class T>
void unary(void* stream, UnaryOp op, const Loop<2>& loop, const T* x, T* out) {
  const auto run = [&](auto whole) {
    launch_map("unary", stream, loop, whole, AnyOf<T, false>{op}, x, out);
  };
  if constexpr (std::is_floating_point_v<compute_t<T>>) {
    switch (op) {
      case UnaryOp::Exp: return run(Only<UnaryOp::Exp, T>{});
      case UnaryOp::Log: return run(Only<UnaryOp::Log, T>{});
      case UnaryOp::Sin: return run(Only<UnaryOp::Sin, T>{});
      case UnaryOp::Cos: return run(Only<UnaryOp::Cos, T>{});
      case UnaryOp::Tanh: return run(Only<UnaryOp::Tanh, T>{});
      case UnaryOp::Sigmoid: return run(Only<UnaryOp::Sigmoid, T>{});
      case UnaryOp::Erf: return run(Only<UnaryOp::Erf, T>{});
      default: break;
    }
  }
  run(AnyOf<T, true>{op});
}

#define PLINTH_INSTANTIATE(T) template void unary<T>(void*, UnaryOp, const Loop<2>&, const T*, T*);
PLINTH_INSTANTIATE(double)
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
PLINTH_INSTANTIATE(int64_t)
PLINTH_INSTANTIATE(int32_t)
PLINTH_INSTANTIATE(uint8_t)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
