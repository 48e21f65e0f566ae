#include "kernels/device_loop.cuh"
#include "kernels/elementwise/elementwise_cuda.h"

namespace plinth::kernels::cuda {
namespace {

constexpr int kCompareOps = 6;

template <CompareOp op, class C>
PLINTH_DEVICE bool holds(C a, C b) {
  if constexpr (op == CompareOp::Eq) return a == b;
  if constexpr (op == CompareOp::Ne) return a != b;
  if constexpr (op == CompareOp::Lt) return a < b;
  if constexpr (op == CompareOp::Le) return a <= b;
  if constexpr (op == CompareOp::Gt) return a > b;
  if constexpr (op == CompareOp::Ge) return a >= b;
}

template <CompareOp op, class C>
struct Function {
  PLINTH_DEVICE bool operator()(C a, C b) const { return holds<op>(a, b); }
};

// One kernel chooses the comparison once a vector, so that few are compiled.
template <class T>
struct Comparison {
  using X = T;
  using Y = T;
  using Out = bool;
  CompareOp op;
  template <class G>
  PLINTH_DEVICE void with_function(G g) const {
    with_constant<kCompareOps>(op, [&]<CompareOp known>() { g(Function<known, compute_t<T>>{}); });
  }
};

struct Logical {
  LogicalOp op;
  PLINTH_DEVICE bool operator()(bool a, bool b) const {
    if (op == LogicalOp::And) return a && b;
    if (op == LogicalOp::Or) return a || b;
    return a != b;
  }
};

// Operands of the loop: out, condition, x, y.
template <int W, class U>
PLINTH_KERNEL void where_kernel(DeviceLoop<4> loop, Global<const bool> condition, Global<const U> x,
                                Global<const U> y, Global<U> out) {
  for_own_vectors<W>(loop, [&](uint32_t, uint32_t index, uint32_t lanes) {
    const auto at = loop.offsets(index);
    const auto c = read_lanes<W, bool>(condition + at.of[1], loop.repeats[1], lanes);
    const auto a = read_lanes<W, U>(x + at.of[2], loop.repeats[2], lanes);
    const auto b = read_lanes<W, U>(y + at.of[3], loop.repeats[3], lanes);
    Vector<U, W> result;
    PLINTH_UNROLL
    for (int e = 0; e < W; ++e) result[e] = c[e] ? a[e] : b[e];
    write_lanes<W, U>(out + at.of[0], result, lanes);
  });
}

template <class U>
void select(void* stream, const Loop<4>& loop, const bool* condition, const void* x, const void* y,
            void* out) {
  constexpr int W = 16 / static_cast<int>(sizeof(U));
  if (elements(loop) == 0) return;
  for_each_part(
      simplified(loop), {0, 0, 0, 0}, [&](const Loop<4>& part, std::array<int64_t, 4> at) {
        U* const o = static_cast<U*>(out) + at[0];
        const bool* const c = condition + at[1];
        const U *const a = static_cast<const U*>(x) + at[2], *const b =
                                                                 static_cast<const U*>(y) + at[3];
        const bool vectors =
            takes_vectors<4>(part, W, {sizeof(U), 1, sizeof(U), sizeof(U)}, {o, c, a, b});
        const auto plan = device_loop(part, vectors ? W : 1);
        const auto s = static_cast<Stream>(stream);
        if (vectors) {
          launch("where", where_kernel<W, U>, map_shape<W>(plan), s, plan, c, a, b, o);
        } else {
          launch("where", where_kernel<1, U>, map_shape<1>(plan), s, plan, c, a, b, o);
        }
      });
}

}  // namespace

template <class T>
void compare(void* stream, CompareOp op, const Loop<3>& loop, const T* x, const T* y, bool* out) {
  launch_map("compare", stream, loop, Comparison<T>{op}, Comparison<T>{op}, x, y, out);
}

void logical(void* stream, LogicalOp op, const Loop<3>& loop, const bool* x, const bool* y,
             bool* out) {
  const Always<bool, bool, Logical> f{{op}};
  launch_map("logical", stream, loop, f, f, x, y, out);
}

template <class T>
void where(void* stream, const Loop<4>& loop, const bool* condition, const T* x, const T* y,
           T* out) {
  if constexpr (sizeof(T) == 1) select<uint8_t>(stream, loop, condition, x, y, out);
  if constexpr (sizeof(T) == 2) select<uint16_t>(stream, loop, condition, x, y, out);
  if constexpr (sizeof(T) == 4) select<uint32_t>(stream, loop, condition, x, y, out);
  if constexpr (sizeof(T) == 8) select<uint64_t>(stream, loop, condition, x, y, out);
}

#define PLINTH_INSTANTIATE(T)                                                            \
  template void compare<T>(void*, CompareOp, const Loop<3>&, const T*, const T*, bool*); \
  template void where<T>(void*, const Loop<4>&, const bool*, const T*, const T*, T*);
PLINTH_INSTANTIATE(double)
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
PLINTH_INSTANTIATE(int64_t)
PLINTH_INSTANTIATE(int32_t)
PLINTH_INSTANTIATE(uint8_t)
PLINTH_INSTANTIATE(bool)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
