#include "train/config/schema.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/text.h"
#include "core/nearest.h"
#include "train/config/toml.h"

namespace plinth {
namespace {

constexpr uint64_t kMaxFileBytes = 1 << 20;

std::string number(double value) {
  const bool whole = value == std::trunc(value) && std::abs(value) < 1e15;
  return to_toml(whole ? ConfigValue(static_cast<int64_t>(value)) : ConfigValue(value));
}

std::string join(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

// "a.b" of "a.b.c", "" of "c".
std::string_view section_of(std::string_view key) {
  const size_t dot = key.rfind('.');
  return dot == key.npos ? std::string_view() : key.substr(0, dot);
}

std::string_view leaf_of(std::string_view key) {
  return key.substr(key.rfind('.') + 1);
}

bool is_bare_key(std::string_view key) {
  const auto allowed = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
  };
  while (true) {
    const size_t dot = key.find('.');
    const std::string_view part = key.substr(0, dot);
    if (part.empty() || !std::ranges::all_of(part, allowed)) return false;
    if (dot == key.npos) return true;
    key.remove_prefix(dot + 1);
  }
}

bool holds(const NumberLimits& limits, double value) {
  return std::abs(value) <= limits.magnitude && value <= limits.high &&
         (limits.low_is_open ? value > limits.low : value >= limits.low);
}

bool holds(const NumberLimits& limits, int64_t value) {
  return value >= limits.least && value <= limits.greatest &&
         holds(limits, static_cast<double>(value));
}

// The first number that the limits refuse, as a message says it; empty if there is none.
std::string first_refused(const NumberLimits& limits, const ConfigValue& value) {
  const auto refused = [&](const auto& numbers) -> std::string {
    for (const auto number : numbers) {
      if (!holds(limits, number)) return to_toml(ConfigValue(number));
    }
    return "";
  };
  if (const auto* i = std::get_if<int64_t>(&value)) return refused(std::vector{*i});
  if (const auto* d = std::get_if<double>(&value)) return refused(std::vector{*d});
  if (const auto* list = std::get_if<std::vector<int64_t>>(&value)) return refused(*list);
  if (const auto* list = std::get_if<std::vector<double>>(&value)) return refused(*list);
  return "";
}

std::string first_refused(const std::vector<std::string>& words, const ConfigValue& value) {
  const auto unknown = [&](const std::string& word) {
    return std::ranges::find(words, word) == words.end();
  };
  if (const auto* text = std::get_if<std::string>(&value); text && unknown(*text))
    return printable(*text);
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
    const auto found = std::ranges::find_if(*list, unknown);
    if (found != list->end()) return printable(*found);
  }
  return "";
}

// The bounds worth saying: those declared, else those of an integer type that is not int64_t.
std::string limits_text(const NumberLimits& limits) {
  const bool low = std::isfinite(limits.low), high = std::isfinite(limits.high);
  if (low && high && !limits.low_is_open)
    return " from " + number(limits.low) + " to " + number(limits.high);
  if (low) {
    const std::string above =
        (limits.low_is_open ? " above " : " of at least ") + number(limits.low);
    return high ? above + ", at most " + number(limits.high) : above;
  }
  if (high) return " of at most " + number(limits.high);
  const bool bounded = limits.greatest != std::numeric_limits<int64_t>::max();
  if (bounded) return detail::concat(" from ", limits.least, " to ", limits.greatest);
  return limits.least == 0 ? " of at least 0" : "";
}

std::string_view type_text(ConfigType type) {
  switch (type) {
    case ConfigType::Bool: return "true or false";
    case ConfigType::Integer: return "an integer";
    case ConfigType::Float: return "a float";
    case ConfigType::String: return "a string";
    case ConfigType::IntegerList: return "a list of integers";
    case ConfigType::FloatList: return "a list of floats";
    case ConfigType::StringList: return "a list of strings";
  }
  return "";
}

// An override's value. A string is taken as it stands, unless it is quoted; a list may lack
// brackets.
ConfigValue override_value(std::string_view text, ConfigType type) {
  ConfigValue value = parse_toml_value(text);
  if (type == ConfigType::String) {
    const bool quoted = text.starts_with('"') || text.starts_with('\'');
    return quoted && std::holds_alternative<std::string>(value) ? value : std::string(text);
  }
  if (type < ConfigType::IntegerList || text.starts_with('[')) return value;
  ConfigValue list = parse_toml_value(detail::concat("[", text, "]"));
  if (type != ConfigType::StringList) return list;
  if (std::holds_alternative<std::vector<std::string>>(list)) return list;
  std::vector<std::string> words;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    words.emplace_back(text.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return words;
}

}  // namespace

ConfigField::ConfigField(std::string key, ConfigType type, NumberLimits limits, Setter set,
                         Getter get)
    : key_(std::move(key)),
      type_(type),
      limits_(limits),
      set_(std::move(set)),
      get_(std::move(get)) {
  default_ = plinth::to_toml(get_());
}

ConfigField& ConfigField::help(std::string text) {
  help_ = std::move(text);
  return *this;
}

ConfigField& ConfigField::required() {
  required_ = true;
  return *this;
}

ConfigField& ConfigField::range(double low, double high) {
  limits_.low = low;
  limits_.high = high;
  return *this;
}

ConfigField& ConfigField::at_least(double low) {
  limits_.low = low;
  limits_.low_is_open = false;
  return *this;
}

ConfigField& ConfigField::above(double low) {
  limits_.low = low;
  limits_.low_is_open = true;
  return *this;
}

ConfigField& ConfigField::words(std::vector<std::string> allowed) {
  words_ = std::move(allowed);
  return *this;
}

std::string ConfigField::takes() const {
  const bool list = type_ >= ConfigType::IntegerList;
  if (!words_.empty()) return (list ? "a list of " : "one of ") + join(words_);
  const std::string limits = limits_text(limits_);
  return std::string(type_text(type_)) + (list && !limits.empty() ? ", each" : "") + limits;
}

std::string ConfigField::refusal(const ConfigValue& value) const {
  if (const auto* unsuitable = std::get_if<UnsuitableValue>(&value)) return unsuitable->what;
  const std::string number = first_refused(limits_, value);
  return number.empty() && !words_.empty() ? first_refused(words_, value) : number;
}

void ConfigSchema::section(std::string name, std::string help) {
  section_help_.emplace_back(std::move(name), std::move(help));
}

ConfigField& ConfigSchema::add(ConfigField field) {
  check(is_bare_key(field.key()), ErrorKind::Argument, "ConfigSchema", "key ",
        printable(field.key()), " is not made of letters, digits, '_' and '-' between dots");
  check(find(field.key()) == nullptr, ErrorKind::Argument, "ConfigSchema", "key ", field.key(),
        " is declared twice");
  return fields_.emplace_back(std::move(field));
}

ConfigField* ConfigSchema::find(std::string_view key) {
  const auto found = std::ranges::find(fields_, key, &ConfigField::key);
  return found == fields_.end() ? nullptr : &*found;
}

void ConfigSchema::load(const std::filesystem::path& path) {
  load_text(read_text_file(path, kMaxFileBytes), path.string());
}

void ConfigSchema::load_text(std::string_view toml, std::string_view source) {
  for (const TomlEntry& entry : parse_toml(toml, source)) {
    const std::string place = detail::concat(source, ":", entry.line);
    ConfigField* field = find(entry.key);
    if (field != nullptr) {
      assign(*field, entry.value, place);
      continue;
    }
    const std::string prefix = entry.key + ".";
    const bool is_section = std::ranges::any_of(
        fields_, [&](const ConfigField& other) { return other.key().starts_with(prefix); });
    check(!is_section || entry.is_table, ErrorKind::Config, place, entry.key, " got ",
          describe(entry.value), ", but it is a section: write [", entry.key, "]");
    if (!is_section) refuse_unknown(entry.key, place);
  }
}

void ConfigSchema::set(std::string_view assignment) {
  constexpr std::string_view kPlace = "command line";
  const size_t equals = assignment.find('=');
  check(equals != assignment.npos && equals > 0, ErrorKind::Config, kPlace, "got ",
        printable(assignment), ", expected key=value");
  const std::string_view key = assignment.substr(0, equals);
  const std::string_view text = assignment.substr(equals + 1);
  ConfigField* field = find(key);
  if (field == nullptr) refuse_unknown(key, kPlace);
  check(!first_invalid_utf8(text), ErrorKind::Config, kPlace, key, " got ", printable(text),
        ", which is not UTF-8");
  assign(*field, override_value(text, field->type_), kPlace);
}

void ConfigSchema::assign(ConfigField& field, const ConfigValue& value, std::string_view place) {
  const ConfigValue converted = convert(value, field.type_);
  const std::string refused = field.refusal(converted);
  if (!refused.empty()) {
    throw Error(ErrorKind::Config, place,
                detail::concat(field.key(), " got ", refused, ", takes ", field.takes()));
  }
  field.set_(converted);
  field.is_set_ = true;
}

void ConfigSchema::refuse_unknown(std::string_view key, std::string_view place) const {
  // A right name in a wrong section is the likeliest slip; then a misspelt key.
  std::vector<std::string_view> same_leaf, all;
  for (const ConfigField& field : fields_) {
    all.push_back(field.key());
    if (leaf_of(field.key()) == leaf_of(key)) same_leaf.push_back(field.key());
  }
  const std::string_view near = nearest(key.substr(0, 100), same_leaf.empty() ? all : same_leaf);
  throw Error(ErrorKind::Config, place,
              detail::concat("unknown key ", printable(key),
                             near.empty() ? "" : ", the nearest is ", near));
}

void ConfigSchema::finish() const {
  for (const ConfigField& field : fields_) {
    if (!field.required_) continue;
    const ConfigValue value = field.value();
    const auto* const text = std::get_if<std::string>(&value);
    check(field.is_set_ && !(text && text->empty()), ErrorKind::Config, field.key(),
          field.is_set_ ? "is empty" : "is missing", ", takes ", field.takes(),
          field.help_.empty() ? "" : ": ", field.help_);
  }
}

std::vector<std::string> ConfigSchema::sections() const {
  // Keys without a section come first: after a [header] they would belong to it.
  std::vector<std::string> names = {""};
  for (const ConfigField& field : fields_) {
    const std::string name(section_of(field.key()));
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  return names;
}

std::string ConfigSchema::to_toml() const {
  std::string out;
  for (const std::string& section : sections()) {
    if (!section.empty()) out += (out.empty() ? "[" : "\n[") + section + "]\n";
    for (const ConfigField& field : fields_) {
      if (section_of(field.key()) != section) continue;
      out += std::string(leaf_of(field.key())) + " = " + plinth::to_toml(field.value()) + "\n";
    }
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> ConfigSchema::values() const {
  std::vector<std::pair<std::string, std::string>> result;
  for (const ConfigField& field : fields_)
    result.emplace_back(field.key(), plinth::to_toml(field.value()));
  return result;
}

std::string ConfigSchema::help() const {
  std::string out;
  for (const std::string& section : sections()) {
    if (!section.empty()) {
      const auto about =
          std::ranges::find(section_help_, section, &std::pair<std::string, std::string>::first);
      out += (out.empty() ? "[" : "\n[") + section + "]";
      out += about == section_help_.end() ? "\n" : "  " + about->second + "\n";
    }
    for (const ConfigField& field : fields_) {
      if (section_of(field.key()) != section) continue;
      const std::string standard = field.required_ ? "required" : "default " + field.default_;
      out += "  " + field.key() + "\n";
      if (!field.help_.empty()) out += "      " + field.help_ + "\n";
      out += "      " + field.takes() + "; " + standard + "\n";
    }
  }
  return out;
}

}  // namespace plinth
