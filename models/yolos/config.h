#pragma once

// Sizes and settings of a YOLOS, as config.json of Hugging Face's "yolos" family names them.

#include <cstdint>
#include <string>

#include "core/ops/conv.h"
#include "models/vision/set_loss.h"
#include "models/vit/config.h"

namespace plinth {

// The defaults are YOLOS-base.
struct YolosConfig {
  ViTConfig vit = {};  // but for its image_size, and with the labels
  Size2d image_size = {512, 864};
  int64_t detection_tokens = 100;  // num_detection_tokens
  bool mid_positions = true;       // use_mid_position_embeddings
  SetLossOptions loss = {};

  // Throws Error(Format) naming file and key for what is malformed, or what Plinth's YOLOS does not
  // compute (patches that are not square, losses of blocks before the last).
  static YolosConfig from_json(const ConfigJson& json);
  std::string to_json(DType dtype) const;
};

}  // namespace plinth
