#pragma once

// Sizes and settings of a ViT, as config.json of Hugging Face's "vit" family names them.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/io/checkpoint_files.h"
#include "core/ops/activation.h"
#include "kernels/dtype.h"
#include "models/config_json.h"

namespace plinth {

// The defaults are ViT-B/16 at 224 x 224 pixels.
struct ViTConfig {
  int64_t image_size = 224;  // pixels of each side
  int64_t patch_size = 16;
  int64_t channels = 3;
  int64_t dim = 768;       // hidden_size
  int64_t layers = 12;     // num_hidden_layers
  int64_t heads = 12;      // num_attention_heads
  int64_t ffn_dim = 3072;  // intermediate_size
  GeluForm gelu = GeluForm::Exact;
  bool qkv_bias = true;
  double norm_eps = 1e-12;
  double hidden_dropout = 0;
  double attention_dropout = 0;
  double initializer_range = 0.02;
  int64_t pooler_dim = 768;              // pooler_output_size
  bool pooler = false;                   // of a ViTModel, whose pooler is optional
  std::vector<std::string> labels = {};  // of the classifier; empty: there is none

  // Patches of each side.
  int64_t grid() const { return image_size / patch_size; }

  // A classifier or not is what `architectures` says; whether there is a pooler `weights` tell
  // where they are given. Throws Error(Format) naming file and key for what is malformed, or what
  // Plinth's ViT does not compute (images or patches that are not square, another pooler_act,
  // regression).
  static ViTConfig from_json(const ConfigJson& json, const SafetensorsCheckpoint* weights);
  std::string to_json(DType dtype) const;
};

// What the config.json files of ViT and of its relatives share; and that but for the image's size.
ViTConfig read_vit_sizes(const ConfigJson& json);
ViTConfig read_vit_layers(const ConfigJson& json);
nlohmann::ordered_json write_vit_sizes(const ViTConfig& config, const std::string& architecture,
                                       const std::string& model_type);

}  // namespace plinth
