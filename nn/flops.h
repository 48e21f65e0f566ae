#pragma once

// The operations that a transformer's training needs by its shape, whatever the implementation does
// besides (recomputation does not count): the numerator of model FLOP utilisation.

#include <cstdint>

namespace plinth::nn {

struct TransformerShape {
  int64_t layers = 0;
  int64_t dim = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;  // 0: as many as heads
  int64_t head_dim = 0;  // 0: dim / heads
  int64_t ffn_dim = 0;
  bool gated = false;  // SwiGLU: three matrices in place of two
  int64_t vocab = 0;   // columns of the output head; 0 for none
};

// Elements of the matrices that every token is multiplied with, the output head included; embedding
// look-ups, gains and biases are not.
int64_t matmul_parameters(const TransformerShape& shape);

// Forward and backward operations a token at sequences of `context` tokens: 6 for each element of
// matmul_parameters and, for scores and values, 12 layers heads head_dim context (Chowdhery et al.
// 2022, arXiv 2204.02311, appendix B). By convention the whole context counts though a causal mask
// skips half; with skip_masked only the (context + 1) / 2 keys that a token sees on average do.
double training_flops_per_token(const TransformerShape& shape, int64_t context,
                                bool skip_masked = false);

// The same for a forward pass alone: a third.
double forward_flops_per_token(const TransformerShape& shape, int64_t context,
                               bool skip_masked = false);

// Model FLOP utilisation: the share of the device's peak, in operations a second, that does work
// which the model needs.
double model_flop_utilisation(double flops_per_token, double tokens_per_second, double peak_flops);

}  // namespace plinth::nn
