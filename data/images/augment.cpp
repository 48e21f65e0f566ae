#include "data/images/augment.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/ops/factories.h"

namespace plinth {

namespace {

void check_crop(const CropOptions& options) {
  check(options.min_area > 0 && options.min_area <= options.max_area && options.max_area <= 1,
        ErrorKind::Argument, "random_part", "areas are ", options.min_area, " to ",
        options.max_area, ", takes a range inside (0, 1]");
  check(options.min_aspect > 0 && options.min_aspect <= options.max_aspect &&
            std::isfinite(options.max_aspect),
        ErrorKind::Argument, "random_part", "aspects are ", options.min_aspect, " to ",
        options.max_aspect, ", takes a range above 0");
}

// The whole image but for what its aspect has too much, in the middle.
PixelBox middle(int64_t rows, int64_t columns, const CropOptions& options) {
  const double aspect = static_cast<double>(columns) / static_cast<double>(rows);
  int64_t height = rows, width = columns;
  if (aspect < options.min_aspect) {
    height = std::llround(static_cast<double>(width) / options.min_aspect);
  } else if (aspect > options.max_aspect) {
    width = std::llround(static_cast<double>(height) * options.max_aspect);
  }
  height = std::clamp<int64_t>(height, 1, rows);
  width = std::clamp<int64_t>(width, 1, columns);
  return {(rows - height) / 2, (columns - width) / 2, height, width};
}

// Of a batch that is to be mixed; its targets are not yet.
MixedBatch begin_mix(std::string_view op, const Tensor& pixels, const Tensor& labels,
                     std::span<const SampleKey> keys, double alpha) {
  check(alpha > 0 && std::isfinite(alpha), ErrorKind::Argument, op, "alpha is ", alpha,
        ", takes a number above 0");
  check(pixels.dim() == 4 && pixels.dtype() == DType::Float32 && !pixels.device().is_cuda(),
        ErrorKind::Shape, op, "pixels are ", name(pixels.dtype()), " ", pixels.shape(),
        ", expected float32 [images, channels, height, width] on the CPU");
  check(labels.dtype() == DType::Int64 && labels.shape() == Shape{pixels.size(0)} &&
            std::ssize(keys) == pixels.size(0),
        ErrorKind::Shape, op, "labels are ", name(labels.dtype()), " ", labels.shape(),
        " and keys ", keys.size(), ", expected int64 and one for each of ", pixels.size(0),
        " images");
  MixedBatch batch{.pixels = pixels.clone(),
                   .labels = labels.clone(),
                   .other_labels = labels.clone(),
                   .share = ones(labels.shape())};
  auto* others = batch.other_labels.data<int64_t>();
  if (!keys.empty()) std::rotate(others, others + 1, others + keys.size());
  return batch;
}

// A side of the box, cut off at the edges: {begin, end}.
std::pair<int64_t, int64_t> box_side(int64_t size, double part, SampleRandom& random) {
  const auto half = static_cast<int64_t>(static_cast<double>(size) * part) / 2;
  const int64_t middle = random.below(size);
  return {std::max<int64_t>(0, middle - half), std::min(size, middle + half)};
}

}  // namespace

PixelBox random_part(int64_t height, int64_t width, const SampleKey& key,
                     const CropOptions& options) {
  check_crop(options);
  SampleRandom random(key, RandomPurpose::Crop);
  const double area = static_cast<double>(height) * static_cast<double>(width);
  constexpr int kTries = 10;
  for (int i = 0; i < kTries; ++i) {
    const double part = area * random.uniform(options.min_area, options.max_area);
    const double aspect =
        std::exp(random.uniform(std::log(options.min_aspect), std::log(options.max_aspect)));
    const int64_t columns = std::llround(std::sqrt(part * aspect));
    const int64_t rows = std::llround(std::sqrt(part / aspect));
    if (columns < 1 || columns > width || rows < 1 || rows > height) continue;
    return {random.below(height - rows + 1), random.below(width - columns + 1), rows, columns};
  }
  return middle(height, width, options);
}

bool draws_flip(const SampleKey& key, double p) {
  SampleRandom random(key, RandomPurpose::Flip);
  return random.uniform() < p;
}

ImageChange::ImageChange(int64_t height, int64_t width, const SampleKey& key, double min_area,
                         bool flip) {
  if (min_area < 1) part = random_part(height, width, key, {.min_area = min_area});
  mirrored = flip && draws_flip(key);
}

MixedBatch mixup(const Tensor& pixels, const Tensor& labels, std::span<const SampleKey> keys,
                 double alpha) {
  MixedBatch batch = begin_mix("mixup", pixels, labels, keys, alpha);
  const Tensor source = pixels.contiguous();
  const int64_t images = pixels.size(0), size = images > 0 ? pixels.numel() / images : 0;
  for (int64_t i = 0; i < images; ++i) {
    SampleRandom random(keys[static_cast<size_t>(i)], RandomPurpose::Mix);
    const auto share = static_cast<float>(random.beta(alpha));
    batch.share.data<float>()[i] = share;
    float* x = batch.pixels.data<float>() + i * size;
    const float* y = source.data<float>() + (i + 1) % images * size;
    for (int64_t k = 0; k < size; ++k) x[k] = share * x[k] + (1 - share) * y[k];
  }
  return batch;
}

MixedBatch cutmix(const Tensor& pixels, const Tensor& labels, std::span<const SampleKey> keys,
                  double alpha) {
  MixedBatch batch = begin_mix("cutmix", pixels, labels, keys, alpha);
  const Tensor source = pixels.contiguous();
  const int64_t images = pixels.size(0), channels = pixels.size(1);
  const int64_t height = pixels.size(2), width = pixels.size(3);
  for (int64_t i = 0; i < images; ++i) {
    SampleRandom random(keys[static_cast<size_t>(i)], RandomPurpose::Mix);
    const double part = std::sqrt(1 - random.beta(alpha));
    const auto [top, bottom] = box_side(height, part, random);
    const auto [left, right] = box_side(width, part, random);
    const double cut = static_cast<double>((bottom - top) * (right - left));
    batch.share.data<float>()[i] =
        static_cast<float>(1 - cut / static_cast<double>(height * width));
    for (int64_t row = 0; row < channels * height; ++row) {
      if (row % height < top || row % height >= bottom) continue;
      const float* y = source.data<float>() + ((i + 1) % images * channels * height + row) * width;
      std::copy(y + left, y + right,
                batch.pixels.data<float>() + (i * channels * height + row) * width + left);
    }
  }
  return batch;
}

}  // namespace plinth
