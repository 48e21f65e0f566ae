#pragma once

// Sizes and settings of a GPT-2, as config.json of Hugging Face's "gpt2" family names them.

#include <cstdint>
#include <optional>
#include <string>

#include "core/ops/activation.h"
#include "kernels/dtype.h"
#include "models/config_json.h"
#include "models/model_size.h"

namespace plinth {

// The defaults are GPT-2 small, 124 M parameters.
struct Gpt2Config {
  int64_t vocab_size = 50257;
  int64_t context = 1024;  // n_positions
  int64_t dim = 768;       // n_embd
  int64_t layers = 12;     // n_layer
  int64_t heads = 12;      // n_head
  int64_t ffn_dim = 3072;  // n_inner
  GeluForm gelu = GeluForm::Tanh;
  double norm_eps = 1e-5;
  double embedding_dropout = 0.1;
  double residual_dropout = 0.1;
  double attention_dropout = 0.1;
  double initializer_range = 0.02;
  bool tied = true;  // the output projection is the token embedding
  std::optional<int64_t> bos_token;
  std::vector<int64_t> eos_tokens;  // any of them ends a text

  // Throws Error(Format) naming file and key for what is malformed, or what Plinth's GPT-2 does not
  // compute (cross-attention, scores scaled by layer).
  static Gpt2Config from_json(const ConfigJson& json);
  static Gpt2Config from_size(const ModelSize& size);
  std::string to_json(DType dtype) const;

  // Throws Error(Config) unless heads divides dim.
  void validate() const;
};

}  // namespace plinth
