// PNG and JPEG files, as images and as masks, in less memory than is usual, so that sizes above the
// limit are met often.

#include "data/images/image.h"
#include "core/error.h"
#include "core/io/file.h"
#include "data/images/mask.h"
#include "tests/fuzz/target.h"

PLINTH_FUZZ_TARGET(image) {
  using namespace plinth;
  const ImageLimits limits = {.max_pixels = 1 << 18};
  try {
    const Mask mask = decode_mask(bytes_of(input), "input", limits);
    fuzz::require(std::ssize(mask.classes) == mask.height * mask.width,
                  "gives another number of classes than pixels");
    fuzz::touch(std::as_bytes(std::span(mask.classes)));
  } catch (const Error&) {
    // A good image need not be a mask.
  }
  const Image image = decode_image(bytes_of(input), "input", limits);
  fuzz::require(std::ssize(image.bytes) == 3 * image.height * image.width,
                "gives another number of bytes than pixels");
  fuzz::touch(std::as_bytes(std::span(image.bytes)));
}
