#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/io/file.h"
#include "tests/core/io/temporary_directory.h"
#include "train/logging/report/html_report.h"
#include "train/logging/report/html_text.h"
#include "train/logging/report/line_plot.h"
#include "train/logging/report/ticks.h"

namespace plinth {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

TEST(Ticks, LinearAxesHaveRoundNumbers) {
  const struct {
    double low, high;
    AxisEnds ends;
    std::vector<std::string> labels;
  } cases[] = {
      {2.7, 10.8, AxisEnds::AtTicks, {"2", "4", "6", "8", "10", "12"}},
      {3.1, 3.9, AxisEnds::AtTicks, {"3.0", "3.2", "3.4", "3.6", "3.8", "4.0"}},
      {1, 20000, AxisEnds::AtData, {"0", "5k", "10k", "15k", "20k"}},
      {0, 12000, AxisEnds::AtData, {"0", "2.5k", "5k", "7.5k", "10k"}},
      {0, 9000, AxisEnds::AtData, {"0", "2000", "4000", "6000", "8000"}},
      {0, 6e-4, AxisEnds::AtTicks, {"0", "2×10⁻⁴", "4×10⁻⁴", "6×10⁻⁴"}},
      {-0.5, 0.5, AxisEnds::AtTicks, {"-0.6", "-0.4", "-0.2", "0", "0.2", "0.4", "0.6"}},
      {0, 3.2e9, AxisEnds::AtTicks, {"0", "1G", "2G", "3G", "4G"}},
      {7, 7, AxisEnds::AtTicks, {"6.6", "6.8", "7.0", "7.2", "7.4"}},
      {0, 0, AxisEnds::AtTicks, {"-1.0", "-0.5", "0", "0.5", "1.0"}},
  };
  for (const auto& c : cases) {
    const Axis axis = linear_axis(c.low, c.high, 5, c.ends);
    EXPECT_EQ(axis.labels, c.labels) << c.low << " to " << c.high;
    EXPECT_LE(axis.low, c.low);
    EXPECT_GE(axis.high, c.high);
  }
}

TEST(Ticks, StepsOfARunAreWhole) {
  EXPECT_THAT(linear_axis(1, 1, 8, AxisEnds::AtData, 1).labels, ElementsAre("0", "1", "2"));
  EXPECT_THAT(linear_axis(1, 3, 8, AxisEnds::AtData, 1).labels, ElementsAre("1", "2", "3"));
}

TEST(Ticks, LogarithmicAxesHavePowersOrWhatIsBetween) {
  EXPECT_THAT(log_axis(1, 20000).labels, ElementsAre("1", "10", "100", "1000", "10k"));
  EXPECT_THAT(log_axis(0.3, 6).labels, ElementsAre("0.5", "1", "2", "5"));
  EXPECT_THAT(log_axis(1e-7, 1e-4).labels, ElementsAre("10⁻⁷", "10⁻⁶", "10⁻⁵", "10⁻⁴"));
  EXPECT_THAT(log_axis(2.9, 4.1).labels, ElementsAre("3", "3.5", "4"));
  EXPECT_FALSE(log_axis(5, 5).labels.empty());
}

TEST(Ticks, AxesOfExtremeValuesEnd) {
  for (const double low : {-1e200, 0.0, 1e-310, 1.0, 1e17, 1e200}) {
    for (const double high : {low, std::nextafter(low, kInf), low + 1, 1e200}) {
      if (high < low) continue;
      for (const AxisEnds ends : {AxisEnds::AtData, AxisEnds::AtTicks}) {
        EXPECT_LE(linear_axis(low, high, 6, ends).ticks.size(), 20u) << low << " " << high;
      }
      if (low > 0) {
        EXPECT_LE(log_axis(low, high).ticks.size(), 700u);
      }
    }
  }
}

TEST(ShortNumber, HasFourDigitsAndAUnit) {
  const struct {
    double value;
    const char* text;
  } cases[] = {{0, "0"},
               {3.14159, "3.142"},
               {-250, "-250"},
               {9999, "9999"},
               {12500, "12.5k"},
               {999'960, "1M"},
               {1.5e13, "15T"},
               {6e-4, "6×10⁻⁴"},
               {1e-5, "10⁻⁵"},
               {0.001, "0.001"},
               {-2.5e-12, "-2.5×10⁻¹²"},
               {1e20, "10²⁰"},
               {9.9999e-6, "10⁻⁵"},
               {kNan, "nan"}};
  for (const auto& c : cases) EXPECT_EQ(short_number(c.value), c.text);
}

std::vector<Point> line(int count) {
  std::vector<Point> points;
  points.reserve(count);
  for (int i = 0; i < count; ++i) points.push_back({static_cast<double>(i), std::sin(i * 0.7)});
  return points;
}

TEST(Curves, ThinningKeepsEndsAndExtremes) {
  std::vector<Point> points = line(100'000);
  points[54'321].y = 50;
  points[54'322].y = -50;
  points[77'777].y = kNan;
  const std::vector<Point> thin = thinned(points, 200);
  EXPECT_LE(thin.size(), 804u);
  EXPECT_EQ(thin.front().x, 0);
  EXPECT_EQ(thin.back().x, 99'999);
  double low = 0, high = 0;
  for (size_t i = 0; i < thin.size(); ++i) {
    low = std::min(low, thin[i].y);
    high = std::max(high, thin[i].y);
    if (i > 0) {
      EXPECT_GT(thin[i].x, thin[i - 1].x);
    }
  }
  EXPECT_EQ(low, -50);
  EXPECT_EQ(high, 50);
}

TEST(Curves, ThinningLeavesFewPointsAndOneColumnAlone) {
  EXPECT_EQ(thinned(line(100), 200).size(), 100u);
  EXPECT_EQ(thinned(std::vector<Point>(5000, Point{3, 1}), 10).size(), 5000u);
  EXPECT_TRUE(thinned({}, 10).empty());
}

TEST(Curves, SmoothingFollowsAConstantAndSkipsWhatIsNotFinite) {
  std::vector<Point> points;
  points.reserve(500);
  for (int i = 0; i < 500; ++i) points.push_back({static_cast<double>(i), i % 7 == 3 ? kNan : 2.0});
  points[100].y = kInf;
  for (const Point& point : smoothed(points, 50)) EXPECT_DOUBLE_EQ(point.y, 2.0);
  EXPECT_DOUBLE_EQ(smoothed({{0, 1}, {1, 3}}, 1)[1].y, 3.0) << "a span of 1 is no mean";
}

LinePlot plot_of(std::vector<Point> points) {
  LinePlot plot;
  plot.x_label = "step";
  plot.curves.push_back({"loss", "blue", std::move(points), true});
  return plot;
}

TEST(LinePlot, BreaksTheLineWhereTheValueIsNotFinite) {
  const std::string picture =
      svg(plot_of({{1, 2}, {2, 3}, {3, kNan}, {4, 2}, {5, kInf}, {6, 2.5}}));
  const std::string path = picture.substr(picture.find("d=\""));
  EXPECT_EQ(std::count(path.begin(), path.end(), 'M'), 3);
  EXPECT_THAT(picture, Not(HasSubstr("nan")));
  EXPECT_THAT(picture, Not(HasSubstr("inf")));
  EXPECT_THAT(picture, HasSubstr("<title>loss 2 at step 4</title>"));
}

TEST(LinePlot, SaysThatThereIsNothingYet) {
  EXPECT_THAT(svg(plot_of({})), HasSubstr("nothing measured yet"));
  EXPECT_THAT(svg(plot_of({{1, kNan}})), HasSubstr("nothing measured yet"));
  LinePlot logarithmic = plot_of({{0, 1}, {1, 0}, {2, -1}});
  logarithmic.log_x = logarithmic.log_y = true;
  EXPECT_THAT(svg(logarithmic), HasSubstr("nothing measured yet"));
}

TEST(LinePlot, ShowsASinglePointAsADot) {
  LinePlot plot = plot_of({{1, 10.8}});
  plot.curves[0].markers = false;
  EXPECT_THAT(svg(plot), HasSubstr("<circle"));
}

TEST(HtmlText, EscapesMarkupAndReplacesWhatIsNoText) {
  EXPECT_EQ(html_text("a<b>&\"'\n\t"), "a&lt;b&gt;&amp;&quot;&#39;\n\t");
  EXPECT_EQ(html_text("x\x1b\xffy\xe2\x82"), "x\xef\xbf\xbd\xef\xbf\xbdy\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(html_text("é"), "é");
}

RunHistory full_history() {
  RunHistory history;
  history.title = "run <1>";
  history.subtitle = "tiny";
  history.summary = {{"Time", "3 s"}};
  history.config = {{"seed", "1"}, {"optimizer.lr", "6e-04"}, {"model.name", "\"<b>\""}};
  history.loss = line(500);
  history.validation_loss = {{100, 3}, {200, 2}, {300, 2.5}};
  history.learning_rate = line(500);
  history.gradient_norm = line(500);
  history.throughput = line(500);
  history.samples = {{0, "Once", " <x>"}, {5, "Once", " mid"}, {10, "Once", " upon"}};
  return history;
}

// Every element that is opened is closed, in order: the page is as well formed as XML.
void expect_well_formed(const std::string& page) {
  std::vector<std::string> open;
  for (size_t at = page.find('<'); at != page.npos; at = page.find('<', at + 1)) {
    const size_t end = page.find('>', at);
    ASSERT_NE(end, page.npos);
    const std::string tag = page.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(0, tag.find_first_of(" \n"));
    if (name == "!DOCTYPE" || name == "meta" || name == "input" || tag.ends_with("/")) continue;
    if (name == "i></i") continue;
    if (!name.starts_with("/")) {
      open.push_back(name);
    } else {
      ASSERT_FALSE(open.empty()) << tag;
      ASSERT_EQ(open.back(), name.substr(1)) << page.substr(at > 80 ? at - 80 : 0, 120);
      open.pop_back();
    }
  }
  EXPECT_TRUE(open.empty());
}

TEST(HtmlReport, HoldsEveryPartWellFormedAndWithoutNetworkOrScript) {
  const std::string page = html_report(full_history());
  expect_well_formed(page);
  for (const char* part :
       {"<title>run &lt;1&gt;</title>", "<dt>Time</dt><dd>3 s</dd>", "Throughput", "Learning rate",
        "Gradient norm", "best <b>2.0000</b> at step 200", "Before, at step 0", "After, at step 10",
        "1 in between", "<span class=\"prompt\">Once</span> &lt;x&gt;",
        "<caption>general</caption>", "<caption>optimizer</caption>", "<th>lr</th><td>6e-04</td>",
        "&quot;&lt;b&gt;&quot;"}) {
    EXPECT_THAT(page, HasSubstr(part));
  }
  for (const char* forbidden : {"http:", "https:", "<script", "url(", "@import", "src="}) {
    EXPECT_THAT(page, Not(HasSubstr(forbidden)));
  }
  EXPECT_EQ(page, html_report(full_history()));
}

TEST(HtmlReport, LeavesOutWhatThereIsNot) {
  const std::string page = html_report({});
  expect_well_formed(page);
  for (const char* part : {"Throughput", "What it writes", "Configuration", "<dl"}) {
    EXPECT_THAT(page, Not(HasSubstr(part)));
  }
  EXPECT_THAT(page, HasSubstr("nothing measured yet"));
}

TEST(HtmlReport, StaysSmallForALongRun) {
  RunHistory history;
  history.loss = line(300'000);
  EXPECT_LT(html_report(history).size(), 400'000u);
}

TEST(HtmlReport, TakesItsCurvesFromTheMetrics) {
  RunHistory history;
  const std::vector<MetricsRow> rows = {
      {1, {{"loss", 4}, {"lr", 0.1}, {"tokens_per_s", 100}}},
      {2, {{"loss", 3}, {"val_loss", 3.5}, {"grad_norm", 1}, {"other", 9}}},
  };
  add_metrics(history, rows);
  EXPECT_EQ(history.loss.size(), 2u);
  EXPECT_EQ(history.loss[1].x, 2);
  EXPECT_EQ(history.validation_loss.size(), 1u);
  EXPECT_EQ(history.learning_rate.size(), 1u);
  EXPECT_EQ(history.gradient_norm.size(), 1u);
  EXPECT_EQ(history.throughput[0].y, 100);
}

TEST(HtmlReport, IsWrittenToItsFile) {
  const TemporaryDirectory dir;
  write_html_report(dir / "report.html", full_history());
  EXPECT_EQ(read_text_file(dir / "report.html"), html_report(full_history()));
}

}  // namespace
}  // namespace plinth
