#pragma once

// Matrices in float8 with a scale for each (Micikevicius et al. 2022, arXiv 2209.05433, section 3):
//
//   scale = largest / (amax margin),   q = x scale,   x ~ q / scale
//
// where margin, at least 1, leaves room above amax, `largest` is the format's largest value, 448
// (e4m3) or 57344 (e5m2), and amax is max |x|, of this matrix (current scaling) or of the last ones
// in its place (delayed scaling, as in NVIDIA's Transformer Engine). An amax of 0, or one that is
// not finite, gives the scale 1. NaN counts for nothing in amax, and stays NaN in q, which is
// rounded to nearest even, and saturates.
//
// x is contiguous [rows, cols] of T: double, float, BFloat16 or Float16; computed in float32;
// cols is a multiple of 16.
// `amaxes` are float8_tiles(rows, cols) floats, one for each tile of 64 x 64, whose largest is
// amax. F: Float8_e4m3 or Float8_e5m2. On a GPU all arguments are in its memory, scales too.
//
// Bytes: float8_amax reads x; quantise reads x and writes it once in float8, or twice.
// Determinism: maxima have no order.

#include <cstdint>

namespace plinth::kernels {

constexpr int64_t kFloat8Tile = 64;
constexpr int64_t float8_tiles(int64_t rows, int64_t cols) {
  return (rows + kFloat8Tile - 1) / kFloat8Tile * ((cols + kFloat8Tile - 1) / kFloat8Tile);
}

}  // namespace plinth::kernels

namespace plinth::kernels::cpu {

template <class T>
void float8_amax(int64_t rows, int64_t cols, const T* x, float* amaxes);

// scale[0] = the scale for the largest of `count` amaxes, scale[1] = 1 / scale[0].
void float8_scale(int64_t count, const float* amaxes, float largest, float margin, float* scale);

// Puts the largest of `count` amaxes before the `length` of a history, whose last one goes.
void float8_record(int64_t count, const float* amaxes, int64_t length, float* history);

// q [padded, cols] = x scale[0] in float8, zeros in the rows from `rows` on; and the same
// transposed, [cols, padded], where q_transposed is not null. padded is a multiple of 16.
// Where amaxes is not null, float8_amax's result too.
template <class T, class F>
void float8_quantise(int64_t rows, int64_t padded, int64_t cols, const T* x, const float* scale,
                     F* q, F* q_transposed, float* amaxes);

}  // namespace plinth::kernels::cpu
