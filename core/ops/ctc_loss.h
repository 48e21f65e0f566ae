#pragma once

// Connectionist temporal classification: the loss of sequences whose alignment nobody knows.

#include "core/ops/loss.h"
#include "core/tensor.h"

namespace plinth {

struct CtcLossOptions {
  int64_t blank = 0;  // the class that stands for no label
  Reduction reduction = Reduction::Mean;
  bool zero_infinity = false;  // an infinite loss, and its gradient, count as 0
};

// -log of the probability of each target, over all its alignments (kernels/ctc_loss/ctc_loss.h), as
// PyTorch's ctc_loss: log_probs [time, batch, classes] are what log_softmax gives, targets int64
// [batch, most] of which the first target_lengths[i] count, input_lengths int64 [batch] the steps
// that count. A target that is too long for its steps, one more for each label that repeats the one
// before it, has the loss infinity. The result is float32 (float64 for float64): [batch] for
// Reduction::None; the mean is that of each loss over its target's length, which counts as 1 where
// it is 0.
//
// The gradient is that by log_probs as free numbers. PyTorch's adds their exponentials, which
// log_softmax then takes away: behind it the two are the same. A second derivative is refused.
//
// Errors: Device for operands on two devices; Shape; DType for log_probs that are not floating
// point or other numbers that are not int64; Argument, naming sample and value, for a length out of
// range, and a target that is blank or no class. On a GPU, where nobody waits for that
// (index_check.h), a blank among the targets is not found: it is one blank more.
Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths,
                const Tensor& target_lengths, CtcLossOptions options = {});

}  // namespace plinth
