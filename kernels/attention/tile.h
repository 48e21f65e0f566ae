#pragma once

// Tiles of scores: kGroup queries by kKeys keys, row-major in a small buffer. All tile sizes of the
// CPU attention kernels stand here.

#include <cmath>
#include <limits>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "kernels/attention/problem.h"
#include "kernels/matmul/transpose.h"
#include "kernels/philox_simd.h"

namespace plinth::kernels::cpu::attention {

// A group of queries by kStrip vectors is one register tile: 24 of 32 registers, or 12 of 16.
inline constexpr int kGroup = 6;
// In float32, 128 or 64 keys: with fewer, the sums of values are read and written too often. As
// many vectors as a row's softmax holds in registers.
inline constexpr int kKeyVectors = 8;
// kQueryTile queries share one pass over the keys: their tiles stay in the first two caches. With
// fewer, the sums of dk and dv are read and written too often.
#ifdef __AVX512F__
inline constexpr int kStrip = 4;
inline constexpr int64_t kQueryTile = 96;
#else
inline constexpr int kStrip = 2;
inline constexpr int64_t kQueryTile = 48;
#endif
template <class C>
inline constexpr int kKeys = kKeyVectors* kLanes<C>;
// A forward task packs the keys for itself, so that it has as many queries of a head as leave each
// thread some tasks, up to so many.
inline constexpr int64_t kTaskQueries = 1536;
inline constexpr int64_t kTasksPerThread = 4;
// Up to so many queries (generation) skip packing.
inline constexpr int64_t kFewQueries = 4;
// Not of packed sequences, whose q_len is that of all: the bits of one must not depend on how many
// queries stand beside it.
inline bool has_few_queries(const AttentionDesc& d) {
  return d.q_len <= kFewQueries && d.cu_seqlens_q == nullptr;
}

template <class C>
struct SignedOf;
template <>
struct SignedOf<float> {
  using type = int32_t;
};
template <>
struct SignedOf<double> {
  using type = int64_t;
};
template <class C>
using Signed = typename SignedOf<C>::type;

// The largest lane, by halves.
template <class C, int kHalf = kLanes<C> / 2, int... I>
[[gnu::always_inline]] inline C largest_by_halves(Vec<C> x,
                                                  std::integer_sequence<int, I...> lanes) {
  x = larger<C>(x, __builtin_shufflevector(x, x, (I ^ kHalf)...));
  if constexpr (kHalf > 1) return largest_by_halves<C, kHalf / 2>(x, lanes);
  return x[0];
}
template <class C>
[[gnu::always_inline]] inline C largest_by_halves(Vec<C> x) {
  return largest_by_halves<C, kLanes<C> / 2>(x, std::make_integer_sequence<int, kLanes<C>>{});
}

// 2^x for x <= 9 to 1.5 ulp; below 2^-126 either rounded to a subnormal or flushed to 0.
// 2^x = 2^n 2^r, n = round(x), |r| <= 1/2.
[[gnu::always_inline]] inline Vec<float> exp2_vector(Vec<float> x) {
#ifdef __AVX512F__
  // Masks of all lanes: what GCC 12 has for instructions without, it warns of as uninitialized.
  constexpr __mmask16 kAll = 0xffff;
  const auto n = reinterpret_cast<Vec<float>>(
      _mm512_maskz_roundscale_ps(kAll, reinterpret_cast<__m512>(x), _MM_FROUND_TO_NEAREST_INT));
  const Vec<float> r = x - n;
#else
  const Vec<float> biased = x + 0x1.8p23f;  // leaves n in the low bits
  const Vec<float> r = x - (biased - 0x1.8p23f);
#endif
  const Vec<float> q =
      ((((0x1.41fb2cp-13f * r + 0x1.5f3f32p-10f) * r + 0x1.3b2d5p-7f) * r + 0x1.c6aee6p-5f) * r +
       0x1.ebfbdcp-3f) *
          r +
      0x1.62e43p-1f;
  const Vec<float> mantissa = q * r + 1.0f;
#ifdef __AVX512F__
  // Of x = -inf, whose r and mantissa are NaN, vscalefps makes 0.
  return reinterpret_cast<Vec<float>>(_mm512_maskz_scalef_ps(
      kAll, reinterpret_cast<__m512>(mantissa), reinterpret_cast<__m512>(n)));
#else
  const Vec<uint32_t> bits =
      reinterpret_cast<Vec<uint32_t>>(mantissa) + (reinterpret_cast<Vec<uint32_t>>(biased) << 23);
  return x < -126.0f ? Vec<float>{} : reinterpret_cast<Vec<float>>(bits);
#endif
}
[[gnu::always_inline]] inline Vec<double> exp2_vector(Vec<double> x) {
  for (int l = 0; l < kLanes<double>; ++l) x[l] = std::exp2(x[l]);
  return x;
}

// The lanes' numbers, counted from `first`.
template <class C>
[[gnu::always_inline]] inline Vec<Signed<C>> lanes_from(int64_t first) {
  Vec<Signed<C>> lanes;
  for (int l = 0; l < kLanes<C>; ++l) lanes[l] = l;
  return lanes + static_cast<Signed<C>>(first);
}

// Transposes rows [0, keys) of k, `stride` apart and readable in whole vectors, into columns of a
// [dim][kKeys] tile; columns from `keys` on are zero.
template <class C>
void transpose_keys(const C* k, int64_t keys, int64_t dim, int64_t stride, C* to) {
  constexpr int kSquare = kLanes<C>;
  for (int64_t x = 0; x < dim; x += kSquare) {
    for (int64_t j = 0; j < kKeys<C>; j += kSquare) {
      Vec<C> square[kSquare];
#pragma GCC unroll 16
      for (int r = 0; r < kSquare; ++r)
        square[r] = j + r < keys ? load(k + (j + r) * stride + x) : Vec<C>{};
      transpose<C>(square);
      const int64_t rows = std::min<int64_t>(kSquare, dim - x);
      for (int64_t r = 0; r < rows; ++r) store(to + (x + r) * kKeys<C> + j, square[r]);
    }
  }
}

// Rows of a [kGroup][kKeys] tile = queries (rows of `padded`) times transposed keys, in vectors
// [first, first + N).
template <int N, class C>
[[gnu::noinline]] void group_product(const C* rows, int64_t padded, const C* columns, int64_t dim,
                                     int first, C* tile) {
  RegisterTile<Scalars<C>, kGroup, N> sums;
  sums.clear();
  sums.multiply(dim, rows, padded, 1, columns + first * kLanes<C>, kKeys<C>);
  sums.write(tile + first * kLanes<C>, kKeys<C>);
}

// A vector of the products of one query with keys `stride` apart: lanes first, then a transposition
// to add across them.
template <class C>
[[gnu::always_inline]] inline Vec<C> products(const C* query, const C* keys, int64_t stride,
                                              int64_t padded) {
  Vec<C> sums[kLanes<C>] = {};
  for (int64_t x = 0; x < padded; x += kLanes<C>) {
    const Vec<C> q = load(query + x);
#pragma GCC unroll 16
    for (int r = 0; r < kLanes<C>; ++r) sums[r] += q * load(keys + r * stride + x);
  }
  transpose<C>(sums);
#pragma GCC unroll 16
  for (int r = 1; r < kLanes<C>; ++r) sums[0] += sums[r];
  return sums[0];
}

// Vectors [begin, end) of a tile's keys, and whether some query of the group does not see them all.
struct KeyVectors {
  int begin = 0, end = 0;
  bool partial = false;
};

// What queries [first, last] see of the tile of keys that starts at `key`.
template <class C>
KeyVectors visible_vectors(const AttentionDesc& d, const Problem& p, int64_t first, int64_t last,
                           int64_t key) {
  const Range begin = visible_keys(d, p, first), end = visible_keys(d, p, last);
  const int64_t low = std::max<int64_t>(begin.begin - key, 0);
  const int64_t high = std::min<int64_t>(end.end - key, kKeys<C>);
  if (low >= high) return {};
  KeyVectors v{static_cast<int>(low / kLanes<C>),
               static_cast<int>((high + kLanes<C> - 1) / kLanes<C>), false};
  v.partial = end.begin > key + v.begin * kLanes<C> || begin.end < key + v.end * kLanes<C>;
  return v;
}

template <class C>
void group_scores(const C* rows, int64_t padded, const C* columns, int64_t dim, KeyVectors v,
                  C* tile) {
  for (int x = v.begin; x < v.end; x += kStrip) {
    with_rows<kStrip>(std::min(kStrip, v.end - x),
                      [&](auto n) { group_product<n()>(rows, padded, columns, dim, x, tile); });
  }
}

// Replaces the scores of keys outside `keys` in one row of a tile.
template <class C>
void mask_row(C* row, KeyVectors v, int64_t key, Range keys, C value) {
  const auto low = static_cast<Signed<C>>(std::clamp<int64_t>(keys.begin - key, 0, kKeys<C>));
  const auto high = static_cast<Signed<C>>(std::clamp<int64_t>(keys.end - key, 0, kKeys<C>));
  for (int x = v.begin; x < v.end; ++x) {
    const Vec<Signed<C>> lane = lanes_from<C>(x * kLanes<C>);
    const Vec<C> score = load(row + x * kLanes<C>);
    store(row + x * kLanes<C>, ((lane >= low) & (lane < high)) ? score : broadcast(value));
  }
}

// The factors of dropout, 0 or 1 / (1 - p), of one query and a tile of keys.
class Dropout {
 public:
  explicit Dropout(const AttentionDesc& d)
      : p_(d.dropout),
        threshold_(uniform_threshold(d.dropout)),
        sample_(d.philox.sample),
        stream_(philox_stream(d.philox)),
        whole_(d.dropout_whole) {}

  bool active() const { return p_ > 0; }

  template <class C>
  void factors(const Problem& p, int64_t head, int64_t query, int64_t key, C* out) const {
    const C keep = 1 / (1 - C(p_));
    const int64_t first = whole_.block(head, query, key, p.q_len, p.kv_len);
    constexpr int kWords = std::max(kKeys<C>, 4 * kPhiloxLanes);
    uint32_t words[kWords];
    philox_fill(stream_, sample_ + p.sample, first, kKeys<C> / 4, words);
    for (int j = 0; j < kKeys<C>; ++j) out[j] = words[j] < threshold_ ? C(0) : keep;
  }

 private:
  float p_;
  uint32_t threshold_;
  int64_t sample_;
  Philox2 stream_;
  DropoutWhole whole_;
};

}  // namespace plinth::kernels::cpu::attention
