#pragma once

// Activations and their fused forms. Derivatives of any order.
//
// Errors: DType for other than floating point or for operands of different dtypes; Shape where
// operands disagree.

#include "core/tensor.h"

namespace plinth {

enum class GeluForm {
  Exact,  // x Phi(x), by erf (Hendrycks & Gimpel 2016, arXiv 1606.08415)
  Tanh,   // x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2: that of GPT-2
  Quick,  // x sigmoid(1.702 x), the same paper's: that of CLIP
};

Tensor gelu(const Tensor& x, GeluForm form = GeluForm::Exact);
Tensor silu(const Tensor& x);  // x sigmoid(x)
Tensor relu(const Tensor& x);  // derivative 0 at 0

// silu(gate) up, for gate and up of one shape (Shazeer 2020, arXiv 2002.05202). They may be the
// halves of one tensor: rows at any distance are read where they lie.
Tensor swiglu(const Tensor& gate, const Tensor& up);

// gelu(x + bias) for bias [size of the last dimension], in one pass.
Tensor bias_gelu(const Tensor& x, const Tensor& bias, GeluForm form = GeluForm::Exact);

}  // namespace plinth
