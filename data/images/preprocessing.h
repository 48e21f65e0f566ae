#pragma once

// How an image becomes what a model takes, as transformers' ViTImageProcessor has it: resized to
// the model's size, then normalised.

#include <filesystem>
#include <string>
#include <string_view>

#include "core/ops/conv.h"
#include "data/images/image.h"
#include "data/images/resize.h"

namespace plinth {

inline constexpr const char* kPreprocessingFile = "preprocessor_config.json";

struct ImagePreprocessing {
  Normalization normalization;
  ResizeFilter filter = ResizeFilter::Bilinear;

  // That of a model's directory; the defaults where it has no such file. Throws Error(Format)
  // naming file and key for what is malformed, and for what Plinth does not do: other filters, or
  // leaving out a step.
  static ImagePreprocessing of(const std::filesystem::path& directory);
  // The file's text, for images of `size` pixels, by the name of transformers' class.
  std::string to_json(Size2d size, std::string_view processor = "ViTImageProcessor") const;
};

}  // namespace plinth
