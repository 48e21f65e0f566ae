#pragma once

// Losses. They compute in float32 (float64 for float64) and return it, whatever they are given.
//
// Errors: Shape where operands disagree; DType for logits that are not floating point or targets
// that are not int64; Argument for a target that is out of range (its position and value are named;
// on a GPU when the host next waits for it, core/index_check.h) or an option out of range.

#include "core/tensor.h"

namespace plinth {

enum class Reduction { None, Mean, Sum };

struct CrossEntropyOptions {
  int64_t ignore_index = -100;  // targets equal to it count for nothing
  double label_smoothing = 0;   // in [0, 1] (Szegedy et al. 2016, arXiv 1512.00567, section 7)
  Reduction reduction = Reduction::Mean;
  // The most logits that linear_cross_entropy holds in a GPU's memory, but those of 128 rows at
  // least: float32, and beside them their gradients in x's dtype.
  int64_t logits_at_once = int64_t{1} << 28;
};

// Of softmax(logits [..., C]) against classes `target` int64 [...]. The mean is over targets that
// are not ignored, and 0 where there are none. A second derivative is refused.
Tensor cross_entropy(const Tensor& logits, const Tensor& target, CrossEntropyOptions options = {});

// cross_entropy(linear(x, weight), target) for x [..., D] and weight [V, D]: a language model's
// head. The logits are never whole in memory: where gradients are wanted, forward computes them
// too, chunk by chunk. A second derivative is refused. With Reduction::None the gradient needs the
// logits after all, and holds them.
Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& target,
                            CrossEntropyOptions options = {});

// (input - target)^2, for one shape. Derivatives of any order.
Tensor mse_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::Mean);

// -t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)), for one shape, without overflow and without
// loss of small values. Derivatives of any order.
Tensor binary_cross_entropy_with_logits(const Tensor& logits, const Tensor& target,
                                        Reduction reduction = Reduction::Mean);

}  // namespace plinth
