#pragma once

// Cross-entropy fused with the product that makes its logits (a language model's head), in chunks
// of rows, so that the logits are never whole in memory.
//
//   z[j] = x . w[j],   lse = log sum_j exp(z[j])
//   loss = lse - (1 - e) z[target] - e / vocab sum_j z[j] + z_loss lse^2        e = label_smoothing
//   dz   = row_scale ((1 + 2 z_loss lse) softmax(z) - (1 - e) onehot(target) - e / vocab)
//   dx   = dz w,   dw += dz^T x
//
// Shapes       x, dx [rows, dim]; w, dw [vocab, dim]; target, loss [rows]; all contiguous.
// Dtypes       float64, float32, bfloat16, float16; loss and dw in compute_t<T>.
// Targets      a row whose target is ignore_index has loss 0 and gives no gradient. Others must
//              be in [0, vocab): see first_bad_target of cross_entropy.h.
// Aliasing     outputs overlap neither inputs nor one another.
// Determinism  chunks depend on the shape only; dw is summed over chunks in order.
// Cost         2 rows vocab dim operations for the loss, 6 with both gradients.
// Sources      label smoothing: Szegedy et al., arXiv 1512.00567, section 7; z loss: Chowdhery et
// al.,
//              "PaLM", arXiv 2204.02311, section 5.

#include <cstdint>

#include "kernels/types.h"

namespace plinth::kernels::cpu {

struct LinearCrossEntropyDesc {
  int64_t rows = 0, dim = 0, vocab = 0;
  int64_t ignore_index = -100;
  double label_smoothing = 0;
  double z_loss = 0;
};

// Writes each row's loss, unscaled. Where dx is not null it is overwritten; where dw is not null it
// is added to: the gradients of row_scale times the sum of the losses.
template <class T>
void linear_cross_entropy(const LinearCrossEntropyDesc& desc, const T* x, const T* w,
                          const int64_t* target, compute_t<T>* loss, T* dx, compute_t<T>* dw,
                          compute_t<T> row_scale);

}  // namespace plinth::kernels::cpu
