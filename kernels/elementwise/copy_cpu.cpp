#include <algorithm>
#include <type_traits>

#include "kernels/convert.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/functions.h"
#include "kernels/elementwise/map.h"
#include "kernels/parallel.h"

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

template <class From, class To>
PLINTH_INLINE To converted(From x) {
  if constexpr (std::is_same_v<From, To>) {
    return x;
  } else {
    return convert<To>(static_cast<compute_t<From>>(x));
  }
}

constexpr int64_t kTile = 32;

// The dimension along which x lies one by one where out does along the inner one; -1: none that is
// worth tiles.
int turned_dimension(const Loop<2>& loop) {
  if (loop.inner_stride(0) != 1 || loop.inner_stride(1) == 1 || loop.inner() < kTile) return -1;
  for (int d = loop.dims - 2; d >= 0; --d)
    if (loop.stride[1][d] == 1 && loop.size[d] >= kTile) return d;
  return -1;
}

// One tile: `rows` of out, `row` elements apart, of n elements each; those of x are `column` apart.
template <class From, class To>
void copy_tile(int64_t rows, int64_t n, const From* x, int64_t column, To* out, int64_t row) {
  To tile[kTile][kTile];
  for (int64_t i = 0; i < n; ++i)
    for (int64_t r = 0; r < rows; ++r) tile[r][i] = converted<From, To>(x[i * column + r]);
  for (int64_t r = 0; r < rows; ++r) std::copy_n(tile[r], n, out + r * row);
}

// Copies by tiles of dimension d and the inner one: row by row each element of x would be read from
// another line of the cache, and where rows are a power of two apart, these lines push out each
// other before their other elements are read.
template <class From, class To>
void copy_turned(const Loop<2>& loop, int d, const From* x, To* out) {
  const int64_t n = loop.inner(), column = loop.inner_stride(1), row = loop.stride[0][d];
  Loop<2> strips = loop;
  strips.size[d] = (loop.size[d] + kTile - 1) / kTile;
  for (auto& strides : strips.stride) strides[d] *= kTile;
  int64_t below = 1;  // rows of the loop for each step along d
  for (int e = d + 1; e + 1 < loop.dims; ++e) below *= loop.size[e];
  parallel_for(strips.rows(), grain_for(n * kTile), [&](int64_t begin, int64_t end) {
    for (int64_t strip = begin; strip < end; ++strip) {
      const auto at = strips.offsets(strip);
      const int64_t first = strip / below % strips.size[d] * kTile;
      const int64_t rows = std::min(kTile, loop.size[d] - first);
      for (int64_t i = 0; i < n; i += kTile)
        copy_tile(rows, std::min(kTile, n - i), x + at[1] + i * column, column, out + at[0] + i,
                  row);
    }
  });
}

}  // namespace

template <class From, class To>
void copy(const Loop<2>& loop, const From* x, To* out) {
  if (const int d = turned_dimension(loop); d >= 0) return copy_turned(loop, d, x, out);
  const int64_t so = loop.inner_stride(0), sx = loop.inner_stride(1);
  for_each_row(loop, [&](const std::array<int64_t, 2>& at, int64_t n) {
    To* o = out + at[0];
    const From* a = x + at[1];
    if (so == 1 && sx == 1) return copy_range(n, a, o);
    for (int64_t i = 0; i < n; ++i) o[i * so] = converted<From, To>(a[i * sx]);
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
