#include "kernels/device_loop.cuh"
#include "kernels/elementwise/elementwise_cuda.h"
#include "kernels/elementwise/functions.h"

namespace plinth::kernels::cuda {
namespace {

constexpr int kBinaryOps = 7;

template <BinaryOp op, class C>
PLINTH_DEVICE C evaluate(C a, C b) {
  if constexpr (op == BinaryOp::Add) return wrapping(a, b, [](auto u, auto v) { return u + v; });
  if constexpr (op == BinaryOp::Sub) return wrapping(a, b, [](auto u, auto v) { return u - v; });
  if constexpr (op == BinaryOp::Mul) return wrapping(a, b, [](auto u, auto v) { return u * v; });
  if constexpr (op == BinaryOp::Div) return divide(a, b);
  if constexpr (op == BinaryOp::Pow) return power(a, b);
  if constexpr (op == BinaryOp::Maximum) return maximum(a, b);
  if constexpr (op == BinaryOp::Minimum) return minimum(a, b);
}

template <BinaryOp op, class C>
struct Function {
  PLINTH_DEVICE C operator()(C a, C b) const { return evaluate<op>(a, b); }
};

// One kernel chooses the operation once a vector, so that few are compiled; powers, which are long,
// have their own.
template <class T, bool kPowers>
struct AnyOf {
  using X = T;
  using Y = T;
  using Out = T;
  BinaryOp op;
  template <class G>
  PLINTH_DEVICE void with_function(G g) const {
    with_constant<kBinaryOps>(op, [&]<BinaryOp known>() {
      if constexpr (kPowers || known != BinaryOp::Pow) g(Function<known, compute_t<T>>{});
    });
  }
};

template <class T>
using Powers = Always<T, T, Function<BinaryOp::Pow, compute_t<T>>>;

template <class C>
struct AddScaled {
  C factor;
  PLINTH_DEVICE C operator()(C a, C b) const { return static_cast<C>(a + factor * b); }
};

}  // namespace

template <class T>
void binary(void* stream, BinaryOp op, const Loop<3>& loop, const T* x, const T* y, T* out) {
  const AnyOf<T, true> single{op};
  if (op != BinaryOp::Pow) {
    launch_map("binary", stream, loop, AnyOf<T, false>{op}, single, x, y, out);
  } else if constexpr (std::is_floating_point_v<compute_t<T>>) {
    launch_map("binary", stream, loop, Powers<T>{}, single, x, y, out);
  } else {
    launch_map("binary", stream, loop, NoVectors{}, single, x, y, out);
  }
}

template <class T, class Y>
void add_scaled(void* stream, const Loop<3>& loop, const T* x, const Y* y, double alpha, T* out) {
  using C = compute_t<T>;
  const Always<T, T, AddScaled<C>, Y> f{{static_cast<C>(alpha)}};
  launch_map("add_scaled", stream, loop, f, f, x, y, out);
}

#define PLINTH_INSTANTIATE(T)                                                       \
  template void binary<T>(void*, BinaryOp, const Loop<3>&, const T*, const T*, T*); \
  template void add_scaled(void*, const Loop<3>&, const T*, const T*, double, T*);
PLINTH_INSTANTIATE(double)
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
PLINTH_INSTANTIATE(int64_t)
PLINTH_INSTANTIATE(int32_t)
PLINTH_INSTANTIATE(uint8_t)
#undef PLINTH_INSTANTIATE
template void add_scaled(void*, const Loop<3>&, const float*, const BFloat16*, double, float*);
template void add_scaled(void*, const Loop<3>&, const float*, const Float16*, double, float*);

}  // namespace plinth::kernels::cuda
