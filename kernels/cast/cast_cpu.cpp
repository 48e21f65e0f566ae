#include "kernels/cast/cast.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "kernels/convert.h"
#include "kernels/parallel.h"

namespace plinth::kernels::cpu {
namespace {

template <class T>
inline constexpr bool is_narrow_float = !std::is_arithmetic_v<T>;
template <class T>
inline constexpr bool is_half = std::is_same_v<T, BFloat16> || std::is_same_v<T, Float16>;

template <class To, class From>
To cast_element(From x) {
  if constexpr (std::is_same_v<From, To>) {
    return x;
  } else if constexpr (is_narrow_float<From>) {
    return cast_element<To>(static_cast<float>(x));
  } else if constexpr (is_narrow_float<To>) {
    return To(static_cast<float>(x));
  } else if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    // Both limits are powers of two, or rounded up to one, so that From holds them exactly.
    constexpr From low = static_cast<From>(std::numeric_limits<To>::min());
    constexpr To half_beyond = std::numeric_limits<To>::max() / 2 + 1;
    constexpr From beyond = From(2) * static_cast<From>(half_beyond);
    if (x >= beyond) return std::numeric_limits<To>::max();
    if (x <= low) return std::numeric_limits<To>::min();
    return x == x ? static_cast<To>(x) : To(0);
  } else {
    return static_cast<To>(x);
  }
}

template <class From, class To>
void cast_range(int64_t n, const From* x, To* out) {
  constexpr bool kWiden = std::is_same_v<To, float> && is_half<From>;
  constexpr bool kNarrow = std::is_same_v<From, float> && is_half<To>;
  if constexpr (std::is_same_v<From, To>) {
    std::copy_n(x, n, out);
  } else if constexpr (kWiden) {
    widen(n, x, out);
  } else if constexpr (kNarrow) {
    narrow(n, x, out);
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] = cast_element<To>(x[i]);
  }
}

}  // namespace

template <class From, class To>
void cast(int64_t n, const From* x, To* out) {
  parallel_for(n, grain_for(1), [=](int64_t begin, int64_t end) {
    cast_range(end - begin, x + begin, out + begin);
  });
}

#define INSTANTIATE(From, To) template void cast(int64_t, const From*, To*);
#define INSTANTIATE_FROM(From)   \
  INSTANTIATE(From, double)      \
  INSTANTIATE(From, float)       \
  INSTANTIATE(From, BFloat16)    \
  INSTANTIATE(From, Float16)     \
  INSTANTIATE(From, Float8_e4m3) \
  INSTANTIATE(From, Float8_e5m2) \
  INSTANTIATE(From, int64_t)     \
  INSTANTIATE(From, int32_t)     \
  INSTANTIATE(From, uint8_t)     \
  INSTANTIATE(From, bool)
INSTANTIATE_FROM(double)
INSTANTIATE_FROM(float)
INSTANTIATE_FROM(BFloat16)
INSTANTIATE_FROM(Float16)
INSTANTIATE_FROM(Float8_e4m3)
INSTANTIATE_FROM(Float8_e5m2)
INSTANTIATE_FROM(int64_t)
INSTANTIATE_FROM(int32_t)
INSTANTIATE_FROM(uint8_t)
INSTANTIATE_FROM(bool)
#undef INSTANTIATE_FROM
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
