#pragma once

// Sizes and settings of a masked autoencoder, as config.json of Hugging Face's "vit_mae" family
// names them.

#include <string>

#include "models/vit/config.h"

namespace plinth {

// The defaults are the paper's, ViT-B/16.
struct ViTMaeConfig {
  ViTConfig vit;
  int64_t decoder_dim = 512;       // decoder_hidden_size
  int64_t decoder_layers = 8;      // decoder_num_hidden_layers
  int64_t decoder_heads = 16;      // decoder_num_attention_heads
  int64_t decoder_ffn_dim = 2048;  // decoder_intermediate_size
  double mask_ratio = 0.75;        // of the patches, which the encoder does not see
  bool norm_pix_loss = false;      // the loss compares with patches of mean 0 and deviation 1

  int64_t patches() const { return vit.grid() * vit.grid(); }
  // Patches that the encoder sees.
  int64_t kept() const;

  // Throws what ViTConfig::from_json() does, and Error(Format) for a mask that leaves or takes
  // nothing, widths that are no multiples of 4, and images that are no multiple of their patches.
  static ViTMaeConfig from_json(const ConfigJson& json);
  std::string to_json(DType dtype) const;
};

}  // namespace plinth
