#pragma once

// Tensors by name, in an order that means something: that of registration in a module, or of the
// parameters in an optimizer.

#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace plinth::nn {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

using StateDict = std::vector<NamedTensor>;

// The tensor of that name, or an undefined one.
Tensor find(const StateDict& dict, std::string_view name);

// Copies `saved` into `target` tensor by tensor, converting dtypes. Names that only one of them has
// are returned in the report; a name with another shape throws Error(Shape), as does, if strict,
// any name without a partner: one error that lists them all.
struct LoadReport {
  std::vector<std::string> missing;     // in target, not in saved
  std::vector<std::string> unexpected;  // in saved, not in target
};
LoadReport load(const StateDict& target, const StateDict& saved, bool strict,
                std::string_view subject);

}  // namespace plinth::nn
