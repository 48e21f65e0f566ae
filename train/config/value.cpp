#include "train/config/value.h"

#include <algorithm>
#include <cmath>

#include "core/io/text.h"

namespace plinth {
namespace {

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

// Doubles beyond this are whole for want of digits, not because someone wrote a whole number.
bool is_whole(double value) {
  return value == std::trunc(value) && std::abs(value) <= 0x1p53;
}

std::string number_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char text[64];
  std::string result(text, std::to_chars(text, text + sizeof(text), value).ptr);
  // Without a point or an exponent TOML would read an integer.
  if (result.find_first_of(".e") == result.npos) result += ".0";
  return result;
}

std::string string_text(std::string_view value) {
  std::string out = "\"";
  for (const char c : value) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\t': out += "\\t"; break;
      case '\r': out += "\\r"; break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) {
          out += c;
        } else {
          constexpr std::string_view kHex = "0123456789ABCDEF";
          out.append("\\u00").append(1, kHex[c >> 4]).append(1, kHex[c & 15]);
        }
    }
  }
  return out + "\"";
}

template <class T>
std::string list_text(const std::vector<T>& list) {
  std::string out = "[";
  for (size_t i = 0; i < list.size(); ++i)
    out += (i == 0 ? "" : ", ") + to_toml(ConfigValue(list[i]));
  return out + "]";
}

ConfigValue to_integer_list(const std::vector<double>& list) {
  std::vector<int64_t> result;
  for (const double value : list) {
    if (!is_whole(value)) return UnsuitableValue{"a list of floats"};
    result.push_back(static_cast<int64_t>(value));
  }
  return result;
}

}  // namespace

ConfigValue convert(const ConfigValue& value, ConfigType type) {
  if (value.index() == static_cast<size_t>(type)) return value;
  const auto* integer = std::get_if<int64_t>(&value);
  const auto* real = std::get_if<double>(&value);
  const auto* integers = std::get_if<std::vector<int64_t>>(&value);
  const auto* reals = std::get_if<std::vector<double>>(&value);
  if (type == ConfigType::Float && integer != nullptr) return static_cast<double>(*integer);
  if (type == ConfigType::Integer && real != nullptr && is_whole(*real)) {
    return static_cast<int64_t>(*real);
  }
  if (type == ConfigType::FloatList && integers != nullptr) {
    return std::vector<double>(integers->begin(), integers->end());
  }
  if (type == ConfigType::IntegerList && reals != nullptr) return to_integer_list(*reals);
  // An empty list has elements of no type; the reader gives one of strings.
  const auto* strings = std::get_if<std::vector<std::string>>(&value);
  if (strings != nullptr && strings->empty()) {
    if (type == ConfigType::IntegerList) return std::vector<int64_t>();
    if (type == ConfigType::FloatList) return std::vector<double>();
  }
  return UnsuitableValue{describe(value)};
}

std::string to_toml(const ConfigValue& value) {
  return std::visit(Overloaded{[](bool b) { return std::string(b ? "true" : "false"); },
                               [](int64_t i) { return std::to_string(i); },
                               [](double d) { return number_text(d); },
                               [](const std::string& s) { return string_text(s); },
                               [](const UnsuitableValue& u) { return u.what; },
                               [](const auto& list) { return list_text(list); }},
                    value);
}

std::string describe(const ConfigValue& value) {
  return std::visit(
      Overloaded{[](bool b) { return std::string(b ? "the boolean true" : "the boolean false"); },
                 [](int64_t i) { return "the integer " + std::to_string(i); },
                 [](double d) { return "the float " + number_text(d); },
                 [](const std::string& s) { return "the string " + printable(s); },
                 [](const std::vector<int64_t>&) { return std::string("a list of integers"); },
                 [](const std::vector<double>&) { return std::string("a list of floats"); },
                 [](const std::vector<std::string>&) { return std::string("a list of strings"); },
                 [](const UnsuitableValue& u) { return u.what; }},
      value);
}

}  // namespace plinth
