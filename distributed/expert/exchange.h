#pragma once

// Rows that go to other ranks, of which each rank has another number.

#include <cstdint>
#include <memory>
#include <vector>

#include "core/tensor.h"
#include "distributed/process_group.h"

namespace plinth::distributed {

// Of rows [sum of sent, ...] the first sent[0] go to rank 0, and so on; the result has received[0]
// from rank 0 first, and so on. Any strides, floating point. All ranks call it, in the forward pass
// and in the backward pass, which sends gradients the way back. Derivatives of any order. Errors:
// Shape where the counts do not add up; Argument for counts that are not one a rank; Io.
Tensor exchange_rows(const Tensor& rows, const std::shared_ptr<ProcessGroup>& group,
                     const std::vector<int64_t>& sent, const std::vector<int64_t>& received);

}  // namespace plinth::distributed
