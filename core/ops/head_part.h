#pragma once

// The head of a language model and its loss where the vocabulary is in parts: what a part gives to
// cross_entropy(linear(x, weight), target). The logits are never whole in memory; they are computed
// chunk by chunk, forward and again backward.
//
// x [..., D] and weight [rows, D], which has ids [first, first + rows) of `vocabulary`, of one
// floating dtype; target int64 [...]. Results are float32, or float64 for float64. Nothing here
// records a graph. Errors: Shape, DType; Argument for a target out of range.

#include "core/tensor.h"

namespace plinth {

struct VocabularyPart {
  int64_t first = 0, vocabulary = 0;
  int64_t ignore_index = -100;
};

struct HeadPart {
  Tensor lse;           // [...]: the logarithm of the sum of the exponentials of this part's logits
  Tensor target_logit;  // [...]: the target's, or 0 where it is another part's or ignored
};
HeadPart head_part(const Tensor& x, const Tensor& weight, const Tensor& target,
                   const VocabularyPart& part);

// The gradients of scale * sum(lse - target's logit) over the targets that are not ignored, where
// lse [...] is that of all parts: dx is this part's term of a sum, dw [rows, D] the whole.
struct HeadPartGradients {
  Tensor dx, dw;
};
HeadPartGradients head_part_gradients(const Tensor& x, const Tensor& weight, const Tensor& target,
                                      const VocabularyPart& part, const Tensor& lse,
                                      const Tensor& scale);

}  // namespace plinth
