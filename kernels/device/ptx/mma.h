#pragma once

// Matrices of a warp: ldmatrix, stmatrix (sm_90), mma.sync. The layouts of the lanes' registers are
// spelled out in emulate/mma.h.

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "kernels/device/ptx/convert.h"
#include "kernels/types.h"

namespace plinth::device {

// The address of shared memory as PTX takes it.
template <class T>
PLINTH_DEVICE uint32_t shared_address(T* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

#define PLINTH_LOAD_MATRIX(name, layout)                                                        \
  template <int n, class T>                                                                     \
  PLINTH_DEVICE void name(uint32_t(&to)[n], T* row) {                                           \
    static_assert(sizeof(T) == 2 && (n == 1 || n == 2 || n == 4));                              \
    const uint32_t from = shared_address(row);                                                  \
    if constexpr (n == 1) {                                                                     \
      asm volatile("ldmatrix.sync.aligned.m8n8.x1" layout ".shared.b16 {%0}, [%1];"             \
                   : "=r"(to[0])                                                                \
                   : "r"(from)                                                                  \
                   : "memory");                                                                 \
    } else if constexpr (n == 2) {                                                              \
      asm volatile("ldmatrix.sync.aligned.m8n8.x2" layout ".shared.b16 {%0, %1}, [%2];"         \
                   : "=r"(to[0]), "=r"(to[1])                                                   \
                   : "r"(from)                                                                  \
                   : "memory");                                                                 \
    } else {                                                                                    \
      asm volatile("ldmatrix.sync.aligned.m8n8.x4" layout ".shared.b16 {%0, %1, %2, %3}, [%4];" \
                   : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])                         \
                   : "r"(from)                                                                  \
                   : "memory");                                                                 \
    }                                                                                           \
  }
PLINTH_LOAD_MATRIX(load_matrix, "")
PLINTH_LOAD_MATRIX(load_matrix_transposed, ".trans")
#undef PLINTH_LOAD_MATRIX

#define PLINTH_STORE_MATRIX(name, layout)                                                          \
  template <int n, class T>                                                                        \
  PLINTH_DEVICE void name(T* row, const uint32_t(&from)[n]) {                                      \
    static_assert(sizeof(T) == 2 && (n == 1 || n == 2 || n == 4));                                 \
    const uint32_t to = shared_address(row);                                                       \
    if constexpr (n == 1) {                                                                        \
      asm volatile("stmatrix.sync.aligned.m8n8.x1" layout ".shared.b16 [%0], {%1};" ::"r"(to),     \
                   "r"(from[0])                                                                    \
                   : "memory");                                                                    \
    } else if constexpr (n == 2) {                                                                 \
      asm volatile("stmatrix.sync.aligned.m8n8.x2" layout ".shared.b16 [%0], {%1, %2};" ::"r"(to), \
                   "r"(from[0]), "r"(from[1])                                                      \
                   : "memory");                                                                    \
    } else {                                                                                       \
      asm volatile("stmatrix.sync.aligned.m8n8.x4" layout                                          \
                   ".shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to),                                \
                   "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3])                          \
                   : "memory");                                                                    \
    }                                                                                              \
  }
PLINTH_STORE_MATRIX(store_matrix, "")
PLINTH_STORE_MATRIX(store_matrix_transposed, ".trans")
#undef PLINTH_STORE_MATRIX

// Not volatile: it reads and writes registers alone, and the compiler may move it.
template <class T>
PLINTH_DEVICE void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#define PLINTH_MMA(instruction)                                                      \
  asm(instruction " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                               \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
  if constexpr (std::is_same_v<T, BFloat16>) {
    PLINTH_MMA("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32");
  } else if constexpr (std::is_same_v<T, Float16>) {
    PLINTH_MMA("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32");
  } else {
    static_assert(std::is_same_v<T, float>);
    PLINTH_MMA("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32");
  }
#undef PLINTH_MMA
}

template <class T>
PLINTH_DEVICE uint32_t pack(float low, float high) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return bfloat16_pair(low, high);
  } else {
    static_assert(std::is_same_v<T, Float16>);
    return float16_pair(low, high);
  }
}

}  // namespace plinth::device
