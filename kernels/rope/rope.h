#pragma once

// Rotary position embedding (Su et al. 2021, arXiv 2104.09864): each pair (a, b) of a head's first
// rotary_dim elements is turned by the angle t_i = position * frequency_i,
//
//   a' = a cos t_i - b sin t_i,   b' = a sin t_i + b cos t_i
//
// with pair i = (x_2i, x_2i+1) when interleaved (GPT-J) and (x_i, x_i+rotary_dim/2) otherwise
// (GPT-NeoX, Llama). The elements from rotary_dim on are copied. The gradient is the inverse
// rotation of dy: the same call with inverse = true.
//
// T: double, float, BFloat16, Float16; computed in compute_t<T>. Aliasing: y may be x with the same
// strides. Bytes: reads and writes each element once; the table stays in cache across heads.

#include <cstdint>

#include "kernels/types.h"

namespace plinth::kernels::cpu {

struct RopeStrides {
  int64_t batch = 0, seq = 0, head = 0;  // elements; those of a head are adjacent
};

struct RopeDesc {
  int64_t batch = 0, seq = 0, heads = 0;
  int64_t head_dim = 0;
  int64_t rotary_dim = 0;  // even, at most head_dim
  RopeStrides in = {}, out = {};
  bool interleaved = false;
  bool inverse = false;
  int64_t offset = 0;  // position of the first token where `positions` is null
  int64_t table_rows = INT64_MAX;
};

// cos and sin are tables [table rows, rotary_dim / 2]; positions is [batch, seq], or null for
// offset + 0..seq-1 in every batch. Every position must be a row of the table (see
// first_bad_position).
template <class T>
void rope(const RopeDesc& desc, const T* x, const compute_t<T>* cos, const compute_t<T>* sin,
          const int64_t* positions, T* y);

// The first index whose position is not in [0, table_rows), or -1.
int64_t first_bad_position(int64_t n, int64_t table_rows, const int64_t* positions);

// How frequencies are stretched for contexts longer than those of pretraining.
struct RopeScaling {
  enum class Kind {
    None,
    Linear,  // frequency / factor (Chen et al. 2023, arXiv 2306.15595)
    Llama3,  // wavelengths above original_positions / low_freq_factor are divided by factor, those
             // below original_positions / high_freq_factor are kept, those between are interpolated
             // (Llama Team 2024, arXiv 2407.21783)
  };
  Kind kind = Kind::None;
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  double original_positions = 8192;
};

// Writes rotary_dim / 2 frequencies: theta^(-2 i / rotary_dim), scaled.
void rope_frequencies(int64_t rotary_dim, double theta, const RopeScaling& scaling,
                      double* frequencies);

// Writes the tables of cos and sin for positions 0..rows-1. C: float or double; angles are computed
// in float64.
template <class C>
void rope_table(int64_t rows, int64_t rotary_dim, double theta, const RopeScaling& scaling, C* cos,
                C* sin);

}  // namespace plinth::kernels::cpu
