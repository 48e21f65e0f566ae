// Decoding and resizing, against Pillow's: see tests/fixtures/README.md.

#include <gtest/gtest.h>

#include "core/io/file.h"
#include "core/ops/factories.h"
#include "data/images/image_ops.h"
#include "data/images/resize.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/data/images/image_fixture.h"

namespace plinth {
namespace {

class Png : public ::testing::TestWithParam<const char*> {};
TEST_P(Png, IsAsPillowDecodesIt) {
  EXPECT_EQ(distance(read_image(image_fixture(GetParam())), expected_image(GetParam())), 0);
}
INSTANTIATE_TEST_SUITE_P(Files, Png,
                         ::testing::Values("colour.png", "alpha.png", "grey.png", "grey_alpha.png",
                                           "palette.png", "palette_clear.png", "bits.png"));

class Jpeg : public ::testing::TestWithParam<const char*> {};
TEST_P(Jpeg, IsAsPillowDecodesItWithinALevel) {
  EXPECT_LE(distance(read_image(image_fixture(GetParam())), expected_image(GetParam())), 1);
}
INSTANTIATE_TEST_SUITE_P(Files, Jpeg,
                         ::testing::Values("colour.jpg", "halved.jpg", "progressive.jpeg",
                                           "grey.jpg"));

// Every way in which a file can end too early is an error that names it.
TEST(ReadImage, RefusesTruncatedFiles) {
  for (const char* name : {"colour.png", "palette.png", "colour.jpg", "progressive.jpeg"}) {
    const std::vector<std::byte> file = read_file(image_fixture(name));
    // Pillow ends a JPEG with its two bytes of an end marker.
    for (size_t length = 0; length + 2 < file.size(); length += 1 + length / 16) {
      SCOPED_TRACE(length);
      expect_error(ErrorKind::Format, std::string("some/") + name, [&] {
        decode_image(std::span(file).first(length), std::string("some/") + name);
      });
    }
  }
}

// A changed byte gives an error or an image of a size within the limits, and nothing else.
TEST(ReadImage, SurvivesDamage) {
  int refused = 0;
  for (const char* name : {"alpha.png", "bits.png", "halved.jpg", "progressive.jpeg"}) {
    const std::vector<std::byte> file = read_file(image_fixture(name));
    for (size_t at = 0; at < file.size(); ++at) {
      std::vector<std::byte> damaged = file;
      damaged[at] ^= std::byte(1 << (at % 8));
      try {
        const Image image = decode_image(damaged, name, {.max_pixels = 1 << 16});
        EXPECT_LE(image.height * image.width, 1 << 16);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::Format) << error.what();
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(ReadImage, NamesWhatItDoesNotTake) {
  expect_error(ErrorKind::Format, "notes.txt: is neither a PNG nor a JPEG image",
               [] { decode_image(bytes_of("not an image"), "notes.txt"); });
  expect_error(ErrorKind::Format, "empty: is neither", [] { decode_image({}, "empty"); });
  expect_error(ErrorKind::Format, "cmyk.jpg: is a JPEG in CMYK",
               [] { read_image(image_fixture("cmyk.jpg")); });
  expect_error(ErrorKind::Io, "absent.png", [] { read_image(image_fixture("absent.png")); });
  for (const char* name : {"colour.png", "colour.jpg"}) {
    expect_error(ErrorKind::Format, "pixels, takes at most 153 in all",
                 [&] { read_image(image_fixture(name), {.max_pixels = 153}); });
    expect_error(ErrorKind::Format, name,
                 [&] { read_image(image_fixture(name), {.max_file_bytes = 100}); });
  }
}

// A header that claims 2^31 - 1 pixels a side, with a checksum that is right.
TEST(ReadImage, RefusesABombBeforeItAllocates) {
  std::vector<std::byte> file = read_file(image_fixture("colour.png"));
  for (const size_t at : {16, 20}) {
    file[at] = std::byte{0x7F};
    for (size_t i = 1; i < 4; ++i) file[at + i] = std::byte{0xFF};
  }
  uint32_t crc = ~0U;
  for (size_t i = 12; i < 29; ++i) {
    crc ^= std::to_integer<uint32_t>(file[i]);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xEDB88320U : 0U);
  }
  crc = ~crc;
  for (size_t i = 0; i < 4; ++i) file[29 + i] = std::byte(crc >> (24 - 8 * i));
  expect_error(ErrorKind::Format, "bomb.png", [&] { decode_image(file, "bomb.png"); });
}

TEST(Resized, IsPillowsToTheBit) {
  const Image image = read_image(image_fixture("colour.png"));
  for (const auto& [filter, name] :
       {std::pair{ResizeFilter::Bilinear, "bilinear"}, {ResizeFilter::Bicubic, "bicubic"}}) {
    for (const auto& [height, width] : {std::pair{5, 6}, {23, 9}, {11, 30}, {40, 41}}) {
      const std::string key = detail::concat("resized.", name, ".", height, "x", width);
      EXPECT_EQ(distance(resized(image, height, width, filter), expected_image(key)), 0) << key;
    }
    EXPECT_EQ(resized(image, image.height, image.width, filter), image);
  }
  expect_error(ErrorKind::Argument, "0 x 4 pixels", [&] { resized(image, 0, 4); });
}

TEST(ImageOps, ArePillowsToTheBit) {
  const Image image = expected_image("dim");
  const auto expect = [](const Image& result, const std::string& name) {
    EXPECT_EQ(distance(result, expected_image("changed." + name)), 0) << name;
  };
  expect(autocontrast(image), "autocontrast");
  expect(equalize(image), "equalize");
  expect(solarize(image, 100), "solarize");
  expect(posterize(image, 3), "posterize");
  expect(affine(image, {0.9, 0.25, -1.5, -0.2, 1.1, 2.25}), "affine");
  for (const auto& [factor, name] : {std::pair{0.3, "0.3"}, {1.7, "1.7"}}) {
    expect(adjust_brightness(image, factor), std::string("brightness.") + name);
    expect(adjust_contrast(image, factor), std::string("contrast.") + name);
    expect(adjust_saturation(image, factor), std::string("saturation.") + name);
    expect(adjust_sharpness(image, factor), std::string("sharpness.") + name);
  }
}

TEST(ToTensor, NormalizesEachColour) {
  Image image(1, 2);
  image.bytes = {0, 51, 255, 255, 102, 0};
  const std::vector<Image> images = {image, flipped(image)};
  const Tensor pixels = to_tensor(images, {.mean = {0, 0.2F, 0.5F}, .deviation = {1, 0.2F, 0.25F}});
  EXPECT_EQ(pixels.shape(), Shape({2, 3, 1, 2}));
  const std::vector<double> expected = {0, 1, 0, 1, 2, -2, 1, 0, 1, 0, -2, 2},
                            got = to_vector(pixels);
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-6) << i;
  expect_error(ErrorKind::Shape, "takes one size", [&] {
    to_tensor(std::vector<Image>{image, Image(2, 2)});
  });
}

}  // namespace
}  // namespace plinth
