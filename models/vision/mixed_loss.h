#pragma once

#include "core/tensor.h"

namespace plinth {

// The loss of images that were mixed in pairs (Zhang et al. 2018, arXiv 1710.09412): the mean of
// share times the cross-entropy against `labels` and (1 - share) times that against `others`, for
// logits [images, classes], labels and others int64 [images], share floating point [images] (what
// data/images/augment.h gives). Throws Error(Shape) for tensors that do not go together, and what
// cross_entropy() does.
Tensor mixed_cross_entropy(const Tensor& logits, const Tensor& labels, const Tensor& others,
                           const Tensor& share);

}  // namespace plinth
