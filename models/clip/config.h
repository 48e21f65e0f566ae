#pragma once

// Sizes and settings of a CLIP, as config.json of Hugging Face's "clip" family names them.

#include <cstdint>
#include <optional>
#include <string>

#include "core/ops/activation.h"
#include "kernels/dtype.h"
#include "models/config_json.h"

namespace plinth {

// What both towers have.
struct ClipTowerConfig {
  int64_t dim = 512;       // hidden_size
  int64_t layers = 12;     // num_hidden_layers
  int64_t heads = 8;       // num_attention_heads
  int64_t ffn_dim = 2048;  // intermediate_size
  GeluForm gelu = GeluForm::Quick;
  double norm_eps = 1e-5;
  double attention_dropout = 0;
};

struct ClipTextConfig : ClipTowerConfig {
  int64_t vocab_size = 49408;
  int64_t context = 77;  // max_position_embeddings
  std::optional<int64_t> pad_token = 1;
  std::optional<int64_t> bos_token = 49406;
  int64_t eos_token = 49407;  // where a text is read
  // Configurations made before the tokens' ids were right there end texts with 2: the tokenizer's
  // are meant, of which the one that ends a text is the largest.
  bool names_tokens() const { return eos_token != 2; }
};

struct ClipVisionConfig : ClipTowerConfig {
  int64_t image_size = 224;
  int64_t patch_size = 32;
  int64_t channels = 3;
  double initializer_range = 0.02;
};

// The defaults are ViT-B/32.
struct ClipConfig {
  ClipTextConfig text;
  ClipVisionConfig vision = {{.dim = 768, .heads = 12, .ffn_dim = 3072}};
  int64_t projection_dim = 512;
  double logit_scale = 2.6592;  // logit_scale_init_value: the logarithm of 1 / 0.07

  // Throws Error(Format) naming file and key for what is malformed, or what Plinth's CLIP does not
  // compute (images or patches that are not square, other activations).
  static ClipConfig from_json(const ConfigJson& json);
  std::string to_json(DType dtype) const;
};

}  // namespace plinth
