#pragma once

// Sizes and settings of a ViT that labels pixels. transformers has no such class: model_type is
// "vit_segmenter", and the rest of config.json is that of a ViT.

#include <string>

#include "models/vit/config.h"

namespace plinth {

// What a mask has where a pixel is of no class that counts, as data sets write it.
inline constexpr int64_t kIgnoredPixel = 255;

struct SegmenterConfig {
  ViTConfig vit = {};  // with the labels

  // Throws Error(Format) naming file and key for what is malformed, for an image_size that is no
  // multiple of patch_size, and for more labels than bytes of a mask can name.
  static SegmenterConfig from_json(const ConfigJson& json);
  std::string to_json(DType dtype) const;
};

}  // namespace plinth
