#include "train/logging/report/line_plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

#include "core/error.h"
#include "train/logging/report/html_text.h"
#include "train/logging/report/ticks.h"

namespace plinth {
namespace {

using detail::concat;

// Room around the plot for its labels, in the picture's units.
constexpr double kLeft = 58, kRight = 18, kTop = 12, kBottom = 44;
// A logarithmic axis reaches that factor beyond the data.
constexpr double kLogPad = 1.1;
constexpr size_t kMostMarkers = 120;
// Beyond this, differences of two values may not be finite.
constexpr double kLargest = 1e200;

std::string coordinate(double value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.1f", value);
  return text.data();
}

bool is_drawn(const Point& point, const LinePlot& plot) {
  return std::abs(point.x) <= kLargest && std::abs(point.y) <= kLargest &&
         (!plot.log_x || point.x > 0) && (!plot.log_y || point.y > 0);
}

struct Bounds {
  Point low{std::numeric_limits<double>::max(), std::numeric_limits<double>::max()};
  Point high{std::numeric_limits<double>::lowest(), std::numeric_limits<double>::lowest()};
  bool any = false;
};

Bounds bounds_of(const LinePlot& plot) {
  Bounds bounds;
  for (const Curve& curve : plot.curves) {
    for (const Point& point : curve.points) {
      if (!is_drawn(point, plot)) continue;
      bounds.any = true;
      bounds.low = {std::min(bounds.low.x, point.x), std::min(bounds.low.y, point.y)};
      bounds.high = {std::max(bounds.high.x, point.x), std::max(bounds.high.y, point.y)};
    }
  }
  if (plot.from_zero && !plot.log_y) {
    bounds.low.y = std::min(bounds.low.y, 0.0);
    bounds.high.y = std::max(bounds.high.y, 0.0);
  }
  return bounds;
}

// Maps values to places in the picture.
class Frame {
 public:
  Frame(const LinePlot& plot, const Bounds& bounds)
      : plot_(plot),
        x_(plot.log_x
               ? log_axis(bounds.low.x, bounds.high.x)
               : linear_axis(bounds.low.x, bounds.high.x, x_ticks(plot), AxisEnds::AtData, 1)),
        y_(plot.log_y ? log_axis(bounds.low.y / kLogPad, bounds.high.y * kLogPad)
                      : linear_axis(bounds.low.y, bounds.high.y, plot.height > 300 ? 6 : 4,
                                    AxisEnds::AtTicks)) {}

  double x(double value) const {
    return kLeft + share(x_, value, plot_.log_x) * (plot_.width - kLeft - kRight);
  }
  double y(double value) const {
    return kTop + (1 - share(y_, value, plot_.log_y)) * (plot_.height - kTop - kBottom);
  }

  std::string axes() const {
    const double bottom = plot_.height - kBottom, right = plot_.width - kRight;
    std::string out;
    for (size_t i = 0; i < y_.ticks.size(); ++i) {
      const std::string at = coordinate(y(y_.ticks[i]));
      out += concat("<line class=\"grid\" x1=\"", kLeft, "\" x2=\"", right, "\" y1=\"", at,
                    "\" y2=\"", at, "\"/><text class=\"tick end\" x=\"", kLeft - 10, "\" y=\"", at,
                    "\" dy=\"0.35em\">", y_.labels[i], "</text>\n");
    }
    for (size_t i = 0; i < x_.ticks.size(); ++i) {
      const std::string at = coordinate(x(x_.ticks[i]));
      out += concat("<line class=\"mark\" x1=\"", at, "\" x2=\"", at, "\" y1=\"", bottom,
                    "\" y2=\"", bottom + 5, "\"/><text class=\"tick middle\" x=\"", at, "\" y=\"",
                    bottom + 19, "\">", x_.labels[i], "</text>\n");
    }
    out += concat("<line class=\"mark\" x1=\"", kLeft, "\" x2=\"", right, "\" y1=\"", bottom,
                  "\" y2=\"", bottom, "\"/><text class=\"label middle\" x=\"", (kLeft + right) / 2,
                  "\" y=\"", plot_.height - 6, "\">", html_text(plot_.x_label), "</text>\n");
    return out;
  }

 private:
  static int x_ticks(const LinePlot& plot) {
    return plot.width > 600 ? 8 : plot.width > 400 ? 4 : 3;
  }

  static double share(const Axis& axis, double value, bool log) {
    if (!log) return (value - axis.low) / (axis.high - axis.low);
    return std::log(value / axis.low) / std::log(axis.high / axis.low);
  }

  const LinePlot& plot_;
  Axis x_;
  Axis y_;
};

std::string draw(const Curve& curve, const LinePlot& plot, const Frame& frame) {
  std::string path, dots;
  std::vector<Point> places;  // in the picture, so that thinning keeps what the eye sees
  for (const Point& point : curve.points) {
    const bool drawn = is_drawn(point, plot);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    if (plot.log_x && point.x <= 0) continue;
    places.push_back({frame.x(point.x), drawn ? frame.y(point.y) : nan});
  }
  size_t shown = 0;
  bool pen_down = false;
  for (const Point& place : thinned(places, static_cast<int>(plot.width))) {
    if (!std::isfinite(place.y)) {
      pen_down = false;
      continue;
    }
    path += concat(pen_down ? "L" : "M", coordinate(place.x), " ", coordinate(place.y));
    pen_down = true;
    ++shown;
  }
  if (shown == 0) return "";
  if ((curve.markers && curve.points.size() <= kMostMarkers) || shown == 1) {
    for (const Point& point : curve.points) {
      if (!is_drawn(point, plot)) continue;
      dots += concat("<circle cx=\"", coordinate(frame.x(point.x)), "\" cy=\"",
                     coordinate(frame.y(point.y)), "\" r=\"3\"><title>", html_text(curve.name), " ",
                     short_number(point.y), " at ", html_text(plot.x_label), " ",
                     short_number(point.x), "</title></circle>");
    }
  }
  return concat("<g class=\"curve ", curve.css_class, "\"><path d=\"", path, "\"/>", dots,
                "</g>\n");
}

}  // namespace

std::string svg(const LinePlot& plot) {
  std::string out = concat("<svg viewBox=\"0 0 ", plot.width, " ", plot.height,
                           "\" role=\"img\" aria-label=\"", html_text(plot.title), "\">\n");
  const Bounds bounds = bounds_of(plot);
  if (bounds.any) {
    const Frame frame(plot, bounds);
    out += frame.axes();
    for (const Curve& curve : plot.curves) out += draw(curve, plot, frame);
  } else {
    out += concat("<text class=\"label middle\" x=\"", plot.width / 2, "\" y=\"", plot.height / 2,
                  "\">nothing measured yet</text>\n");
  }
  return out + "</svg>\n";
}

std::vector<Point> smoothed(const std::vector<Point>& points, double span) {
  std::vector<Point> result;
  double mean = 0;
  for (const Point& point : points) {
    if (!std::isfinite(point.y)) continue;
    const auto twentieth = 1 + static_cast<double>(result.size()) / 20;
    mean += (point.y - mean) / std::clamp(twentieth, 1.0, std::max(span, 1.0));
    result.push_back({point.x, mean});
  }
  return result;
}

std::vector<Point> thinned(const std::vector<Point>& points, int columns) {
  if (columns <= 0 || points.size() <= static_cast<size_t>(columns) * 4) return points;
  const double low = points.front().x, width = (points.back().x - low) / columns;
  if (!(width > 0)) return points;
  const auto column_of = [&](const Point& point) { return std::floor((point.x - low) / width); };
  std::vector<Point> result;
  for (size_t begin = 0; begin < points.size();) {
    size_t end = begin + 1, lowest = begin, highest = begin;
    const double column = column_of(points[begin]);
    for (; end < points.size() && column_of(points[end]) == column; ++end) {
      const double y = points[end].y;
      if (std::isnan(y)) continue;
      if (!(points[lowest].y <= y)) lowest = end;  // so that any number replaces NaN
      if (!(points[highest].y >= y)) highest = end;
    }
    std::array<size_t, 4> kept = {begin, lowest, highest, end - 1};
    std::ranges::sort(kept);
    for (size_t i = 0; i < kept.size(); ++i) {
      if (i == 0 || kept[i] != kept[i - 1]) result.push_back(points[kept[i]]);
    }
    begin = end;
  }
  return result;
}

}  // namespace plinth
