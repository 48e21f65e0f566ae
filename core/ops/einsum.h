#pragma once

// Sums of products by the names of dimensions. Second derivatives exist.

#include <string_view>

#include "core/tensor.h"

namespace plinth {

// einsum("bhqd,bhkd->bhqk", {q, k}): each operand's dimensions are named by a letter each, and the
// result has those behind "->", in that order; the product of the operands is summed over all
// others, as PyTorch's einsum does. Operands are multiplied from left to right, each pair by one
// matmul(), whose dtypes and rounding these are: under autocast its dtype, too. Spaces are skipped.
//
// Not taken: "...", a letter twice in one operand, dimensions of 1 that stand for more, an equation
// without "->". Errors: Argument for such an equation, or another number of operands; Shape for
// operands of other dimensions; DType for integers or different dtypes; Device.
Tensor einsum(std::string_view equation, const Tensors& operands);

}  // namespace plinth
