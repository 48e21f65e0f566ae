#pragma once

// Products of a warpgroup (wgmma, sm_90a); emulate/wgmma.h says what each does.

#include <cstdint>
#include <type_traits>

#include "kernels/device/ptx/mma.h"
#include "kernels/device/ptx/wgmma_operands.h"
#include "kernels/device/tile.h"

namespace plinth::device {

template <class T, int n>
struct Registers {
  static constexpr int kSize = n;
  T values[n];

  PLINTH_DEVICE T& operator[](int i) { return values[i]; }
  PLINTH_DEVICE const T& operator[](int i) const { return values[i]; }
};

template <class T>
PLINTH_DEVICE MatrixDescriptor matrix_descriptor(T* start, uint32_t leading_bytes,
                                                 uint32_t stride_bytes, Swizzle swizzle) {
  return encode_descriptor(shared_address(start), leading_bytes, stride_bytes, swizzle);
}

PLINTH_DEVICE int32_t not_ahead(int32_t x) {
  asm volatile("" : "+r"(x));
  return x;
}
PLINTH_DEVICE MatrixDescriptor not_ahead(MatrixDescriptor d) {
  asm volatile("" : "+l"(d.bits));
  return d;
}

namespace detail {

// Keeps the compiler from moving accesses to registers across this point.
template <class T, int n>
PLINTH_DEVICE void pin(Registers<T, n>& registers) {
  PLINTH_UNROLL
  for (int i = 0; i < n; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      asm volatile("" : "+f"(registers.values[i])::"memory");
    } else {
      asm volatile("" : "+r"(registers.values[i])::"memory");
    }
  }
}

template <class T, int n, int count>
PLINTH_DEVICE void pin(Registers<T, n> (&registers)[count]) {
  PLINTH_UNROLL
  for (int i = 0; i < count; ++i) pin(registers[i]);
}

// m64n<n>k16 of element type T: with A in shared memory, or in registers.
template <class T, int n>
struct Wgmma;

// s: signs of a and b, t: 1 where a matrix is Major::MN.
#define PLINTH_WGMMA(n, type, format, x0, x1, x2, x3, x4, x5, x6, x7, x8)                         \
  template <>                                                                                     \
  struct Wgmma<type, n> {                                                                         \
    template <int s_a, int s_b, int t_a, int t_b>                                                 \
    PLINTH_DEVICE static void run(float (&d)[n / 2], MatrixDescriptor a, MatrixDescriptor b,      \
                                  uint32_t accumulate) {                                          \
      asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, " x2                                     \
                   ", 0;\n\t"                                                                     \
                   "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." format "." format            \
                   " {" PLINTH_D##n "}, " x0 ", " x1 ", p, " x3 ", " x4 ", " x5 ", " x6 ";\n\t}"  \
                   : PLINTH_OPERANDS##n                                                           \
                   : "l"(a.bits), "l"(b.bits), "r"(accumulate), "n"(s_a), "n"(s_b), "n"(t_a),     \
                     "n"(t_b)                                                                     \
                   : "memory");                                                                   \
    }                                                                                             \
    template <int s_a, int s_b, int t_b>                                                          \
    PLINTH_DEVICE static void run(float (&d)[n / 2], const uint32_t (&a)[4], MatrixDescriptor b,  \
                                  uint32_t accumulate) {                                          \
      asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, " x5                                     \
                   ", 0;\n\t"                                                                     \
                   "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." format "." format            \
                   " {" PLINTH_D##n "}, {" x0 ", " x1 ", " x2 ", " x3 "}, " x4 ", p, " x6 ", " x7 \
                                    ", " x8 ";\n\t}"                                              \
                   : PLINTH_OPERANDS##n                                                           \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.bits), "r"(accumulate),    \
                     "n"(s_a), "n"(s_b), "n"(t_b)                                                 \
                   : "memory");                                                                   \
    }                                                                                             \
  };
#define PLINTH_WGMMA_TYPES(n, ...)               \
  PLINTH_WGMMA(n, BFloat16, "bf16", __VA_ARGS__) \
  PLINTH_WGMMA(n, Float16, "f16", __VA_ARGS__)
PLINTH_WGMMA_SIZES(PLINTH_WGMMA_TYPES)
#undef PLINTH_WGMMA_TYPES
#undef PLINTH_WGMMA

}  // namespace detail

template <class... R>
PLINTH_DEVICE void wgmma_fence(R&... registers) {
  (detail::pin(registers), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

template <class T, Major a_major = Major::K, Major b_major = Major::K, bool negate_a = false,
          bool negate_b = false, int half>
PLINTH_DEVICE void wgmma(Registers<float, half>& d, MatrixDescriptor a, MatrixDescriptor b,
                         bool accumulate) {
  detail::Wgmma<T, 2 * half>::template run<negate_a ? -1 : 1, negate_b ? -1 : 1,
                                           a_major == Major::MN, b_major == Major::MN>(
      d.values, a, b, accumulate);
}
template <class T, Major b_major = Major::K, bool negate_a = false, bool negate_b = false, int half>
PLINTH_DEVICE void wgmma_from_registers(Registers<float, half>& d, const Registers<uint32_t, 4>& a,
                                        MatrixDescriptor b, bool accumulate) {
  detail::Wgmma<T, 2 * half>::template run<negate_a ? -1 : 1, negate_b ? -1 : 1,
                                           b_major == Major::MN>(d.values, a.values, b, accumulate);
}

PLINTH_DEVICE void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int newest, class... R>
PLINTH_DEVICE void wgmma_wait(R&... registers) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(newest) : "memory");
  (detail::pin(registers), ...);
}

template <class... R>
PLINTH_DEVICE void compute_now(R&... registers) {
  (detail::pin(registers), ...);
}
PLINTH_DEVICE void hold_wait(float never_negative) {
  asm volatile(
      "{\n\t.reg .pred p;\n\t"
      "setp.lt.f32 p, %0, 0f00000000;\n\t"
      "@p nanosleep.u32 1;\n\t}" ::"f"(never_negative)
      : "memory");
}

// ---- registers of a warpgroup's threads ----

template <int count>
PLINTH_DEVICE void registers_increase() {
  static_assert(count % 8 == 0 && count >= 24 && count <= 256);
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count>
PLINTH_DEVICE void registers_decrease() {
  static_assert(count % 8 == 0 && count >= 24 && count <= 256);
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}

}  // namespace plinth::device
