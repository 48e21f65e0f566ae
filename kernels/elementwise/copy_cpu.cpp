#include <algorithm>
#include <type_traits>

#include "kernels/convert.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/functions.h"
#include "kernels/elementwise/map.h"

namespace plinth::kernels::cpu {
namespace {

template <class From, class To>
void copy_range(int64_t n, const From* x, To* out) {
  if constexpr (std::is_same_v<From, To>) {
    std::copy_n(x, n, out);
  } else if constexpr (is_half<From> && std::is_same_v<To, float>) {
    widen(n, x, out);
  } else if constexpr (std::is_same_v<From, float> && is_half<To>) {
    narrow(n, x, out);
  } else {
    map_range(n, x, out, [](compute_t<From> a) { return convert<To>(a); });
  }
}

}  // namespace

template <class From, class To>
void copy(const Loop<2>& loop, const From* x, To* out) {
  const int64_t so = loop.inner_stride(0), sx = loop.inner_stride(1);
  for_each_row(loop, [&](const std::array<int64_t, 2>& at, int64_t n) {
    To* o = out + at[0];
    const From* a = x + at[1];
    if (so == 1 && sx == 1) return copy_range(n, a, o);
    for (int64_t i = 0; i < n; ++i) {
      if constexpr (std::is_same_v<From, To>) {
        o[i * so] = a[i * sx];
      } else {
        o[i * so] = convert<To>(static_cast<compute_t<From>>(a[i * sx]));
      }
    }
  });
}

#define PLINTH_INSTANTIATE(From, To) template void copy<From, To>(const Loop<2>&, const From*, To*);
#define PLINTH_FROM(From)               \
  PLINTH_INSTANTIATE(From, double)      \
  PLINTH_INSTANTIATE(From, float)       \
  PLINTH_INSTANTIATE(From, BFloat16)    \
  PLINTH_INSTANTIATE(From, Float16)     \
  PLINTH_INSTANTIATE(From, Float8_e4m3) \
  PLINTH_INSTANTIATE(From, Float8_e5m2) \
  PLINTH_INSTANTIATE(From, int64_t)     \
  PLINTH_INSTANTIATE(From, int32_t)     \
  PLINTH_INSTANTIATE(From, uint8_t)     \
  PLINTH_INSTANTIATE(From, bool)
PLINTH_FROM(double)
PLINTH_FROM(float)
PLINTH_FROM(BFloat16)
PLINTH_FROM(Float16)
PLINTH_FROM(Float8_e4m3)
PLINTH_FROM(Float8_e5m2)
PLINTH_FROM(int64_t)
PLINTH_FROM(int32_t)
PLINTH_FROM(uint8_t)
PLINTH_FROM(bool)
#undef PLINTH_FROM
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cpu
