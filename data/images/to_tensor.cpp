#include "core/error.h"
#include "core/ops/factories.h"
#include "data/images/image.h"

namespace plinth {

Tensor to_tensor(std::span<const Image> images, const Normalization& normalization) {
  check(!images.empty(), ErrorKind::Shape, "to_tensor", "got no image, takes at least one");
  const int64_t height = images[0].height, width = images[0].width;
  Tensor pixels = Tensor::empty({std::ssize(images), 3, height, width});
  float* out = pixels.data<float>();
  for (const Image& image : images) {
    check(image.height == height && image.width == width, ErrorKind::Shape, "to_tensor",
          "got images of ", height, " x ", width, " and of ", image.height, " x ", image.width,
          " pixels, takes one size");
    for (size_t colour = 0; colour < 3; ++colour) {
      const float mean = normalization.mean[colour];
      const float deviation = normalization.deviation[colour];
      for (size_t i = colour; i < image.bytes.size(); i += 3)
        *out++ = (static_cast<float>(image.bytes[i]) / 255.0F - mean) / deviation;
    }
  }
  return pixels;
}

}  // namespace plinth
