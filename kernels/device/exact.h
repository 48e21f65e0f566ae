#pragma once

// Arithmetic that rounds after every operation, whatever the compiler's flags: nvcc would fuse a
// product into a sum. For kernels that must give a CPU's bits.

#include <cmath>

#include "kernels/device/device.h"

namespace plinth::device {

template <class C>
struct Exact {
  C value;

  PLINTH_DEVICE Exact(C v) : value(v) {}
  PLINTH_DEVICE bool operator>(C other) const { return value > other; }
  PLINTH_DEVICE bool operator<(C other) const { return value < other; }
};

#if defined(__CUDA_ARCH__)
#define PLINTH_EXACT(op, on_float, on_double, on_host)               \
  PLINTH_DEVICE Exact<float> op(Exact<float> a, Exact<float> b) {    \
    return on_float(a.value, b.value);                               \
  }                                                                  \
  PLINTH_DEVICE Exact<double> op(Exact<double> a, Exact<double> b) { \
    return on_double(a.value, b.value);                              \
  }
#else
#define PLINTH_EXACT(op, on_float, on_double, on_host)               \
  PLINTH_DEVICE Exact<float> op(Exact<float> a, Exact<float> b) {    \
    return a.value on_host b.value;                                  \
  }                                                                  \
  PLINTH_DEVICE Exact<double> op(Exact<double> a, Exact<double> b) { \
    return a.value on_host b.value;                                  \
  }
#endif
PLINTH_EXACT(operator+, __fadd_rn, __dadd_rn, +)
PLINTH_EXACT(operator-, __fsub_rn, __dsub_rn, -)
PLINTH_EXACT(operator*, __fmul_rn, __dmul_rn, *)
PLINTH_EXACT(operator/, __fdiv_rn, __ddiv_rn, /)
#undef PLINTH_EXACT

PLINTH_DEVICE Exact<float> square_root(Exact<float> x) {
#if defined(__CUDA_ARCH__)
  return __fsqrt_rn(x.value);
#else
  return std::sqrt(x.value);
#endif
}
PLINTH_DEVICE Exact<double> square_root(Exact<double> x) {
#if defined(__CUDA_ARCH__)
  return __dsqrt_rn(x.value);
#else
  return std::sqrt(x.value);
#endif
}

}  // namespace plinth::device
