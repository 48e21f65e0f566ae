#pragma once

// Sizes and settings of a T5, as config.json of Hugging Face's "t5" family names them.

#include <cstdint>
#include <optional>
#include <string>

#include "core/io/checkpoint_files.h"
#include "kernels/dtype.h"
#include "models/config_json.h"
#include "models/model_size.h"

namespace plinth {

// The defaults are T5-small, 60 M parameters.
struct T5Config {
  int64_t vocab_size = 32128;
  int64_t dim = 512;           // d_model
  int64_t head_dim = 64;       // d_kv
  int64_t ffn_dim = 2048;      // d_ff
  int64_t encoder_layers = 6;  // num_layers
  int64_t decoder_layers = 6;  // num_decoder_layers
  int64_t heads = 8;           // num_heads
  int64_t buckets = 32;        // relative_attention_num_buckets
  int64_t max_distance = 128;  // relative_attention_max_distance
  double dropout = 0.1;        // dropout_rate
  double norm_eps = 1e-6;      // layer_norm_epsilon
  double initializer_factor = 1;
  bool gated = false;       // feed_forward_proj: "gated-gelu", as since version 1.1, or "relu"
  bool tied = true;         // the output projection is the token embedding
  bool scaled_head = true;  // what the output projection takes is multiplied by dim^-0.5
  int64_t pad_token = 0;
  int64_t start_token = 0;                // decoder_start_token_id
  std::vector<int64_t> eos_tokens = {1};  // any of them ends a text

  // tie_word_embeddings tells whether the head is tied and scaled. Files since transformers 5 say
  // by scale_decoder_outputs whether it is scaled; there it is tied unless `weights`, if given,
  // have an lm_head, or, without them, it is not scaled. Throws Error(Format) naming file and key
  // for what is malformed, or what Plinth's T5 does not compute.
  static T5Config from_json(const ConfigJson& json, const SafetensorsCheckpoint* weights);
  // As many layers in the decoder as in the encoder, by the defaults' kind of MLP. Throws
  // Error(Config).
  static T5Config from_size(const ModelSize& size);
  std::string to_json(DType dtype) const;
};

}  // namespace plinth
