#pragma once

#include "core/tensor.h"
#include "kernels/dropout/dropout.h"

namespace plinth {

// Dropout (Srivastava et al. 2014): each element is 0 with probability p, else x / (1 - p). The
// caller decides between training and evaluation. Dimension 0 numbers the samples, and the mask is
// drawn from the next key of the thread's generator (core/random.h), so that a sample's mask is the
// same however the batch is divided. p = 0 gives x itself and draws no key. Where x holds
// a part of each sample, `part` says which, so that it gets that part of the whole's mask.
// Derivatives of any order. Errors: DType, Argument for p outside [0, 1].
Tensor dropout(const Tensor& x, double p, const kernels::DropoutPart& part = {});

}  // namespace plinth
