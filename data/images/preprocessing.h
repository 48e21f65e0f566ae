#pragma once

// How an image becomes what a model takes, as transformers' image processors have it: resized, cut
// to its middle if the model wants that, and normalised.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/ops/conv.h"
#include "data/images/augment.h"
#include "data/images/image.h"
#include "data/images/resize.h"

namespace plinth {

inline constexpr const char* kPreprocessingFile = "preprocessor_config.json";

struct ImagePreprocessing {
  Size2d size = 224;  // pixels that the model takes
  Normalization normalization = {};
  ResizeFilter filter = ResizeFilter::Bilinear;

  // What an image is resized to before `size` of its middle is cut out: its shorter side to so many
  // pixels, its aspect kept; or both sides. Neither: to `size`, and nothing is cut off.
  std::optional<int64_t> shortest_edge = {};
  std::optional<Size2d> resized_to = {};

  // That of the directory of a model that takes images of `size`; the defaults where it has no such
  // file. What a file leaves out is as in ViTImageProcessor, or in CLIPImageProcessor if it names
  // that. Where nothing is cut a file may give any size: images get the model's. Throws
  // Error(Format) naming file and key for what is malformed, for a cut of another size than the
  // model's, and for what Plinth does not do: other filters, or leaving out a step.
  static ImagePreprocessing of(const std::filesystem::path& directory, Size2d size);

  bool cuts() const { return shortest_edge || resized_to; }
  // The image at the model's size. Throws Error(Shape) for one so long that, its shorter side
  // resized, it has more pixels than a file may have.
  Image apply(const Image& image) const;
  // The same of what a change shows; a part of the image is resized as it is, and not cut again.
  Image apply(const Image& image, const ImageChange& change) const;
  // Throws Error(Format) naming the file of an image that apply() does not take.
  void check_usable(const Image& image, const std::filesystem::path& path) const;
  // The file's text, by the name of transformers' class.
  std::string to_json(std::string_view processor = "ViTImageProcessor") const;

 private:
  // What it is resized to if cuts(). Throws Error(kind) for more pixels than a file may have.
  Size2d size_before_cut(const Image& image, ErrorKind kind, std::string_view subject) const;
};

}  // namespace plinth
