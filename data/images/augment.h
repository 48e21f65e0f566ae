#pragma once

// Augmentations of images in training. What is drawn is a function of (seed, epoch, sample), so
// that a run has the same bits on any number of threads and ranks.

#include <optional>
#include <span>

#include "core/tensor.h"
#include "data/images/sample_random.h"

namespace plinth {

struct CropOptions {
  double min_area = 0.08, max_area = 1;               // of the image's
  double min_aspect = 3.0 / 4, max_aspect = 4.0 / 3;  // width over height
};

// A part of an image: rows [top, top + height) and columns [left, left + width).
struct PixelBox {
  int64_t top, left, height, width;

  bool operator==(const PixelBox&) const = default;
};

// A part of an image of height x width, of random area, aspect and place (Szegedy et al. 2015,
// arXiv 1409.4842, section 6; tries and fallback are torchvision's). Throws Error(Argument) for
// areas outside (0, 1] or aspects that are not above 0, or a least above its most.
PixelBox random_part(int64_t height, int64_t width, const SampleKey& key,
                     const CropOptions& options = {});

// Whether an image is to be mirrored, which it is with probability `p`.
bool draws_flip(const SampleKey& key, double p = 0.5);

// How an image is changed in training, before its model's preprocessing.
struct ImageChange {
  std::optional<PixelBox> part;  // that is shown, in place of the whole
  bool mirrored = false;         // after that

  // That of an image of height x width, drawn by the key: a part of at least so much of its area,
  // all of it for 1; mirrored or not, if `flip`.
  ImageChange(int64_t height, int64_t width, const SampleKey& key, double min_area, bool flip);
};

// A batch whose images are mixed in pairs, and what its loss is made of.
struct MixedBatch {
  Tensor pixels;        // as the batch's
  Tensor labels;        // int64 [images]
  Tensor other_labels;  // of the image that was mixed in
  Tensor share;         // float32 [images]: what `labels` count; the rest others do
};

// Each image x of pixels float32 [images, channels, height, width] becomes share x + (1 - share) y,
// y the next of the batch, the first for the last; share is drawn from Beta(alpha, alpha) by the
// key of x (Zhang et al. 2018, arXiv 1710.09412). `keys` has one of each image. Throws Error(Shape)
// for tensors that do not go together, Error(Argument) unless alpha is above 0.
MixedBatch mixup(const Tensor& pixels, const Tensor& labels, std::span<const SampleKey> keys,
                 double alpha = 0.8);

// The same, but a box of the next image replaces that of x, of 1 - share of its area before it is
// cut off at the edge; share is then what is left of x (Yun et al. 2019, arXiv 1905.04899).
MixedBatch cutmix(const Tensor& pixels, const Tensor& labels, std::span<const SampleKey> keys,
                  double alpha = 1);

}  // namespace plinth
