#pragma once

#include "core/ops/elementwise.h"
#include "core/ops/reduce.h"
#include "core/tensor.h"

namespace plinth::distributed {

inline double largest_difference(const Tensor& a, const Tensor& b) {
  return amax(abs(a.detach() - b.detach())).item();
}

}  // namespace plinth::distributed
