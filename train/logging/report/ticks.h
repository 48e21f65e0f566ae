#pragma once

// Where the axis of a plot begins and ends, and where it is marked.

#include <string>
#include <vector>

namespace plinth {

struct Axis {
  double low = 0;
  double high = 1;
  std::vector<double> ticks;
  std::vector<std::string> labels;  // of the ticks
};

enum class AxisEnds {
  AtData,  // begins and ends at the data, with the ticks between
  AtTicks  // is widened to begin and end at a tick
};

// About `count` round numbers over [low, high], 1, 2, 2.5 or 5 times a power of ten apart, but no
// less than least_step.
Axis linear_axis(double low, double high, int count, AxisEnds ends, double least_step = 0);

// Powers of ten over [low, high], with 2 and 5 between them where these are few, or round numbers
// where those are few too. low > 0.
Axis log_axis(double low, double high);

// "0", "0.25", "340", "12.5k", "6×10⁻⁴": at most four digits.
std::string short_number(double value);

}  // namespace plinth
