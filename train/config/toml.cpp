#include "train/config/toml.h"

#include <toml++/toml.h>
#include <algorithm>

#include "core/error.h"
#include "core/io/text.h"

namespace plinth {
namespace {

// toml++ bounds the depth of values but not that of dotted keys, and frees what it parsed by
// recursion; a key of many dots would exhaust the stack.
constexpr size_t kMaxDots = 10'000;
// Deeper than any schema; our own recursion ends here.
constexpr int kMaxDepth = 32;

template <class T>
std::vector<T> elements(const toml::array& array) {
  std::vector<T> result;
  for (const toml::node& node : array) result.push_back(*node.value<T>());
  return result;
}

ConfigValue list_value(const toml::array& array) {
  const auto all = [&](auto&& is) { return std::all_of(array.begin(), array.end(), is); };
  if (all([](const toml::node& node) { return node.is_string(); })) {
    return elements<std::string>(array);
  }
  if (all([](const toml::node& node) { return node.is_integer(); }))
    return elements<int64_t>(array);
  if (all([](const toml::node& node) { return node.is_number(); })) return elements<double>(array);
  if (all([](const toml::node& node) { return node.is_boolean(); })) {
    return UnsuitableValue{"a list of booleans"};
  }
  return UnsuitableValue{"a list of values of several kinds"};
}

ConfigValue leaf_value(const toml::node& node) {
  if (const auto value = node.value_exact<bool>()) return *value;
  if (const auto value = node.value_exact<int64_t>()) return *value;
  if (const auto value = node.value_exact<double>()) return *value;
  if (const auto value = node.value_exact<std::string>()) return *value;
  if (const toml::array* array = node.as_array()) return list_value(*array);
  return UnsuitableValue{node.is_table() ? "a table" : "a date or time"};
}

void flatten(const toml::table& table, const std::string& prefix, int depth,
             std::string_view source, std::vector<TomlEntry>& entries) {
  for (const auto& [name, node] : table) {
    std::string key = prefix + std::string(name.str());
    const int line = static_cast<int>(name.source().begin.line);
    entries.push_back({key, leaf_value(node), line, node.is_table()});
    if (!node.is_table()) continue;
    check(depth < kMaxDepth, ErrorKind::Config, detail::concat(source, ":", line),
          "keys are nested deeper than ", kMaxDepth, " levels");
    flatten(*node.as_table(), key + ".", depth + 1, source, entries);
  }
}

}  // namespace

std::vector<TomlEntry> parse_toml(std::string_view text, std::string_view source) {
  const auto dots = static_cast<size_t>(std::count(text.begin(), text.end(), '.'));
  check(dots <= kMaxDots, ErrorKind::Config, source, "has ", dots, " dots, expected at most ",
        kMaxDots);
  try {
    const toml::table table = toml::parse(text);
    std::vector<TomlEntry> entries;
    flatten(table, "", 1, source, entries);
    std::ranges::stable_sort(entries, {}, &TomlEntry::line);
    return entries;
  } catch (const toml::parse_error& error) {
    const std::string place = detail::concat(source, ":", error.source().begin.line);
    throw Error(ErrorKind::Config, place, detail::concat("no TOML: ", error.description()));
  }
}

ConfigValue parse_toml_value(std::string_view text) {
  try {
    const std::vector<TomlEntry> entries = parse_toml(detail::concat("x = ", text), "");
    if (entries.size() == 1) return entries[0].value;
  } catch (const Error&) {
    // Falls through: what is no TOML is described as it was written.
  }
  return UnsuitableValue{printable(text)};
}

}  // namespace plinth
