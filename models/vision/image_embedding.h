#pragma once

// Images as sequences of vectors (Dosovitskiy et al. 2021, arXiv 2010.11929, section 3.1): a vector
// for each patch, a class token before them, and a learned position added to each. Behind them
// there may be more learned tokens (Fang et al. 2021, arXiv 2106.00666).

#include <string>
#include <vector>

#include "models/weight_map.h"
#include "nn/layers.h"
#include "nn/module.h"

namespace plinth {

struct ImageEmbeddingOptions {
  Size2d image_size = 0;   // pixels that the positions are for
  int64_t patch_size = 0;  // pixels of each side
  int64_t channels = 3;
  int64_t dim = 0;
  int64_t more_tokens = 0;  // "more_tokens" behind the patches
  bool patch_bias = true;
  nn::Initializer patch_init = {}, class_init = {}, more_init = {}, position_init = {};
  bool fixed_positions = false;  // they take no gradient
};

class ImageEmbedding final : public nn::ModuleOf<ImageEmbedding> {
 public:
  // Throws Error(Argument) for sizes below 1, and patches larger than the image.
  explicit ImageEmbedding(const ImageEmbeddingOptions& options);

  // pixels [batch, channels, height, width] to [batch, 1 + patches + more_tokens, dim], the class
  // token first. Throws what patches() does.
  Tensor forward(const Tensor& pixels, bool interpolate = false);

  // ---- what forward() is made of ----
  // The patches with their positions, row by row: [batch, patches, dim]. Pixels at the right and
  // the bottom that fill no patch are left out. Images of another size take positions by bicubic
  // interpolation where `interpolate` is true. Throws Error(Shape) for other than
  // [batch, channels, height, width], an image smaller than a patch, and where `interpolate` is
  // false for another size.
  Tensor patches(const Tensor& pixels, bool interpolate = false);
  // The class token with its position before x [batch, count, dim], and more tokens with theirs
  // behind it.
  Tensor with_tokens(const Tensor& x) const;

  // Patches of an image of image_size pixels.
  Size2d grid() const { return grid_; }
  int64_t patch_size() const { return options_.patch_size; }
  int64_t patch_count() const { return grid_.height * grid_.width; }
  const Tensor& position() const { return position_; }  // [1 + patches + more_tokens, dim]

 private:
  void check_pixels(const Tensor& pixels, bool interpolate) const;
  Tensor positions(int64_t rows, int64_t columns) const;

  ImageEmbeddingOptions options_;
  Size2d grid_ = 0;
  nn::Handle<nn::Conv2d> patches_;
  Tensor class_token_, more_tokens_, position_;
};

// "224 x 224, 3 channels, in patches of 16 x 16", for who looks at a model.
std::string image_text(Size2d size, int64_t channels, int64_t patch_size);

}  // namespace plinth
