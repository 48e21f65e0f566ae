#include <type_traits>

#include "kernels/elementwise/elementwise.h"

namespace plinth::kernels::cpu {
namespace {

// Converting a float outside an integer's range is undefined in C++: it gives the nearest bound
// here, and NaN gives 0.
template <class To, class C>
To to_integer(C value) {
  constexpr C low = static_cast<C>(std::numeric_limits<To>::min());
  constexpr C high = static_cast<C>(std::numeric_limits<To>::max());
  if (!(value >= low)) return value < low ? std::numeric_limits<To>::min() : To(0);
  return value >= high ? std::numeric_limits<To>::max() : static_cast<To>(value);
}

template <class To, class From>
To convert(From x) {
  const compute_t<From> value = x;
  if constexpr (std::is_same_v<To, bool>) {
    return value != 0;
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<compute_t<From>>) {
    return to_integer<To>(value);
  } else {
    return static_cast<To>(static_cast<compute_t<To>>(value));
  }
}

}  // namespace

template <class From, class To>
void copy(const Loop<2>& loop, const From* x, To* out) {
  if constexpr (std::is_same_v<From, To>) {
    map(loop, out, x, [](From a) { return a; });
  } else {
    map(loop, out, x, [](From a) { return convert<To>(a); });
  }
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
