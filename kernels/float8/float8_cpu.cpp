#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/float8/float8.h"
#include "kernels/float8/scale.h"
#include "kernels/instantiate.h"
#include "kernels/parallel.h"

namespace plinth::kernels::cpu {
namespace {

// Calls body(tile, first row, end, first column, end) for the tiles of [rows, cols].
template <class Body>
void for_each_tile(int64_t rows, int64_t cols, Body body) {
  const int64_t across = (cols + kFloat8Tile - 1) / kFloat8Tile;
  parallel_for(float8_tiles(rows, cols), grain_for(kFloat8Tile * kFloat8Tile),
               [&](int64_t begin, int64_t end) {
                 for (int64_t tile = begin; tile < end; ++tile) {
                   const int64_t i = tile / across * kFloat8Tile, j = tile % across * kFloat8Tile;
                   body(tile, i, std::min(rows, i + kFloat8Tile), j,
                        std::min(cols, j + kFloat8Tile));
                 }
               });
}

float largest_of(int64_t count, const float* amaxes) {
  float amax = 0;
  for (int64_t i = 0; i < count; ++i) amax = std::max(amax, amaxes[i]);
  return amax;
}

// A NaN leaves it as it is.
float with(float amax, float value) {
  const float size = std::fabs(value);
  return size > amax ? size : amax;
}

}  // namespace

template <class T>
void float8_amax(int64_t rows, int64_t cols, const T* x, float* amaxes) {
  for_each_tile(rows, cols, [&](int64_t tile, int64_t i, int64_t i_end, int64_t j, int64_t j_end) {
    float amax = 0;
    for (int64_t row = i; row < i_end; ++row)
      for (int64_t col = j; col < j_end; ++col)
        amax = with(amax, static_cast<float>(x[row * cols + col]));
    amaxes[tile] = amax;
  });
}

void float8_scale(int64_t count, const float* amaxes, float largest, float margin, float* scale) {
  scale[0] = scale_for(largest_of(count, amaxes), largest, margin);
  scale[1] = 1 / scale[0];
}

void float8_record(int64_t count, const float* amaxes, int64_t length, float* history) {
  std::copy_backward(history, history + length - 1, history + length);
  history[0] = largest_of(count, amaxes);
}

template <class T, class F>
void float8_quantise(int64_t rows, int64_t padded, int64_t cols, const T* x, const float* scale,
                     F* q, F* q_transposed, float* amaxes) {
  for_each_tile(padded, cols,
                [&](int64_t tile, int64_t i, int64_t i_end, int64_t j, int64_t j_end) {
                  float amax = 0;
                  for (int64_t row = i; row < i_end; ++row) {
                    for (int64_t col = j; col < j_end; ++col) {
                      const float value = row < rows ? static_cast<float>(x[row * cols + col]) : 0;
                      amax = with(amax, value);
                      const F narrow(value * scale[0]);
                      q[row * cols + col] = narrow;
                      if (q_transposed) q_transposed[col * padded + row] = narrow;
                    }
                  }
                  if (amaxes) amaxes[tile] = amax;
                });
}

#define INSTANTIATE(T)                                                                           \
  template void float8_amax(int64_t, int64_t, const T*, float*);                                 \
  template void float8_quantise(int64_t, int64_t, int64_t, const T*, const float*, Float8_e4m3*, \
                                Float8_e4m3*, float*);                                           \
  template void float8_quantise(int64_t, int64_t, int64_t, const T*, const float*, Float8_e5m2*, \
                                Float8_e5m2*, float*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
