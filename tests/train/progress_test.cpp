#include "train/logging/progress.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "train/logging/format.h"

namespace plinth {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Format, CountsBytesDurationsAndValues) {
  const struct {
    double value;
    const char* text;
  } counts[] = {{0, "0"},          {7, "7"},         {0.25, "0.25"},   {999, "999"},
                {999.6, "1.00k"},  {1000, "1.00k"},  {18432, "18.4k"}, {999'600, "1.00M"},
                {3.05e9, "3.05G"}, {1e20, "100000P"}};
  for (const auto& c : counts) EXPECT_EQ(format_count(c.value), c.text);

  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes((1 << 20) - 1), "1.00 MiB");
  EXPECT_EQ(format_bytes(1000), "1000 B");
  EXPECT_EQ(format_bytes(3 << 20), "3.00 MiB");
  EXPECT_EQ(format_bytes(uint64_t{141} << 30), "141 GiB");

  const struct {
    double seconds;
    const char* text;
  } durations[] = {{0, "0.0 s"},
                   {9.94, "9.9 s"},
                   {9.96, "10 s"},
                   {59.4, "59 s"},
                   {59.6, "1 min 00 s"},
                   {3599.6, "1 h 00 min"},
                   {7800, "2 h 10 min"},
                   {86400 * 3.2, "3 d 04 h"},
                   {-1, "?"},
                   {NAN, "?"},
                   {1e300, "?"}};
  for (const auto& c : durations) EXPECT_EQ(format_duration(c.seconds), c.text);

  EXPECT_EQ(format_value(3.21404), "3.2140");
  EXPECT_EQ(format_value(6e-4), "6.0e-04");
  EXPECT_EQ(format_value(-12345.0), "-1.2e+04");
  EXPECT_EQ(format_value(0), "0");
}

ProgressStatus status_at(int64_t step) {
  ProgressStatus status;
  status.step = step;
  status.total = 1000;
  status.loss = 3.214;
  status.rate = 18432;
  status.memory_bytes = uint64_t{3} << 29;
  return status;
}

TEST(Progress, TellsOfCommunicationThatRanksWaitedFor) {
  ProgressStatus status = status_at(420);
  EXPECT_THAT(plain_progress(status), Not(HasSubstr("exposed")));
  status.exposed_communication = 0.00462;
  EXPECT_THAT(plain_progress(status), HasSubstr("  4.6200 ms exposed"));
}

TEST(Progress, PlainLineShowsWhatIsKnown) {
  ProgressStatus status = status_at(420);
  EXPECT_EQ(plain_progress(status), "step 420/1000  loss 3.2140  18.4k tok/s  1.50 GiB");
  status.total = 0;
  status.validation_loss = 3.5;
  status.learning_rate = 6e-4;
  status.seconds_left = 192;
  EXPECT_EQ(
      plain_progress(status),
      "step 420  loss 3.2140  3 min 12 s left  18.4k tok/s  val 3.5000  1.50 GiB  lr 6.0e-04");
}

// Columns of a line: its UTF-8 characters without the escape sequences.
int columns(const std::string& line) {
  int count = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      i = line.find('m', i);
    } else if ((line[i] & 0xc0) != 0x80) {
      ++count;
    }
  }
  return count;
}

TEST(Progress, BarFitsEveryWidth) {
  ProgressStatus status = status_at(420);
  status.seconds_left = 192;
  for (int width = 0; width <= 200; ++width) {
    for (const bool unicode : {false, true}) {
      for (const bool colour : {false, true}) {
        const std::string line = progress_bar(status, width, {unicode, colour});
        EXPECT_LE(columns(line), width) << line;
        EXPECT_THAT(line, Not(HasSubstr("\n")));
      }
    }
  }
  EXPECT_EQ(progress_bar(status, 100, {false, false}),
            " 42%  #############.................."
            "  420/1000  loss 3.2140  3 min 12 s left  18.4k tok/s  1.50 GiB");
}

TEST(Progress, BarDropsWhatMattersLeastOnANarrowTerminal) {
  const ProgressStatus status = status_at(420);
  EXPECT_EQ(progress_bar(status, 12, {false, false}), " 42%  420/10");
  EXPECT_EQ(progress_bar(status, 30, {false, false}), " 42%  420/1000  loss 3.2140");
  EXPECT_EQ(progress_bar(status_at(0), 24, {false, false}), "  0%  ..........  0/1000");
  EXPECT_EQ(progress_bar(status_at(1000), 25, {true, false}), "100%  ━━━━━━━━  1000/1000");
}

// Runs a scene against a pipe and returns what was written.
template <class Scene>
std::string written(bool terminal, Scene&& scene) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  double now = 0;
  {
    Progress::Options options;
    options.fd = ends[1];
    options.terminal = terminal;
    options.width = 26;
    options.style = ProgressStyle{false, false};
    options.now = [&now] { return now; };
    Progress progress(options);
    scene(progress, now);
  }
  ::close(ends[1]);
  std::string text(1 << 16, '\0');
  const ssize_t size = ::read(ends[0], text.data(), text.size());
  ::close(ends[0]);
  text.resize(std::max<ssize_t>(size, 0));
  return text;
}

ProgressStatus bare(int64_t step) {
  ProgressStatus status;
  status.step = step;
  status.total = 10;
  return status;
}

TEST(Progress, PlainLinesComeAtTheirIntervalAndAtTheEnd) {
  const std::string text = written(false, [](Progress& progress, double& now) {
    for (int64_t step = 1; step <= 10; ++step) {
      progress.update(bare(step));
      now += 4;
    }
    progress.message("saved");
    progress.finish();
  });
  EXPECT_EQ(text,
            "step 1/10\n"
            "step 4/10  24 s left\n"
            "step 7/10  12 s left\n"
            "step 10/10  0.0 s left\n"
            "saved\n");
}

TEST(Progress, BarIsOverwrittenInPlaceAndLeavesALineAtTheEnd) {
  const std::string text = written(true, [](Progress& progress, double& now) {
    progress.update(bare(1));
    now += 0.05;
    progress.update(bare(2));  // too soon
    now += 0.06;
    progress.update(bare(3));
    progress.message("saved");
    progress.update(bare(10));
    progress.finish();
    progress.finish();
  });
  EXPECT_EQ(text,
            "\r 10%  #.............  1/10\x1b[K"
            "\r 30%  3/10  0.4 s left\x1b[K"
            "\r\x1b[Ksaved\n 30%  3/10  0.4 s left"
            "\r100%  10/10  0.0 s left\x1b[K"
            "\n");
}

TEST(Progress, UnfinishedBarIsTakenOffTheScreen) {
  const std::string text =
      written(true, [](Progress& progress, double&) { progress.update(bare(1)); });
  EXPECT_THAT(text, testing::EndsWith("1/10\x1b[K\r\x1b[K"));
}

TEST(Progress, WritesNothingWithoutAnUpdate) {
  for (const bool terminal : {false, true}) {
    EXPECT_EQ(written(terminal, [](Progress& progress, double&) { progress.finish(); }), "");
  }
}

}  // namespace
}  // namespace plinth
