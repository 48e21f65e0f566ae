#pragma once

// Cross-entropy of materialised logits [rows, classes] against class indices, with label smoothing
// (Szegedy et al. 2016, arXiv 1512.00567, section 7).
//
//   lse  = log sum_k exp(x_k)
//   loss = (1 - a) (lse - x_t) + a (lse - sum_k x_k / classes),   a = label_smoothing
//   dx_k = dloss (exp(x_k - lse) - (1 - a) [k = t] - a / classes)
//
// Logits are contiguous of T (double, float, BFloat16, Float16); loss, lse and dloss are [rows] of
// compute_t<T>, in which everything is computed. A row whose target is ignore_index has loss 0 and
// gradient 0. Means over rows are the caller's, through dloss.
// Aliasing: dlogits may be logits.
// Bytes: forward reads the logits once (a row of 50k classes fits the second cache, where its sum
// is taken); backward reads and writes them once. Determinism: a row's maximum and sum have one
// fixed order.

#include <cstdint>

#include "kernels/types.h"

namespace plinth::kernels::cpu {

struct CrossEntropyDesc {
  int64_t rows = 0;
  int64_t classes = 0;
  int64_t ignore_index = -100;
  double label_smoothing = 0;  // in [0, 1]
};

// Targets must be valid (see first_bad_target).
template <class T>
void cross_entropy_forward(const CrossEntropyDesc& desc, const T* logits, const int64_t* target,
                           compute_t<T>* loss, compute_t<T>* lse);

template <class T>
void cross_entropy_backward(const CrossEntropyDesc& desc, const compute_t<T>* dloss,
                            const T* logits, const int64_t* target, const compute_t<T>* lse,
                            T* dlogits);

// The first row whose target is neither ignore_index nor in [0, classes), or -1.
int64_t first_bad_target(int64_t rows, int64_t classes, int64_t ignore_index,
                         const int64_t* target);

}  // namespace plinth::kernels::cpu
