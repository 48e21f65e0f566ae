#pragma once

// The loss of a language model whose head's rows, one for each id of the vocabulary, lie on several
// ranks (Shoeybi et al. 2019, arXiv 1909.08053): of each target two numbers go from rank to rank,
// and no logit but its own.

#include <memory>

#include "core/tensor.h"
#include "distributed/process_group.h"

namespace plinth::distributed {

// The sum of the cross-entropies of softmax(x weight^T) against targets int64 [...] that are not
// -100, a scalar on all ranks. x [..., D] and targets are the same on all ranks, weight [rows, D]
// has shard_range(vocabulary, ranks, rank). The gradient of x is this rank's term of a sum. Under
// autocast as linear_cross_entropy. All ranks call it; a second derivative is refused. Errors:
// Shape, DType, Argument, Io.
Tensor vocabulary_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& targets,
                                int64_t vocabulary, const std::shared_ptr<ProcessGroup>& group);

}  // namespace plinth::distributed
