#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/map.h"

namespace plinth::kernels::cpu {

template <class T>
void compare(CompareOp op, const Loop<3>& loop, const T* x, const T* y, bool* out) {
  using C = compute_t<T>;
  switch (op) {
    case CompareOp::Eq: return map(loop, out, x, y, [](C a, C b) { return a == b; });
    case CompareOp::Ne: return map(loop, out, x, y, [](C a, C b) { return a != b; });
    case CompareOp::Lt: return map(loop, out, x, y, [](C a, C b) { return a < b; });
    case CompareOp::Le: return map(loop, out, x, y, [](C a, C b) { return a <= b; });
    case CompareOp::Gt: return map(loop, out, x, y, [](C a, C b) { return a > b; });
    case CompareOp::Ge: return map(loop, out, x, y, [](C a, C b) { return a >= b; });
  }
}

void logical(LogicalOp op, const Loop<3>& loop, const bool* x, const bool* y, bool* out) {
  switch (op) {
    case LogicalOp::And: return map(loop, out, x, y, [](bool a, bool b) { return a && b; });
    case LogicalOp::Or: return map(loop, out, x, y, [](bool a, bool b) { return a || b; });
    case LogicalOp::Xor: return map(loop, out, x, y, [](bool a, bool b) { return a != b; });
  }
}

template <class T>
void where(const Loop<4>& loop, const bool* condition, const T* x, const T* y, T* out) {
  const int64_t so = loop.inner_stride(0), sc = loop.inner_stride(1);
  const int64_t sx = loop.inner_stride(2), sy = loop.inner_stride(3);
  for_each_row(loop, [&](const std::array<int64_t, 4>& at, int64_t n) {
    T* o = out + at[0];
    const bool* c = condition + at[1];
    const T* a = x + at[2];
    const T* b = y + at[3];
    for (int64_t i = 0; i < n; ++i) o[i * so] = c[i * sc] ? a[i * sx] : b[i * sy];
  });
}

#define PLINTH_INSTANTIATE(T)                                                     \
  template void compare<T>(CompareOp, const Loop<3>&, const T*, const T*, bool*); \
  template void where<T>(const Loop<4>&, const bool*, const T*, const T*, T*);
PLINTH_INSTANTIATE(double)
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
PLINTH_INSTANTIATE(int64_t)
PLINTH_INSTANTIATE(int32_t)
PLINTH_INSTANTIATE(uint8_t)
PLINTH_INSTANTIATE(bool)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cpu
