#pragma once

// Sums of the host's groups: several ranks' elements into one, in order of ranks.

#include <vector>

#include "distributed/collective.h"

namespace plinth::distributed {

// out[i] = parts[0][i] op parts[1][i] op ..., in this order, for `count` elements. Narrow floats
// are summed in float32 and rounded once; integers wrap around; the maximum or minimum of a NaN and
// anything is NaN. `out` may be one of the parts.
void reduce_parts(const std::vector<const void*>& parts, void* out, int64_t count, DType dtype,
                  ReduceOp op);

}  // namespace plinth::distributed
