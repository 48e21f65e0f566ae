#pragma once

// The norm of all gradients together, and clipping by it (Pascanu et al. 2013, arXiv 1211.5063).

#include <string>
#include <vector>

#include "core/tensor.h"
#include "nn/state_dict.h"

namespace plinth::nn {

// The sums of squares of the elements of the float64, float32, bfloat16 and float16 tensors,
// float64 [4], on the tensors' device: no GPU is waited for. The tensors are contiguous.
Tensor sums_of_squares(const Tensors& tensors);

// Square root of the sum of squares of all tensors' elements, computed in float64 in one pass, the
// same on any number of threads. Infinite or NaN if an element is.
double global_norm(const Tensors& tensors);

// The same of tensors whose parts lie on several ranks. The sums of squares of chunks of
// norm_chunk() elements, float64 [chunks], of a contiguous tensor, of whose chunks the last may be
// shorter; and the sum of squares of a tensor whose chunks, all of them and in order, have these
// sums, as sums_of_squares() has it.
int64_t norm_chunk(Device device);
Tensor chunk_sums_of_squares(const Tensor& tensor);
double sum_of_chunks(const Tensor& sums);

// The same over the gradients of the parameters that have one.
double grad_norm(const Tensors& parameters);

// What gradients of that norm are multiplied with so that it becomes at most max_norm:
// min(1, max_norm / (norm + 1e-6)), PyTorch's. 1 if the norm is not finite or max_norm is 0, which
// stands for no clipping. Optimizer::step takes it, which spares a pass over the gradients.
double clip_factor(double norm, double max_norm);

// Clips the gradients in place and returns their norm from before. If it is not finite the
// gradients stay as they are, and the step should be left out.
double clip_grad_norm(const Tensors& parameters, double max_norm);

// The name of the first parameter whose gradient holds an infinity or NaN, or "".
std::string first_nonfinite_gradient(const std::vector<NamedTensor>& parameters);

}  // namespace plinth::nn
