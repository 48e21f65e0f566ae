#include "data/images/rand_augment.h"

#include <cmath>
#include <numbers>

#include "core/error.h"
#include "data/images/image_ops.h"

namespace plinth {

namespace {

constexpr int kStrongest = 30;

// About the image's middle.
Image rotated(const Image& image, double degrees) {
  const double angle = degrees * std::numbers::pi / 180, cos = std::cos(angle),
               sin = std::sin(angle);
  const double x = static_cast<double>(image.width) / 2, y = static_cast<double>(image.height) / 2;
  return affine(image, {cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y});
}

// `strength` in [-1, 1] is how far the operation goes, and which way.
Image changed(const Image& image, int64_t operation, double strength) {
  const double factor = 1 + 0.9 * strength;
  const double shear = 0.3 * strength;
  const auto shift = [&](int64_t size) {
    return std::trunc(150.0 / 331.0 * static_cast<double>(size) * strength);
  };
  const double amount = std::abs(strength);
  switch (operation) {
    case 0: return affine(image, {1, shear, 0, 0, 1, 0});
    case 1: return affine(image, {1, 0, 0, shear, 1, 0});
    case 2: return affine(image, {1, 0, shift(image.width), 0, 1, 0});
    case 3: return affine(image, {1, 0, 0, 0, 1, shift(image.height)});
    case 4: return rotated(image, 30 * strength);
    case 5: return adjust_brightness(image, factor);
    case 6: return adjust_saturation(image, factor);
    case 7: return adjust_contrast(image, factor);
    case 8: return adjust_sharpness(image, factor);
    case 9: return posterize(image, 8 - static_cast<int>(std::lround(4 * amount)));
    case 10: return solarize(image, static_cast<int>(255 * (1 - amount)));
    case 11: return autocontrast(image);
    case 12: return equalize(image);
    default: return image;
  }
}

}  // namespace

Image rand_augment(const Image& image, const SampleKey& key, const RandAugmentOptions& options) {
  check(options.count >= 0, ErrorKind::Argument, "rand_augment", "count is ", options.count,
        ", takes 0 or more");
  check(options.magnitude >= 0 && options.magnitude <= kStrongest, ErrorKind::Argument,
        "rand_augment", "magnitude is ", options.magnitude, ", takes 0 to ", kStrongest);
  constexpr int64_t kOperations = 14;
  SampleRandom random(key, RandomPurpose::RandAugment);
  Image result = image;
  for (int i = 0; i < options.count; ++i) {
    const int64_t operation = random.below(kOperations);
    const double sign = random.below(2) == 0 ? 1 : -1;
    result = changed(result, operation, sign * options.magnitude / kStrongest);
  }
  return result;
}

}  // namespace plinth
