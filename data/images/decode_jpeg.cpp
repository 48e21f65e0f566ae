#include <turbojpeg.h>

#include <memory>

#include "core/error.h"
#include "data/images/decode.h"

namespace plinth {

Image decode_jpeg(std::span<const std::byte> file, std::string_view subject,
                  const ImageLimits& limits) {
  const auto destroy = [](void* handle) { tjDestroy(handle); };
  const std::unique_ptr<void, decltype(destroy)> decoder(tjInitDecompress(), destroy);
  check(decoder != nullptr, ErrorKind::OutOfMemory, "decode_image",
        "JPEG: ", tjGetErrorStr2(nullptr));
  const auto* bytes = reinterpret_cast<const unsigned char*>(file.data());
  int width = 0, height = 0, sampling = 0, colours = 0;
  const int header =
      tjDecompressHeader3(decoder.get(), bytes, file.size(), &width, &height, &sampling, &colours);
  check(header == 0, ErrorKind::Format, subject,
        "is a damaged JPEG: ", tjGetErrorStr2(decoder.get()));
  check(colours != TJCS_CMYK && colours != TJCS_YCCK, ErrorKind::Format, subject,
        "is a JPEG in CMYK, takes grey or colour");
  Image image = claimed_image(height, width, subject, limits);
  // A warning is of data that is not as it was written. Scans are limited, since each of a
  // progressive image's costs as much as the image.
  constexpr int kFlags = TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS;
  const int decoded = tjDecompress2(decoder.get(), bytes, file.size(), image.bytes.data(), width, 0,
                                    height, TJPF_RGB, kFlags);
  check(decoded == 0, ErrorKind::Format, subject,
        "is a damaged JPEG: ", tjGetErrorStr2(decoder.get()));
  return image;
}

}  // namespace plinth
