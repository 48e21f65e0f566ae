// Masks against Pillow (tests/fixtures/README.md), and boxes and pictures.

#include "data/images/mask.h"

#include <gtest/gtest.h>

#include <set>

#include "core/io/file.h"
#include "data/images/boxes.h"
#include "data/images/encode.h"
#include "data/images/mask_dataset.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/data/images/image_fixture.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

fs::path mask_fixture(const std::string& name) {
  return fs::path(PLINTH_FIXTURES) / "masks" / name;
}

Mask expected_mask(const std::string& name) {
  static const SafetensorsFile file = SafetensorsFile::open(mask_fixture("expected.safetensors"));
  const TensorRecord& record = file.record(name);
  Mask mask(record.shape[0], record.shape[1]);
  std::ranges::transform(file.data(name), mask.classes.begin(),
                         [](std::byte byte) { return std::to_integer<uint8_t>(byte); });
  return mask;
}

class MaskFiles : public ::testing::TestWithParam<const char*> {};

TEST_P(MaskFiles, AreReadAndResizedAsByPillow) {
  const std::string name = GetParam();
  const Mask mask = read_mask(mask_fixture(name + ".png"));
  EXPECT_EQ(mask, expected_mask(name));
  for (const auto& [height, width] : {std::pair{4, 5}, {20, 7}, {9, 40}}) {
    const std::string key = detail::concat(name, ".", height, "x", width);
    EXPECT_EQ(resized(mask, height, width), expected_mask(key)) << key;
  }
  EXPECT_EQ(resized(mask, mask.height, mask.width), mask);
}

TEST_P(MaskFiles, AreWrittenWithAPalette) {
  const Mask mask = read_mask(mask_fixture(std::string(GetParam()) + ".png"));
  const std::string file = encode_png(mask);
  EXPECT_EQ(decode_mask(bytes_of(file), "written"), mask);
  const Image seen = decode_image(bytes_of(file), "written");
  for (int64_t y = 0; y < mask.height; ++y) {
    for (int64_t x = 0; x < mask.width; ++x)
      EXPECT_TRUE(std::ranges::equal(std::span(seen.pixel(y, x), 3), class_colour(mask.at(y, x))));
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, MaskFiles,
                         ::testing::Values("palette", "palette_2_bits", "grey", "grey_1_bit"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Mask, RefusesWhatIsNone) {
  const auto refused = [](const char* name, const char* message) {
    expect_error(ErrorKind::Format, message, [&] { read_mask(image_fixture(name)); });
  };
  refused("colour.png", "is a PNG of colours or of 16 bits, takes one with a palette or of grey");
  refused("grey_alpha.png", "takes one with a palette or of grey");
  refused("colour.jpg", "is no PNG");
  const std::string whole = read_text_file(mask_fixture("palette.png"));
  for (const size_t size : {size_t{4}, size_t{40}, whole.size() - 30})
    expect_error(ErrorKind::Format, "cut.png",
                 [&] { decode_mask(bytes_of(whole.substr(0, size)), "cut.png"); });
  expect_error(ErrorKind::Format, "9 x 13 pixels, takes at most 100",
               [&] { decode_mask(bytes_of(whole), "large.png", {.max_pixels = 100}); });
  expect_error(ErrorKind::Io, "none.png", [] { read_mask("none.png"); });
  expect_error(ErrorKind::Argument, "0 x 3 pixels", [&] { resized(Mask(2, 2), 0, 3); });
  expect_error(ErrorKind::Argument, "takes a part of 2 x 2",
               [&] { cropped(Mask(2, 2), 1, 0, 2, 1); });
}

TEST(Mask, IsMirroredAndCutAsItsImage) {
  const Image image = read_image(image_fixture("colour.png"));
  Mask mask(image.height, image.width);
  for (int64_t y = 0; y < mask.height; ++y) {
    for (int64_t x = 0; x < mask.width; ++x) mask.at(y, x) = image.pixel(y, x)[0];
  }
  const auto same = [](const Mask& m, const Image& i) {
    for (int64_t y = 0; y < m.height; ++y) {
      for (int64_t x = 0; x < m.width; ++x) {
        if (m.at(y, x) != i.pixel(y, x)[0]) return false;
      }
    }
    return m.height == i.height && m.width == i.width;
  };
  EXPECT_TRUE(same(flipped(mask), flipped(image)));
  EXPECT_TRUE(same(cropped(mask, 2, 3, 5, 7), cropped(image, 2, 3, 5, 7)));
}

TEST(Boxes, FollowTheirImage) {
  const std::vector<LabelledBox> boxes = {{2, 1, 6, 5, 7}, {9, 0, 10, 10, 3}, {0, 0, 20, 20, 1}};
  EXPECT_EQ(flipped(boxes, 20),
            (std::vector<LabelledBox>{{14, 1, 18, 5, 7}, {10, 0, 11, 10, 3}, {0, 0, 20, 20, 1}}));
  EXPECT_EQ(flipped(flipped(boxes, 20), 20), boxes);
  // The second's middle lies outside; the others are cut off.
  EXPECT_EQ(cropped(boxes, {.top = 2, .left = 3, .height = 10, .width = 8}),
            (std::vector<LabelledBox>{{0, 0, 3, 3, 7}, {6, 0, 7, 8, 3}, {0, 0, 8, 10, 1}}));
  EXPECT_EQ(cropped(boxes, {.top = 0, .left = 3, .height = 10, .width = 6}),
            (std::vector<LabelledBox>{{0, 1, 3, 5, 7}}));
}

// What is drawn on an image lies where its box was before it was mirrored.
TEST(Boxes, FramesAreMirroredWithTheImage) {
  const LabelledBox box{3, 2, 9, 8, 0};
  const auto drawn = [](const LabelledBox& b) {
    Image image(10, 14);
    draw_frame(image, {b.left, b.top, b.right, b.bottom}, {255, 1, 2}, 1);
    return image;
  };
  EXPECT_EQ(flipped(drawn(box)), drawn(flipped({box}, 14)[0]));
  Image image = drawn(box);
  EXPECT_EQ(image.pixel(2, 3)[0], 255);
  EXPECT_EQ(image.pixel(7, 8)[0], 255);
  EXPECT_EQ(image.pixel(3, 4)[0], 0);
  EXPECT_EQ(image.pixel(8, 9)[0], 0);
  draw_frame(image, {-1e9, -3, 1e9, NAN}, {9, 9, 9}, 1);
}

TEST(EncodePng, KeepsEveryPixel) {
  for (const char* name : {"colour.png", "grey.jpg"}) {
    const Image image = read_image(image_fixture(name));
    EXPECT_EQ(decode_image(bytes_of(encode_png(image)), name), image);
  }
}

TEST(ClassColour, DiffersForEachClass) {
  std::set<std::array<uint8_t, 3>> colours;
  for (int64_t i = 0; i < 256; ++i) colours.insert(class_colour(i));
  EXPECT_EQ(colours.size(), 256);
  EXPECT_EQ(class_colour(0), (std::array<uint8_t, 3>{0, 0, 0}));
  EXPECT_EQ(class_colour(1), (std::array<uint8_t, 3>{128, 0, 0}));
  EXPECT_EQ(class_colour(255), (std::array<uint8_t, 3>{224, 224, 192}));
}

TEST(MaskedImages, AreListedFromFoldersAndTables) {
  const TemporaryDirectory here;
  fs::create_directories(here / "images" / "more");
  for (const char* file : {"images/b.png", "images/more/a.JPG", "images/notes.txt"})
    write_file_atomically(here / file, "x");
  expect_error(ErrorKind::Format, "has no folder masks", [&] { list_masked_images(here.path()); });
  fs::create_directory(here / "masks");
  const std::vector<MaskedImage> pairs = list_masked_images(here.path());
  ASSERT_EQ(pairs.size(), 2);
  EXPECT_EQ(pairs[0].mask, here / "masks/b.png");
  EXPECT_EQ(pairs[1].image, here / "images/more/a.JPG");
  EXPECT_EQ(pairs[1].mask, here / "masks/more/a.png");

  write_file_atomically(here / "list.csv", "mask,path\nm.png,i.png\n");
  const std::vector<MaskedImage> rows = list_masked_images(here / "list.csv");
  ASSERT_EQ(rows.size(), 1);
  EXPECT_EQ(rows[0].image, here / "i.png");
  EXPECT_EQ(rows[0].mask, here / "m.png");
  write_file_atomically(here / "list.csv", "path,label\ni.png,1\n");
  expect_error(ErrorKind::Format, "has no column \"mask\" in its first row; takes path and mask",
               [&] { list_masked_images(here / "list.csv"); });
  write_file_atomically(here / "list.csv", "path,mask\ni.png,\n");
  expect_error(ErrorKind::Format, "line 2 has an empty path or mask",
               [&] { list_masked_images(here / "list.csv"); });
}

}  // namespace
}  // namespace plinth
