#pragma once

// Training with linear layers in float8.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "nn/layers/linear.h"
#include "nn/module.h"

namespace plinth::nn {

// Makes every Linear below `module` compute in float8 whose sizes are multiples of 16 and whose
// path ("blocks.0.attention.out") `takes` accepts; an empty function accepts all. Returns the paths
// of those that do now. An output layer that is part of a fused loss (linear_cross_entropy) is no
// Linear's forward, and stays as it is. To be called after to(DType).
std::vector<std::string> convert_to_float8(
    Module& module, const Float8Options& options = {},
    const std::function<bool(std::string_view path)>& takes = {});

}  // namespace plinth::nn
