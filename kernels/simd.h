#pragma once

// Vector registers as GCC's vector extension gives them: arithmetic and comparison are operators,
// and a conditional chooses lane by lane.

#include <cstdint>

namespace plinth::kernels::cpu {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif

template <class C>
inline constexpr int kLanes = kVectorBytes / sizeof(C);

// A vector register of C, and the same at any address.
template <class C>
struct Simd {
  typedef C Vector __attribute__((vector_size(kVectorBytes)));
  typedef C Unaligned __attribute__((vector_size(kVectorBytes), aligned(alignof(C)), may_alias));
};
template <class C>
using Vec = typename Simd<C>::Vector;

template <class C>
[[gnu::always_inline]] inline Vec<C> load(const C* from) {
  return *reinterpret_cast<const typename Simd<C>::Unaligned*>(from);
}
template <class C>
[[gnu::always_inline]] inline void store(C* to, Vec<C> value) {
  *reinterpret_cast<typename Simd<C>::Unaligned*>(to) = value;
}
// Minus zero: plus zero is not what compilers drop, since it makes -0 to 0.
template <class C>
[[gnu::always_inline]] inline Vec<C> broadcast(C value) {
  return value - Vec<C>{};
}

template <class C>
[[gnu::always_inline]] inline Vec<C> larger(Vec<C> x, Vec<C> y) {
  return x > y ? x : y;
}
template <class C>
[[gnu::always_inline]] inline C largest_lane(Vec<C> x) {
  C most = x[0];
  for (int l = 1; l < kLanes<C>; ++l) most = x[l] > most ? x[l] : most;
  return most;
}
template <class C>
[[gnu::always_inline]] inline C sum_lanes(Vec<C> x) {
  C sum = 0;
  for (int l = 0; l < kLanes<C>; ++l) sum += x[l];
  return sum;
}

}  // namespace plinth::kernels::cpu
