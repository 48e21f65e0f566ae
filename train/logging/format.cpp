#include "train/logging/format.h"

#include <array>
#include <cmath>
#include <cstdarg>
#include <cstdio>

namespace plinth {
namespace {

[[gnu::format(printf, 1, 2)]] std::string print(const char* format, ...) {
  std::array<char, 64> text;
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  return text.data();
}

// Divides by the base while the value would show as that much or more; says how often.
template <size_t count>
const char* scale(double& value, double base, const std::array<const char*, count>& units) {
  size_t unit = 0;
  for (; unit + 1 < count && std::abs(value) >= base * 0.9995; ++unit) value /= base;
  return units[unit];
}

// Three digits, none after the point of a whole number without a unit.
std::string three_digits(double value, bool whole) {
  if (whole && value == std::floor(value)) return print("%.0f", value);
  const double size = std::abs(value);
  return print(size < 9.995 ? "%.2f" : size < 99.95 ? "%.1f" : "%.0f", value);
}

}  // namespace

std::string format_count(double count) {
  constexpr std::array<const char*, 6> kUnits = {"", "k", "M", "G", "T", "P"};
  if (!std::isfinite(count)) return print("%f", count);
  const char* unit = scale(count, 1000, kUnits);
  return three_digits(count, unit == kUnits[0]) + unit;
}

std::string format_bytes(uint64_t bytes) {
  constexpr std::array<const char*, 6> kUnits = {" B", " KiB", " MiB", " GiB", " TiB", " PiB"};
  auto value = static_cast<double>(bytes);
  const char* unit = scale(value, 1024, kUnits);
  return three_digits(value, unit == kUnits[0]) + unit;
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds < 9.95) return print("%.1f s", seconds);
  if (seconds > 1e15) return "?";
  const auto whole = std::llround(seconds);
  if (whole < 60) return print("%lld s", whole);
  if (whole < 3600) return print("%lld min %02lld s", whole / 60, whole % 60);
  if (whole < 86400) return print("%lld h %02lld min", whole / 3600, whole / 60 % 60);
  return print("%lld d %02lld h", whole / 86400, whole / 3600 % 24);
}

std::string format_value(double value) {
  const double size = std::abs(value);
  if (value == 0) return "0";
  return size >= 0.01 && size < 10000 ? print("%.4f", value) : print("%.1e", value);
}

}  // namespace plinth
