#pragma once

#include <algorithm>
#include <vector>

namespace plinth::apps {

// The value below which a share of what the values are drawn from lies (as Python's statistics).
inline double quantile(std::vector<double> values, double share) {
  std::ranges::sort(values);
  const double last = static_cast<double>(values.size()) - 1;
  const double at = std::clamp(share * (last + 2) - 1, 0.0, last);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

inline double median(const std::vector<double>& values) {
  return quantile(values, 0.5);
}

// Half the distance between the quartiles, as a fraction of the median.
inline double spread(const std::vector<double>& values) {
  return (quantile(values, 0.75) - quantile(values, 0.25)) / 2 / median(values);
}

}  // namespace plinth::apps
