#include "train/run_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/io/file.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "train/finetune/config.h"
#include "train/pretrain/config.h"

namespace plinth {
namespace {

constexpr const char* kOwn = R"(# tried on the small corpus first
[run]
directory = "elsewhere"
[data]
train = ["a.csv"]  # the newest
[train]
steps = 7
)";

class KeptConfig : public testing::Test {
 protected:
  KeptConfig() { schema_.load_text(kOwn, "run.toml"); }
  void keep(RunStart start) { keep_config(here_.path(), schema_, start, changed_keys); }
  void write(const std::string& text) { write_file_atomically(file(), text); }
  std::filesystem::path file() const { return here_ / "config.toml"; }
  std::string text() const { return read_text_file(file()); }

  TemporaryDirectory here_;
  PretrainConfig config_;
  ConfigSchema schema_ = pretrain_schema(config_);
};

TEST_F(KeptConfig, IsWrittenWhereThereIsNone) {
  keep(RunStart::New);
  EXPECT_EQ(text(), schema_.to_toml());
}

TEST_F(KeptConfig, OfTheSameValuesStaysAsItIsWritten) {
  write(kOwn);
  schema_.set("run.directory=" + here_.path().string());
  for (const RunStart start : {RunStart::New, RunStart::Again, RunStart::Resumed}) {
    keep(start);
    EXPECT_EQ(text(), kOwn);
  }
}

TEST_F(KeptConfig, OfOtherValuesIsNotWrittenOverByANewRun) {
  write(kOwn);
  schema_.set("log.every=5");
  expect_error(ErrorKind::Config,
               "config.toml: log.every was 1, now 5; a new run does not write over it: move it "
               "away, take another run.directory, or begin that run again, with what is now, by "
               "--resume",
               [&] { keep(RunStart::New); });
  EXPECT_EQ(text(), kOwn);
  keep(RunStart::Again);
  EXPECT_EQ(text(), schema_.to_toml());
}

TEST_F(KeptConfig, OfAResumedRunAgreesInWhatDecidesTheBits) {
  write(kOwn);
  schema_.set("log.every=5");
  keep(RunStart::Resumed);
  schema_.set("train.steps=8");
  expect_error(ErrorKind::Config, "train.steps was 7, now 8; --resume goes on with the same run",
               [&] { keep(RunStart::Resumed); });
  EXPECT_EQ(text(), kOwn);
}

TEST_F(KeptConfig, OfFinetuningIsKeptAlike) {
  FinetuneConfig config;
  ConfigSchema schema = finetune_schema(config);
  write("[train]\nsteps = 7\n");
  const auto start = [&] {
    keep_config(here_.path(), schema, RunStart::New, changed_finetune_keys);
  };
  expect_error(ErrorKind::Config, "train.steps was 7, now 0; a new run", start);
  schema.set("train.steps=7");
  start();
  EXPECT_EQ(text(), "[train]\nsteps = 7\n");
}

}  // namespace
}  // namespace plinth
