#include "train/checkpoint/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/io/checkpoint_files.h"
#include "core/io/file_faults.h"
#include "core/ops/factories.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/train/steps_in.h"
#include "train/checkpoint/manifest.h"
#include "train/checkpoint/run_directory.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

CheckpointContents contents_of(int64_t step, double value = 1) {
  CheckpointContents contents;
  contents.step = step;
  contents.tensors["model.safetensors"] = {{"a", full({3, 2}, value)}, {"b", full({5}, value)}};
  contents.tensors["optimizer.safetensors"] = {{"m.a", full({3, 2}, 2 * value)}};
  contents.texts["state.json"] = "{\"step\": " + std::to_string(step) + "}\n";
  return contents;
}

struct Latest {
  int64_t step = -1;
  std::vector<std::string> warnings;
};

Latest latest_in(const fs::path& run) {
  Latest latest;
  const auto found =
      latest_checkpoint(run, [&](const std::string& line) { latest.warnings.push_back(line); });
  if (found) latest.step = found->step;
  return latest;
}

double first_value(const fs::path& checkpoint) {
  const auto file = SafetensorsCheckpoint::open(checkpoint);
  return *reinterpret_cast<const float*>(file.data("a").data());
}

TEST(Checkpoint, IsADirectoryOfTheTensorsAndTextsWithAManifestThatHolds) {
  const TemporaryDirectory run;
  write_checkpoint(run.path(), contents_of(7, 4));
  const fs::path path = run.path() / "step-000007";
  EXPECT_EQ(manifest_fault(path), "");
  EXPECT_EQ(first_value(path), 4);
  EXPECT_TRUE(fs::exists(path / "optimizer.safetensors"));
  EXPECT_EQ(latest_in(run.path()).step, 7);
}

TEST(Checkpoint, OfTheSameStepReplacesTheOlder) {
  const TemporaryDirectory run;
  write_checkpoint(run.path(), contents_of(7, 4));
  write_checkpoint(run.path(), contents_of(7, 5));
  EXPECT_EQ(first_value(run.path() / "step-000007"), 5);
}

TEST(Checkpoint, NamesSortAsStepsDoBeyondSixDigits) {
  const TemporaryDirectory run;
  for (const int64_t step : {1000000, 999999, 5}) write_checkpoint(run.path(), contents_of(step));
  EXPECT_THAT(steps_in(run.path()), ElementsAre(5, 999999, 1000000));
}

TEST(Checkpoint, ThatIsDamagedIsPassedOverWithAWarningForTheOneBefore) {
  struct Damage {
    const char* what;
    void (*inflict)(const fs::path& checkpoint);
    const char* warning;
  };
  const Damage table[] = {
      {"a file is shorter",
       [](const fs::path& path) { fs::resize_file(path / "model.safetensors", 10); },
       "model.safetensors has 10 bytes, expected"},
      {"a byte differs",
       [](const fs::path& path) {
         std::fstream file(path / "optimizer.safetensors", std::ios::in | std::ios::out);
         file.seekp(-1, std::ios::end);
         file.put('\x55');
       },
       "optimizer.safetensors has another hash"},
      {"a file is missing", [](const fs::path& path) { fs::remove(path / "state.json"); },
       "state.json is missing"},
      {"the manifest is missing", [](const fs::path& path) { fs::remove(path / "manifest.json"); },
       "manifest.json"},
      {"the manifest is no JSON",
       [](const fs::path& path) { std::ofstream(path / "manifest.json") << "{"; }, "manifest.json"},
      {"the manifest points outside",
       [](const fs::path& path) {
         std::ofstream(path / "manifest.json") << R"({"version": 1, "files": {"../x": {}}})";
       },
       "no plain file name"},
      {"the manifest lacks a field",
       [](const fs::path& path) {
         std::ofstream(path / "manifest.json") << R"({"version": 1, "files": {"state.json": {}}})";
       },
       "bytes"},
  };
  for (const Damage& damage : table) {
    SCOPED_TRACE(damage.what);
    const TemporaryDirectory run;
    write_checkpoint(run.path(), contents_of(1));
    write_checkpoint(run.path(), contents_of(2));
    damage.inflict(run.path() / "step-000002");
    const Latest latest = latest_in(run.path());
    EXPECT_EQ(latest.step, 1);
    EXPECT_THAT(latest.warnings, ElementsAre(HasSubstr(damage.warning)));
  }
}

TEST(Checkpoint, PassedOverIsToldOfWithTheOneThatIsTaken) {
  const TemporaryDirectory run;
  for (int64_t step = 1; step <= 3; ++step) write_checkpoint(run.path(), contents_of(step));
  for (const int64_t step : {2, 3}) fs::remove(run.path() / checkpoint_name(step) / "state.json");
  EXPECT_THAT(latest_in(run.path()).warnings,
              ElementsAre(HasSubstr("step-000003: not a whole checkpoint (state.json is missing), "
                                    "taking step-000001"),
                          HasSubstr("step-000002: not a whole checkpoint (state.json is missing), "
                                    "taking step-000001")));
  fs::remove(run.path() / "step-000001" / "state.json");
  const Latest none = latest_in(run.path());
  EXPECT_EQ(none.step, -1);
  EXPECT_THAT(none.warnings, Each(Not(HasSubstr("taking"))));
}

TEST(Checkpoint, ToResumeFromIsNoneWhereThereAreNoneButNotWhereAllAreDamaged) {
  const TemporaryDirectory run;
  const auto quiet = [](const std::string&) {};
  EXPECT_FALSE(checkpoint_to_resume(run.path(), quiet));
  for (const int64_t step : {1, 2}) write_checkpoint(run.path(), contents_of(step));
  fs::remove(run.path() / "step-000002" / "state.json");
  const auto found = checkpoint_to_resume(run.path(), quiet);
  EXPECT_EQ(found ? found->step : -1, 1);
  fs::remove(run.path() / "step-000001" / "model.safetensors");
  expect_error(ErrorKind::Format,
               "step-000002: not a whole checkpoint (state.json is missing), and there is no whole "
               "one before it; put its files back from a copy, or",
               [&] { checkpoint_to_resume(run.path(), quiet); });
}

TEST(Checkpoint, OfAnEmptyOrAbsentRunIsNone) {
  const TemporaryDirectory run;
  EXPECT_EQ(latest_in(run.path()).step, -1);
  EXPECT_EQ(latest_in(run.path() / "absent").step, -1);
}

TEST(Checkpoint, PruningKeepsTheNewestAndTheBest) {
  const TemporaryDirectory run;
  for (int64_t step = 1; step <= 6; ++step) write_checkpoint(run.path(), contents_of(step));
  prune_checkpoints(run.path(), 2, 3);
  EXPECT_THAT(steps_in(run.path()), ElementsAre(3, 5, 6));
  prune_checkpoints(run.path(), 0, std::nullopt);
  EXPECT_THAT(steps_in(run.path()), ElementsAre(6));
}

TEST(Checkpoint, ThatIsDamagedHasNoPlaceAmongTheNewest) {
  const TemporaryDirectory run;
  for (const int64_t step : {2, 4, 6, 8, 10, 12}) write_checkpoint(run.path(), contents_of(step));
  prune_checkpoints(run.path(), 2, 2, {8, 12});
  EXPECT_THAT(steps_in(run.path()), ElementsAre(2, 6, 8, 10, 12));
  prune_checkpoints(run.path(), 1, std::nullopt, {8, 12});
  EXPECT_THAT(steps_in(run.path()), ElementsAre(10, 12));
}

TEST(Checkpoint, WhoseWritingFailsAtAnyCallLeavesTheOneBeforeAndItself) {
  using Effect = FileFaults::Effect;
  const auto write_second = [](const fs::path& run) { write_checkpoint(run, contents_of(2, 9)); };
  int64_t calls = 0;
  {
    const TemporaryDirectory run;
    FileFaults count;
    write_second(run.path());
    calls = count.calls();
  }
  ASSERT_GT(calls, 10);
  for (const Effect effect : {Effect::Fail, Effect::DiskFull, Effect::Crash}) {
    for (int64_t call = 0; call < calls; ++call) {
      SCOPED_TRACE(testing::Message() << "effect " << static_cast<int>(effect) << " call " << call);
      const TemporaryDirectory run;
      write_checkpoint(run.path(), contents_of(1, 3));
      bool failed = false;
      {
        FileFaults faults(effect, call);
        try {
          write_second(run.path());
        } catch (const Error& error) {
          failed = true;
          EXPECT_EQ(error.kind(), ErrorKind::Io);
        }
      }
      const Latest latest = latest_in(run.path());
      EXPECT_THAT(latest.warnings, IsEmpty());
      EXPECT_TRUE(latest.step == 2 || (failed && latest.step == 1)) << latest.step;
      EXPECT_EQ(first_value(run.path() / "step-000001"), 3);
      if (latest.step == 2) {
        EXPECT_EQ(first_value(run.path() / "step-000002"), 9);
      }
    }
  }
}

TEST(CheckpointWriter, WritesInOrderAndKeepsTheLastAndTheBest) {
  const TemporaryDirectory run;
  CheckpointWriter writer(run.path(), 2);
  for (int64_t step = 1; step <= 5; ++step) writer.submit(contents_of(step), 2);
  writer.wait();
  EXPECT_THAT(steps_in(run.path()), ElementsAre(2, 4, 5));
}

TEST(CheckpointWriter, TellsOfAFailureOnceAndGoesOn) {
  const TemporaryDirectory run;
  CheckpointWriter writer(run.path(), 3);
  {
    FileFaults full(FileFaults::Effect::DiskFull, 0, ENOSPC);
    writer.submit(contents_of(1), std::nullopt);
    expect_error(ErrorKind::Io, "No space left on device", [&] { writer.wait(); });
  }
  writer.wait();
  writer.submit(contents_of(2), std::nullopt);
  writer.wait();
  EXPECT_THAT(steps_in(run.path()), ElementsAre(2));
}

TEST(CheckpointWriter, FinishesWhatWasSubmittedBeforeItEnds) {
  const TemporaryDirectory run;
  { CheckpointWriter(run.path(), 3).submit(contents_of(1), std::nullopt); }
  EXPECT_EQ(latest_in(run.path()).step, 1);
}

TEST(ResolveModelDirectory, TakesAModelOrTheLatestCheckpointOfARun) {
  const TemporaryDirectory run;
  const auto resolve = [&](const fs::path& path) {
    return resolve_model_directory(path, [](const std::string&) {});
  };
  expect_error(ErrorKind::Io, "neither a config.json nor a whole checkpoint",
               [&] { resolve(run.path()); });
  expect_error(ErrorKind::Io, "no such directory", [&] { resolve(run.path() / "absent"); });
  write_checkpoint(run.path(), contents_of(3));
  EXPECT_EQ(resolve(run.path()), run.path() / "step-000003");
  std::ofstream(run.path() / "config.json") << "{}";
  EXPECT_EQ(resolve(run.path()), run.path());
}

}  // namespace
}  // namespace plinth
