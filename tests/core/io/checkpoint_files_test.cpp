#include "core/io/checkpoint_files.h"

#include <gtest/gtest.h>

#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"

namespace plinth {
namespace {

using testing::HasSubstr;

// Tensors a, b, c, d of 10, 20, 30 and 40 bytes, filled with their letter.
struct FourTensors {
  FourTensors() {
    for (int i = 1; i <= 4; ++i) {
      const char letter = static_cast<char>('a' + i - 1);
      data.emplace_back(static_cast<size_t>(i) * 10, static_cast<std::byte>(letter));
    }
    const char* names[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < 4; ++i) {
      const auto bytes = static_cast<int64_t>(data[i].size());
      entries.push_back({names[i], DType::UInt8, {bytes}, data[i]});
    }
  }
  std::vector<std::vector<std::byte>> data;
  std::vector<TensorEntry> entries;
};

void expect_holds_all(const SafetensorsCheckpoint& checkpoint, const FourTensors& tensors) {
  ASSERT_EQ(checkpoint.records().size(), tensors.entries.size());
  for (const TensorEntry& entry : tensors.entries) {
    EXPECT_EQ(text_of(checkpoint.data(entry.name)), text_of(entry.data));
    EXPECT_EQ(checkpoint.find(entry.name)->shape, entry.shape);
  }
}

TEST(CheckpointFiles, WritesShardsOfAtMostTheSizeAndReadsThem) {
  const struct {
    uint64_t max_bytes;
    std::vector<std::string> names;
  } cases[] = {
      {100, {"model.safetensors"}},
      {99,
       {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "model.safetensors.index.json"}},
      {50,
       {"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
        "model-00003-of-00003.safetensors", "model.safetensors.index.json"}},
      {1,
       {"model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors",
        "model-00003-of-00004.safetensors", "model-00004-of-00004.safetensors",
        "model.safetensors.index.json"}},
  };
  const FourTensors tensors;
  for (const auto& c : cases) {
    const TemporaryDirectory dir;
    write_checkpoint_files(dir.path(), tensors.entries, c.max_bytes, {{"format", "pt"}});
    EXPECT_EQ(dir.names(), c.names);
    const auto checkpoint = SafetensorsCheckpoint::open(dir.path());
    expect_holds_all(checkpoint, tensors);
    EXPECT_EQ(checkpoint.metadata().at("format"), "pt");
    expect_holds_all(SafetensorsCheckpoint::open(dir / c.names.back()), tensors);
  }
}

TEST(CheckpointFiles, AnEarlierSaveInTheOtherFormIsNotTakenForTheWeights) {
  const FourTensors tensors;
  const TemporaryDirectory dir;
  const std::span<const TensorEntry> all(tensors.entries);
  write_checkpoint_files(dir.path(), all.first(2), 1000);
  write_checkpoint_files(dir.path(), all, 50);
  expect_holds_all(SafetensorsCheckpoint::open(dir.path()), tensors);
  write_checkpoint_files(dir.path(), all.first(2), 1000);
  EXPECT_EQ(SafetensorsCheckpoint::open(dir.path()).records().size(), 2u);
}

TEST(CheckpointFiles, IndexIsHuggingFaces) {
  const TemporaryDirectory dir;
  write_checkpoint_files(dir.path(), FourTensors().entries, 60, {}, "optimizer");
  EXPECT_EQ(read_text_file(dir / "optimizer.safetensors.index.json"),
            R"({
  "metadata": {
    "total_size": 100
  },
  "weight_map": {
    "a": "optimizer-00001-of-00002.safetensors",
    "b": "optimizer-00001-of-00002.safetensors",
    "c": "optimizer-00001-of-00002.safetensors",
    "d": "optimizer-00002-of-00002.safetensors"
  }
}
)");
  EXPECT_EQ(read_shard_index(dir / "optimizer.safetensors.index.json").total_size, 100u);
}

TEST(CheckpointFiles, RefusesAnIndexThatBreaksARule) {
  const struct {
    const char* text;
    const char* message;
  } cases[] = {
      {"[]", "has no weight_map"},
      {R"({"metadata": {}})", "has no weight_map"},
      {R"({"weight_map": []})", "weight_map is not an object"},
      {R"({"weight_map": {"a": 1}})", "file of tensor 'a' is not a string"},
      {R"({"weight_map": {"a": "../m"}})", "tensor 'a' is in '../m', expected a file name without"},
      {R"({"weight_map": {"a": "/etc/passwd"}})", "tensor 'a' is in '/etc/passwd', expected"},
      {R"({"weight_map": {"a": ".."}})", "tensor 'a' is in '..', expected"},
      {R"({"weight_map": {"a": ""}})", "tensor 'a' is in '', expected"},
      {R"({"weight_map": {"a": "m\u0000.safetensors"}})", "tensor 'a' is in 'm\\x00.safetensors'"},
      {R"({"weight_map": {"a": "m", "a": "n"}})", "duplicate key 'a'"},
      {R"({"weight_map": )", "invalid JSON"},
  };
  const TemporaryDirectory dir;
  for (const auto& c : cases) {
    write_file_atomically(dir / "i.json", c.text);
    expect_error(ErrorKind::Format, c.message, [&] { read_shard_index(dir / "i.json"); });
  }
}

TEST(CheckpointFiles, NamesWhatIsMissing) {
  const TemporaryDirectory dir;
  expect_error(ErrorKind::Io, "has neither model.safetensors nor model.safetensors.index.json",
               [&] { SafetensorsCheckpoint::open(dir.path()); });
  write_checkpoint_files(dir.path(), FourTensors().entries, 60);
  expect_error(ErrorKind::Format, dir.path().string() + ": has no tensor 'e'",
               [&] { SafetensorsCheckpoint::open(dir.path()).data("e"); });
  EXPECT_EQ(SafetensorsCheckpoint::open(dir.path()).find("e"), nullptr);
  write_shard_index(dir / "model.safetensors.index.json",
                    {0, {{"d", "model-00001-of-00002.safetensors"}}});
  expect_error(ErrorKind::Format, "model-00001-of-00002.safetensors: has no tensor 'd'",
               [&] { SafetensorsCheckpoint::open(dir.path()); });
  std::filesystem::remove(dir / "model-00001-of-00002.safetensors");
  expect_error(ErrorKind::Io, "model-00001-of-00002.safetensors: cannot open: No such file",
               [&] { SafetensorsCheckpoint::open(dir.path()); });
}

TEST(CheckpointFiles, RefusesATensorThatIsInTwoShards) {
  const TemporaryDirectory dir;
  FourTensors tensors;
  tensors.entries[3].name = tensors.entries[0].name;
  expect_error(ErrorKind::Argument, "tensor 'a' is there twice",
               [&] { write_checkpoint_files(dir.path(), tensors.entries, 50); });
  EXPECT_THAT(dir.names(), testing::Not(testing::Contains(HasSubstr("index"))));
}

}  // namespace
}  // namespace plinth
