#include "metrics/detection.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <vector>

#include "core/error.h"

namespace plinth::metrics {
namespace {

constexpr size_t kOverlaps = 10;  // 0.50 to 0.95
constexpr size_t kRecalls = 101;  // 0.00 to 1.00
constexpr size_t kDetections = 100;

double overlap_at(size_t i) {
  return i + 1 == kOverlaps ? 0.95 : 0.5 + (0.95 - 0.5) / (kOverlaps - 1) * static_cast<double>(i);
}

struct AreaRange {
  double low, high;
  bool holds(double area) const { return area >= low && area <= high; }
};
constexpr double kLarge = 1e10;
constexpr std::array<AreaRange, 4> kAreas = {
    {{0, kLarge}, {0, 32. * 32}, {32. * 32, 96. * 96}, {96. * 96, kLarge}}};
constexpr std::array<size_t, 3> kMosts = {1, 10, kDetections};

struct Place {
  std::vector<Detection> detections;  // the highest score first
  std::vector<Object> objects;
};
using Images = std::map<int64_t, Place>;

double area_of(const Box& box) {
  return box.width * box.height;
}

// Of a crowd, how much of the detection lies in it.
double overlap(const Detection& detection, const Object& object) {
  const Box &a = detection.box, &b = object.box;
  const double width = std::min(a.x + a.width, b.x + b.width) - std::max(a.x, b.x);
  const double height = std::min(a.y + a.height, b.y + b.height) - std::max(a.y, b.y);
  if (width <= 0 || height <= 0) return 0;
  const double both = width * height;
  return both / (object.crowd ? area_of(a) : area_of(a) + area_of(b) - both);
}

// What became of a detection at one overlap.
struct Match {
  double score;
  bool right, ignored;
};

// Each detection takes the object that it overlaps most, if none of a higher score did; objects
// that do not count only if no other is left. Those come last in `order`.
std::vector<Match> match(const Place& place, const std::vector<size_t>& order,
                         const std::vector<bool>& ignored, const AreaRange& range, double least) {
  std::vector<Match> matches;
  std::vector<bool> taken(place.objects.size(), false);
  for (const Detection& detection : place.detections) {
    double best = std::min(least, 1 - 1e-10);
    std::optional<size_t> found;
    for (const size_t o : order) {
      if (taken[o] && !place.objects[o].crowd) continue;
      if (found && !ignored[*found] && ignored[o]) break;
      const double here = overlap(detection, place.objects[o]);
      if (here < best) continue;
      best = here;
      found = o;
    }
    if (found) taken[*found] = true;
    const bool counts = found ? !ignored[*found] : range.holds(area_of(detection.box));
    matches.push_back({detection.score, found.has_value(), !counts});
  }
  return matches;
}

// Of a category, in one range of areas.
struct Curve {
  int64_t objects = 0;                                             // that count
  std::array<std::vector<std::vector<Match>>, kOverlaps> matches;  // of each image
};

Curve make_curve(const Images& images, const AreaRange& range) {
  Curve curve;
  for (const auto& [id, place] : images) {
    std::vector<bool> ignored;
    std::vector<size_t> order;
    for (const Object& object : place.objects)
      ignored.push_back(object.crowd || !range.holds(object.area));
    for (size_t o = 0; o < ignored.size(); ++o) order.push_back(o);
    std::ranges::stable_sort(order, {}, [&](size_t o) { return ignored[o]; });
    curve.objects += std::ranges::count(ignored, false);
    for (size_t t = 0; t < kOverlaps; ++t)
      curve.matches[t].push_back(match(place, order, ignored, range, overlap_at(t)));
  }
  return curve;
}

struct Point {
  double precision, recall;
};

// Average precision, interpolated at 101 recalls, and the last recall.
Point evaluate(const std::vector<std::vector<Match>>& images, int64_t objects, size_t most) {
  std::vector<Match> all;
  for (const std::vector<Match>& image : images)
    all.insert(all.end(), image.begin(),
               image.begin() + static_cast<std::ptrdiff_t>(std::min(most, image.size())));
  std::ranges::stable_sort(all, std::ranges::greater(), &Match::score);
  std::vector<Point> points;
  double right = 0, wrong = 0;
  for (const Match& one : all) {
    if (!one.ignored) ++(one.right ? right : wrong);
    const double precision = right / (right + wrong + std::numeric_limits<double>::epsilon());
    points.push_back({precision, right / static_cast<double>(objects)});
  }
  for (size_t i = points.size(); i-- > 1;)
    points[i - 1].precision = std::max(points[i - 1].precision, points[i].precision);
  double sum = 0;
  for (size_t r = 0; r < kRecalls; ++r) {
    const double recall = r + 1 == kRecalls ? 1 : 0.01 * static_cast<double>(r);
    const auto at = std::ranges::lower_bound(points, recall, {}, &Point::recall);
    if (at != points.end()) sum += at->precision;
  }
  return {sum / kRecalls, points.empty() ? 0 : points.back().recall};
}

class Mean {
 public:
  void add(double value) {
    sum_ += value;
    ++count_;
  }
  double value() const { return count_ > 0 ? sum_ / count_ : -1; }

 private:
  double sum_ = 0, count_ = 0;
};

void check_box(const Box& box) {
  for (const double value : {box.x, box.y, box.width, box.height})
    check(std::isfinite(value), ErrorKind::Argument, "score_detections", "box got ", value,
          ", takes finite numbers");
  check(box.width >= 0 && box.height >= 0, ErrorKind::Argument, "score_detections", "box got ",
        box.width, " by ", box.height, ", takes no negative size");
}

// By category and image, with the detections that count.
std::map<int64_t, Images> arrange(std::span<const Detection> detections,
                                  std::span<const Object> objects) {
  std::map<int64_t, Images> categories;
  for (const Object& object : objects) {
    check_box(object.box);
    categories[object.category][object.image].objects.push_back(object);
  }
  for (const Detection& detection : detections) {
    check_box(detection.box);
    check(!std::isnan(detection.score), ErrorKind::Argument, "score_detections",
          "score got NaN, takes numbers");
    categories[detection.category][detection.image].detections.push_back(detection);
  }
  for (auto& [category, images] : categories) {
    for (auto& [image, place] : images) {
      std::ranges::stable_sort(place.detections, std::ranges::greater(), &Detection::score);
      if (place.detections.size() > kDetections) place.detections.resize(kDetections);
    }
  }
  return categories;
}

}  // namespace

DetectionScores score_detections(std::span<const Detection> detections,
                                 std::span<const Object> objects) {
  std::array<std::array<Mean, kMosts.size()>, kAreas.size()> recall;
  std::array<Mean, kAreas.size()> precision;
  Mean precision_50, precision_75;
  for (const auto& [category, images] : arrange(detections, objects)) {
    for (size_t a = 0; a < kAreas.size(); ++a) {
      const Curve curve = make_curve(images, kAreas[a]);
      if (curve.objects == 0) continue;
      for (size_t t = 0; t < kOverlaps; ++t) {
        for (size_t m = 0; m < kMosts.size(); ++m) {
          const Point point = evaluate(curve.matches[t], curve.objects, kMosts[m]);
          recall[a][m].add(point.recall);
          if (kMosts[m] != kDetections) continue;
          precision[a].add(point.precision);
          if (a == 0 && t == 0) precision_50.add(point.precision);
          if (a == 0 && t == 5) precision_75.add(point.precision);
        }
      }
    }
  }
  return {precision[0].value(), precision_50.value(), precision_75.value(), precision[1].value(),
          precision[2].value(), precision[3].value(), recall[0][0].value(), recall[0][1].value(),
          recall[0][2].value(), recall[1][2].value(), recall[2][2].value(), recall[3][2].value()};
}

}  // namespace plinth::metrics
