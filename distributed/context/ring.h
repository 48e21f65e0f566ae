#pragma once

#include <memory>

#include "core/ops/attention.h"
#include "distributed/process_group.h"

namespace plinth::distributed {

// context_attention() by ContextAlgorithm::Ring; q, k and v have been checked.
Tensor ring_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                      const AttentionOptions& options, const std::shared_ptr<ProcessGroup>& group);

}  // namespace plinth::distributed
