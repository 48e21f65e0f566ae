#include "train/logging/report/ticks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string_view>

namespace plinth {
namespace {

// The width of an axis around a single value.
constexpr double kRelativePad = 0.05;

constexpr std::array<std::string_view, 5> kUnits = {"", "k", "M", "G", "T"};

std::string print(const char* format, int precision, double value) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), format, precision, value);
  return text.data();
}

std::string superscript(int number) {
  constexpr std::array<std::string_view, 10> kDigits = {"⁰", "¹", "²", "³", "⁴",
                                                        "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string out;
  for (const char c : std::to_string(number)) out += c == '-' ? "⁻" : kDigits[c - '0'];
  return out;
}

// The round number next above the exact step between two of `count` ticks.
double round_step(double exact) {
  const double power = std::pow(10.0, std::floor(std::log10(exact)));
  for (const double factor : {1.0, 2.0, 2.5, 5.0}) {
    if (exact <= factor * power * (1 + 1e-9)) return factor * power;
  }
  return 10 * power;
}

// Digits after the point that show multiples of the step exactly.
int decimals_of(double step) {
  for (int decimals = 0; decimals < 6; ++decimals) {
    const double scaled = step * std::pow(10.0, decimals);
    if (std::abs(scaled - std::round(scaled)) < 1e-6 * scaled) return decimals;
  }
  return 6;
}

// Labels of one axis: the same unit and as many digits after the point each, unless the numbers are
// so small that they ask for a power.
std::vector<std::string> linear_labels(const std::vector<double>& ticks, double step) {
  double largest = 0;
  for (const double tick : ticks) largest = std::max(largest, std::abs(tick));
  size_t unit = 0;
  double scale = 1;
  if (largest >= 9999.5) {
    for (; largest >= 999.95 * scale && unit + 1 < kUnits.size(); ++unit) scale *= 1000;
  }
  const bool fixed = step >= 1e-3 && largest < 10000 * scale;
  std::vector<std::string> labels;
  for (const double tick : ticks) {
    if (tick == 0) {
      labels.emplace_back("0");
    } else if (fixed) {
      std::string label = print("%.*f", decimals_of(step / scale), tick / scale);
      // "10k" beside "7.5k" reads better than "10.0k"; small numbers line up instead.
      if (unit > 0 && label.find('.') != label.npos) label.erase(label.find_last_not_of('0') + 1);
      if (label.ends_with('.')) label.pop_back();
      labels.push_back(label.append(kUnits[unit]));
    } else {
      labels.push_back(short_number(tick));
    }
  }
  return labels;
}

void widen_if_empty(double& low, double& high, double least_step) {
  if (high - low > 1e-300) return;
  const double relative = low == 0 ? 1 : std::abs(low) * kRelativePad;
  const double pad = least_step > 0 ? least_step : relative;
  low -= pad;
  high += pad;
}

// 1, 2 and 5 times the powers of ten from the last at or below low to the first at or above high.
std::vector<double> one_two_five(double low, double high, bool powers_only) {
  std::vector<double> values;
  const int first = static_cast<int>(std::floor(std::log10(low) + 1e-9));
  const int last = static_cast<int>(std::ceil(std::log10(high) - 1e-9));
  for (int exponent = first; exponent <= last; ++exponent) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      if (factor == 1.0 || !powers_only) values.push_back(factor * std::pow(10.0, exponent));
    }
  }
  return values;
}

}  // namespace

std::string short_number(double value) {
  const double size = std::abs(value);
  if (size == 0) return "0";
  if (!std::isfinite(value)) return print("%.*f", 0, value);
  if (size >= 1e-3 && size < 9999.5) return print("%.*g", 4, value);
  double scaled = value;
  for (size_t unit = 1; unit < kUnits.size() && size >= 1; ++unit) {
    scaled /= 1000;
    if (std::abs(scaled) < 999.95) return print("%.*g", 4, scaled).append(kUnits[unit]);
  }
  int exponent = static_cast<int>(std::floor(std::log10(size)));
  std::string mantissa = print("%.*g", 3, value / std::pow(10.0, exponent));
  if (mantissa == "10") {  // 9.999 rounds up to the next power
    mantissa = "1";
    ++exponent;
  }
  const std::string power = std::string("10") + superscript(exponent);
  return mantissa == "1" ? power : mantissa + "×" + power;
}

Axis linear_axis(double low, double high, int count, AxisEnds ends, double least_step) {
  widen_if_empty(low, high, least_step);
  const double step = std::max(round_step((high - low) / std::max(count, 1)), least_step);
  Axis axis{low, high, {}, {}};
  // Whole multiples, so that rounding errors do not add up; a thousandth of a step is no step.
  const auto first = static_cast<int64_t>(ends == AxisEnds::AtTicks ? std::floor(low / step + 1e-3)
                                                                    : std::ceil(low / step - 1e-3));
  const auto last = static_cast<int64_t>(
      ends == AxisEnds::AtTicks ? std::ceil(high / step - 1e-3) : std::floor(high / step + 1e-3));
  for (int64_t i = first; i <= last; ++i) axis.ticks.push_back(static_cast<double>(i) * step);
  if (ends == AxisEnds::AtTicks) {
    axis.low = std::min(low, axis.ticks.front());
    axis.high = std::max(high, axis.ticks.back());
  }
  axis.labels = linear_labels(axis.ticks, step);
  return axis;
}

Axis log_axis(double low, double high) {
  if (low >= high) {
    low /= 1 + kRelativePad;
    high *= 1 + kRelativePad;
  }
  const auto inside = [&](std::vector<double> values) {
    std::erase_if(values, [&](double v) { return v < low * (1 - 1e-9) || v > high * (1 + 1e-9); });
    return values;
  };
  Axis axis{low, high, inside(one_two_five(low, high, true)), {}};
  if (axis.ticks.size() < 3) axis.ticks = inside(one_two_five(low, high, false));
  if (axis.ticks.size() < 3) axis.ticks = linear_axis(low, high, 4, AxisEnds::AtData).ticks;
  for (const double tick : axis.ticks) axis.labels.push_back(short_number(tick));
  return axis;
}

}  // namespace plinth
