#pragma once

// Curves as an SVG picture that takes its colours from the page: var(--ink), var(--grid), ... and
// the class of each curve.

#include <string>
#include <vector>

#include "train/logging/report/run_history.h"

namespace plinth {

struct Curve {
  std::string name;
  std::string css_class;
  std::vector<Point> points;  // x must not fall; a y that is not finite breaks the line
  bool markers = false;       // a dot with a tooltip at each point, where they are few
};

struct LinePlot {
  std::string title;    // for screen readers
  std::string x_label;  // of whole numbers
  std::vector<Curve> curves;
  double width = 960;
  double height = 380;
  bool log_x = false;  // leaves out points at or below 0
  bool log_y = false;  // the same
  bool from_zero = false;
};

// A picture without a point says that there is nothing to show yet.
std::string svg(const LinePlot& plot);

// A running mean with exponential weights over about the last twentieth of the points so far, at
// most `span` of them: training changes fast at first and slowly later. Points that are not finite
// are left out of it.
std::vector<Point> smoothed(const std::vector<Point>& points, double span);

// At most about 4 * columns points that draw the same line on that many columns of pixels: the
// first, lowest, highest and last of each column.
std::vector<Point> thinned(const std::vector<Point>& points, int columns);

}  // namespace plinth
