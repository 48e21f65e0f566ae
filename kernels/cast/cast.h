#pragma once

// Conversion between element types: out_i = To(x_i).
//
// Any two of double, float, BFloat16, Float16, Float8_e4m3, Float8_e5m2, int64_t, int32_t, uint8_t,
// bool. Narrow floats are reached through float32, rounding to nearest even at each step. A float
// becomes an integer by truncation towards zero, saturating at the integer's limits, NaN as 0;
// integers wrap among themselves; bool is x != 0 (true for NaN).
// Aliasing: none, except out == x for types of equal size.
// Bytes: n elements in, n out.

#include <cstdint>

#include "kernels/types.h"

namespace plinth::kernels::cpu {

template <class From, class To>
void cast(int64_t n, const From* x, To* out);

}  // namespace plinth::kernels::cpu
