#pragma once

// Sizes and settings of a Llama, as config.json of Hugging Face's "llama" family names them.

#include <cstdint>
#include <optional>
#include <string>

#include "core/ops/rope.h"
#include "kernels/dtype.h"
#include "models/config_json.h"
#include "models/model_size.h"

namespace plinth {

// Of a Mixtral.
struct LlamaExperts {
  int64_t count = 8;                  // num_local_experts
  int64_t per_token = 2;              // num_experts_per_tok
  double balance_coefficient = 0.02;  // router_aux_loss_coef
  bool adds_balance_loss = true;      // output_router_logits: whether training adds that loss
};

struct LlamaConfig {
  int64_t vocab_size = 32000;
  int64_t context = 2048;   // max_position_embeddings
  int64_t dim = 4096;       // hidden_size
  int64_t layers = 32;      // num_hidden_layers
  int64_t heads = 32;       // num_attention_heads
  int64_t kv_heads = 32;    // num_key_value_heads
  int64_t head_dim = 128;   // dim / heads unless config.json says otherwise
  int64_t ffn_dim = 11008;  // intermediate_size
  double norm_eps = 1e-6;
  double rope_theta = 10000;
  RopeScaling rope_scaling;  // for contexts beyond the one trained on
  double attention_dropout = 0;
  double initializer_range = 0.02;
  bool tied = false;  // the output projection is the token embedding
  std::optional<int64_t> bos_token;
  std::vector<int64_t> eos_tokens;      // any of them ends a text
  std::optional<LlamaExperts> experts;  // in place of the MLP: models/mixtral/config.h

  // Throws Error(Format) naming file and key for what is malformed, or what Plinth's Llama does not
  // compute (biases, other activations, other RoPE scalings). Reads both rope_parameters
  // (transformers 5) and rope_theta with rope_scaling (before); a rope_theta inside either counts
  // before the one beside it.
  // What the file leaves out is as `defaults` says.
  static LlamaConfig from_json(const ConfigJson& json, const LlamaConfig& defaults);
  static LlamaConfig from_json(const ConfigJson& json);
  static LlamaConfig from_size(const ModelSize& size);
  std::string to_json(DType dtype) const;

  // Throws Error(Config) unless heads divides dim, kv_heads divides heads, head_dim is even, and a
  // token's experts are as many as there are, or fewer.
  void validate() const;
};

}  // namespace plinth
