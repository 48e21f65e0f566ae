#pragma once

// Dropout (Srivastava et al. 2014): y_e = x_e / (1 - p) with probability 1 - p, else 0.
//
// Element e of sample s is kept where uniform(word e of Philox sample key.sample + s) >= p
// (kernels/philox.h: word e is number e % 4 of block e / 4). The mask is a function of the key
// alone: nothing is stored, and the gradient is the same function applied to dy. Where x is a part
// of larger samples, DropoutPart says which words its elements take.
//
// x and y are contiguous [n_samples, elements_per_sample] of T (double, float, BFloat16, Float16),
// scaled in compute_t<T>. p in [0, 1]; p = 1 gives zeros. NaN and infinities that are dropped give
// 0. Aliasing: y may be x. Bytes: reads and writes each element once; about 25 integer operations
// an element for its random word.

#include <cstdint>
#include <limits>

#include "kernels/philox.h"

namespace plinth::kernels {

// Two runs of a larger sample's elements, one behind the other: element e takes word first + e
// before `split`, and word first + jump + e from there on. By default all words, in order.
struct DropoutPart {
  int64_t first = 0;
  int64_t split = std::numeric_limits<int64_t>::max();
  int64_t jump = 0;

  PLINTH_HOST_DEVICE int64_t word(int64_t e) const { return first + e + (e < split ? 0 : jump); }
};

}  // namespace plinth::kernels

namespace plinth::kernels::cpu {

template <class T>
void dropout_forward(int64_t n_samples, int64_t elements_per_sample, double p, const PhiloxKey& key,
                     const T* x, T* y, const DropoutPart& part = {});

}  // namespace plinth::kernels::cpu
