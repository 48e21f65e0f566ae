#pragma once

// The values that a configuration holds, and the C++ types bound to them.

#include <charconv>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace plinth {

enum class ConfigType { Bool, Integer, Float, String, IntegerList, FloatList, StringList };

// What a file held where no field can take it, in words: "a table", "a date".
struct UnsuitableValue {
  std::string what;
};

// The first seven alternatives are in ConfigType's order.
using ConfigValue = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>,
                                 std::vector<double>, std::vector<std::string>, UnsuitableValue>;

struct NumberLimits {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_is_open = false;
  // Of the C++ type of a float.
  double magnitude = std::numeric_limits<double>::max();
  // Of the C++ type of an integer; a double cannot hold all of them.
  int64_t least = std::numeric_limits<int64_t>::min();
  int64_t greatest = std::numeric_limits<int64_t>::max();
};

// The value as a field of that type holds it: an integer where a float is asked for, a float
// without a fraction (1e9) where an integer is, an empty list for any list. UnsuitableValue if it
// is none.
ConfigValue convert(const ConfigValue& value, ConfigType type);

// As TOML writes it. Floats have the fewest digits that read back to the same value.
std::string to_toml(const ConfigValue& value);
// For a message: "the string 'fast'", "the integer 3", "a list of integers".
std::string describe(const ConfigValue& value);

// ConfigBinding<T>: how a member of type T takes a ConfigValue and gives one.
template <class T>
struct ConfigBinding;

template <>
struct ConfigBinding<bool> {
  static constexpr ConfigType type = ConfigType::Bool;
  static NumberLimits limits() { return {}; }
  static bool from(const ConfigValue& value) { return std::get<bool>(value); }
  static ConfigValue to(bool value) { return value; }
};

template <std::integral T>
struct ConfigBinding<T> {
  static constexpr ConfigType type = ConfigType::Integer;
  static NumberLimits limits() {
    NumberLimits limits;
    limits.least = std::is_signed_v<T> ? static_cast<int64_t>(std::numeric_limits<T>::min()) : 0;
    if constexpr (sizeof(T) < sizeof(int64_t)) limits.greatest = std::numeric_limits<T>::max();
    return limits;
  }
  static T from(const ConfigValue& value) { return static_cast<T>(std::get<int64_t>(value)); }
  static ConfigValue to(T value) { return static_cast<int64_t>(value); }
};

template <std::floating_point T>
struct ConfigBinding<T> {
  static constexpr ConfigType type = ConfigType::Float;
  static NumberLimits limits() {
    NumberLimits limits;
    limits.magnitude = static_cast<double>(std::numeric_limits<T>::max());
    return limits;
  }
  static T from(const ConfigValue& value) { return static_cast<T>(std::get<double>(value)); }
  // By way of its digits, so that a float of 0.1 is shown as 0.1, not as the double nearest to it.
  static ConfigValue to(T value) {
    char text[64];
    const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
    double wide = 0;
    std::from_chars(text, end, wide);
    return wide;
  }
};

template <>
struct ConfigBinding<std::string> {
  static constexpr ConfigType type = ConfigType::String;
  static NumberLimits limits() { return {}; }
  static std::string from(const ConfigValue& value) { return std::get<std::string>(value); }
  static ConfigValue to(const std::string& value) { return value; }
};

template <>
struct ConfigBinding<std::filesystem::path> {
  static constexpr ConfigType type = ConfigType::String;
  static NumberLimits limits() { return {}; }
  static std::filesystem::path from(const ConfigValue& value) {
    return std::get<std::string>(value);
  }
  static ConfigValue to(const std::filesystem::path& value) { return value.string(); }
};

template <class T>
struct ConfigBinding<std::vector<T>> {
  using Element = ConfigBinding<T>;
  using Stored = std::conditional_t<
      Element::type == ConfigType::Integer, int64_t,
      std::conditional_t<Element::type == ConfigType::Float, double, std::string>>;
  static_assert(Element::type == ConfigType::Integer || Element::type == ConfigType::Float ||
                Element::type == ConfigType::String);
  static constexpr ConfigType type = Element::type == ConfigType::Integer ? ConfigType::IntegerList
                                     : Element::type == ConfigType::Float ? ConfigType::FloatList
                                                                          : ConfigType::StringList;
  static NumberLimits limits() { return Element::limits(); }
  static std::vector<T> from(const ConfigValue& value) {
    std::vector<T> result;
    for (const Stored& element : std::get<std::vector<Stored>>(value)) {
      result.push_back(Element::from(element));
    }
    return result;
  }
  static ConfigValue to(const std::vector<T>& value) {
    std::vector<Stored> result;
    result.reserve(value.size());
    for (const T& element : value) result.push_back(std::get<Stored>(Element::to(element)));
    return result;
  }
};

}  // namespace plinth
