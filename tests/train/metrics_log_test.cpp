#include "train/logging/metrics_log.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/io/file_faults.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"

namespace plinth {
namespace {

const std::vector<std::string> kColumns = {"loss", "val_loss", "lr"};

MetricsRow row(int64_t step) {
  return {step, {{"loss", 4.0 / static_cast<double>(step)}, {"lr", 1e-3}}};
}

std::string jsonl(const TemporaryDirectory& dir) {
  return read_text_file(dir / "metrics.jsonl");
}
std::string csv(const TemporaryDirectory& dir) {
  return read_text_file(dir / "metrics.csv");
}

TEST(MetricsLog, WritesEachRowAtOnceInBothForms) {
  const TemporaryDirectory dir;
  MetricsLog log(dir.path(), kColumns);
  log.append(row(1));
  EXPECT_EQ(jsonl(dir), "{\"step\":1,\"loss\":4.0,\"lr\":0.001}\n");
  EXPECT_EQ(csv(dir), "step,loss,val_loss,lr\n1,4,,0.001\n");
  log.append({2, {{"val_loss", NAN}, {"loss", std::numeric_limits<double>::infinity()}}});
  EXPECT_EQ(jsonl(dir).substr(33), "{\"step\":2,\"val_loss\":null,\"loss\":null}\n");
  EXPECT_EQ(csv(dir), "step,loss,val_loss,lr\n1,4,,0.001\n2,inf,nan,\n");
}

TEST(MetricsLog, ReadsBackTheSameValues) {
  const TemporaryDirectory dir;
  MetricsLog log(dir.path(), kColumns);
  log.append({3, {{"loss", 1.0 / 3}, {"val_loss", NAN}, {"lr", 5e-324}}});
  const std::vector<MetricsRow> rows = read_metrics(dir / "metrics.jsonl");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].step, 3);
  EXPECT_EQ(rows[0].value("loss"), 1.0 / 3);
  EXPECT_EQ(rows[0].value("lr"), 5e-324);
  EXPECT_TRUE(std::isnan(rows[0].value("val_loss")));
  EXPECT_TRUE(std::isnan(rows[0].value("absent")));
}

TEST(MetricsLog, ResumedRunLeavesTheFilesOfOneThatNeverStopped) {
  const TemporaryDirectory whole, resumed;
  {
    MetricsLog log(whole.path(), kColumns);
    for (int64_t step = 1; step <= 6; ++step) log.append(row(step));
    MetricsLog first(resumed.path(), kColumns);
    for (int64_t step = 1; step <= 5; ++step) first.append(row(step));
  }
  AppendFile(resumed / "metrics.jsonl").append("{\"step\":6,\"lo");  // killed while writing
  AppendFile(resumed / "metrics.csv").append("6,");
  MetricsLog log(resumed.path(), kColumns, 3);
  for (int64_t step = 4; step <= 6; ++step) log.append(row(step));
  EXPECT_EQ(jsonl(resumed), jsonl(whole));
  EXPECT_EQ(csv(resumed), csv(whole));
}

TEST(MetricsLog, ResumingMayChangeTheColumnsAndBeginFromNothing) {
  const TemporaryDirectory dir;
  { MetricsLog(dir.path(), kColumns).append(row(1)); }
  { MetricsLog(dir.path(), {"lr", "mfu"}, 1).append({2, {{"mfu", 0.5}}}); }
  EXPECT_EQ(csv(dir), "step,lr,mfu\n1,0.001,\n2,,0.5\n");
  MetricsLog log(dir.path(), kColumns, 0);
  EXPECT_EQ(jsonl(dir), "");
  EXPECT_EQ(csv(dir), "step,loss,val_loss,lr\n");
}

TEST(MetricsLog, NewRunRefusesTheMetricsOfAnother) {
  const TemporaryDirectory dir;
  { MetricsLog(dir.path(), kColumns).append(row(1)); }
  expect_error(ErrorKind::Io, "metrics.jsonl: holds the metrics of an earlier run: resume it",
               [&] { MetricsLog log(dir.path(), kColumns); });
  EXPECT_EQ(read_metrics(dir / "metrics.jsonl").size(), 1u);
}

TEST(MetricsLog, RefusesStepsThatDoNotGrowAndUnknownColumns) {
  const TemporaryDirectory dir;
  MetricsLog log(dir.path(), kColumns);
  log.append(row(5));
  expect_error(ErrorKind::Argument, "got step 5 after step 5", [&] { log.append(row(5)); });
  expect_error(ErrorKind::Argument, "'mfu' is not among the columns", [&] {
    log.append({6, {{"mfu", 1}}});
  });
  const TemporaryDirectory other;
  for (const char* column : {"", "a,b", "a b", "a\n"}) {
    expect_error(ErrorKind::Argument, "is not made of letters",
                 [&] { MetricsLog bad(other.path(), {column}); });
  }
  for (const char* column : {"loss", "step"}) {
    expect_error(ErrorKind::Argument, "is there twice", [&] {
      MetricsLog bad(other.path(), {"loss", column});
    });
  }
  EXPECT_TRUE(other.names().empty());
}

TEST(MetricsLog, NamesTheLineThatIsNoRow) {
  const struct {
    const char* text;
    const char* message;
  } cases[] = {
      {"{\"step\":1}\nnonsense\n", "metrics.jsonl:2: invalid JSON"},
      {"[]\n", "metrics.jsonl:1: is not a row with a step"},
      {"{\"loss\":1}\n", "metrics.jsonl:1: is not a row with a step"},
      {"{\"step\":1.5}\n", "metrics.jsonl:1: step is not an integer"},
      {"{\"step\":1,\"loss\":\"x\"}\n", "metrics.jsonl:1: 'loss' is not a number"},
      {"{\"step\":1,\"loss\":[[]]}\n", "metrics.jsonl:1: JSON is nested deeper than 2 levels"},
  };
  const TemporaryDirectory dir;
  for (const auto& c : cases) {
    write_file_atomically(dir / "metrics.jsonl", c.text);
    expect_error(ErrorKind::Format, c.message, [&] { read_metrics(dir / "metrics.jsonl"); });
  }
}

// Whatever fails while a row is written, what is on disk resumes to whole rows.
TEST(MetricsLog, ResumesAfterAnyFailedCall) {
  for (const auto effect :
       {FileFaults::Effect::Fail, FileFaults::Effect::DiskFull, FileFaults::Effect::Crash}) {
    for (int64_t call = 0; call < 4; ++call) {
      const TemporaryDirectory dir;
      {
        MetricsLog log(dir.path(), kColumns);
        log.append(row(1));
        FileFaults faults(effect, call);
        try {
          log.append(row(2));
          log.append(row(3));
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), ErrorKind::Io);
        }
      }
      MetricsLog log(dir.path(), kColumns, 1);
      log.append(row(2));
      EXPECT_EQ(read_metrics(dir / "metrics.jsonl").size(), 2u);
      EXPECT_EQ(csv(dir), "step,loss,val_loss,lr\n1,4,,0.001\n2,2,,0.001\n");
    }
  }
}

}  // namespace
}  // namespace plinth
