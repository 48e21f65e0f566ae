#include "train/logging/tensorboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/core/io/temporary_directory.h"
#include "tests/fixtures.h"
#include "train/logging/crc32c.h"

namespace plinth {
namespace {

TEST(Crc32c, MatchesTheVectorsOfRfc3720) {
  std::string ascending, descending;
  for (int i = 0; i < 32; ++i) {
    ascending += static_cast<char>(i);
    descending += static_cast<char>(31 - i);
  }
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c(ascending), 0x46dd794eu);
  EXPECT_EQ(crc32c(descending), 0x113fdb5cu);
}

TEST(TensorBoard, WritesTheBytesOfTensorBoardsOwnEncoder) {
  const TemporaryDirectory dir;
  double now = 999.5;
  const auto clock = [&now] { return now++; };  // the first call names the file
  TensorBoardWriter writer(dir.path(), 300, clock);
  writer.add_scalar("loss/train", 2.5, 1);
  writer.add_scalar("loss/train", 0.0, 300);
  writer.add_scalar(std::string(200, 'x'), std::numeric_limits<double>::infinity(),
                    int64_t{1} << 40);
  std::string text;
  for (int i = 0; i < 20; ++i) text += "**Ünïcode** ";
  writer.add_text("sample", text, 5);
  EXPECT_EQ(read_text_file(writer.path()),
            read_text_file(PLINTH_FIXTURES "/tensorboard/events.bin"));
}

TEST(TensorBoard, FramesARecordWithLengthAndMaskedChecksums) {
  const std::string record = tfrecord("abc");
  ASSERT_EQ(record.size(), 8u + 4 + 3 + 4);
  EXPECT_EQ(record.substr(0, 8), std::string("\3\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(record.substr(12, 3), "abc");
}

TEST(TensorBoard, TwoWritersOfOneSecondHaveFilesOfTheirOwn) {
  const TemporaryDirectory dir;
  const auto clock = [] { return 1.7e9; };
  const TensorBoardWriter first(dir.path(), std::nullopt, clock);
  const TensorBoardWriter second(dir.path(), std::nullopt, clock);
  EXPECT_NE(first.path(), second.path());
  EXPECT_THAT(first.path().filename().string(),
              testing::StartsWith("events.out.tfevents.1700000000."));
}

}  // namespace
}  // namespace plinth
