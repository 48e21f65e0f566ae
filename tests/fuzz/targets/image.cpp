// PNG and JPEG files, in less memory than is usual, so that sizes above the limit are met often.

#include "data/images/image.h"
#include "core/io/file.h"
#include "tests/fuzz/target.h"

PLINTH_FUZZ_TARGET(image) {
  using namespace plinth;
  const Image image = decode_image(bytes_of(input), "input", {.max_pixels = 1 << 18});
  fuzz::require(std::ssize(image.bytes) == 3 * image.height * image.width,
                "gives another number of bytes than pixels");
  fuzz::touch(std::as_bytes(std::span(image.bytes)));
}
