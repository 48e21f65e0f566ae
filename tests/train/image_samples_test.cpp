// Images to pretrain on.

#include "train/pretrain/image_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/io/file.h"
#include "data/images/encode.h"
#include "tests/core/io/temporary_directory.h"

namespace plinth {
namespace {

// One that keeps its aspect while its shorter side grows would have more pixels than any file may.
TEST(ImageSamples, LeaveOutWhatCannotBePreprocessed) {
  const TemporaryDirectory here;
  write_file_atomically(here / "long.png", encode_png(Image(1, 60000)));
  write_file_atomically(here / "small.png", encode_png(Image(9, 11)));
  std::string told;
  const auto samples_with = [&](const ImagePreprocessing& preprocessing) {
    told.clear();
    return ImageSamples(PretrainConfig(), {here.path().string()}, "data.train", false,
                        preprocessing, [&](const std::string& line) { told += line; });
  };
  const ImageSamples kept = samples_with({.size = 64, .shortest_edge = 64});
  EXPECT_EQ(kept.size(), 1);
  EXPECT_THAT(told, testing::HasSubstr("data.train: 1 of 2 images were left out: "));
  EXPECT_THAT(told, testing::HasSubstr("long.png: has 1 x 60000 pixels, which to cut its middle"));
  const std::vector<SampleKey> keys = {{.sample = 0}};
  EXPECT_EQ(kept.pixels(keys, {.preprocessing = {.size = 64, .shortest_edge = 64}}).shape(),
            Shape({1, 3, 64, 64}));
  EXPECT_EQ(samples_with({.size = 64}).size(), 2);  // the aspect is not kept
  EXPECT_EQ(told, "");
}

}  // namespace
}  // namespace plinth
