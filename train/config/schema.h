#pragma once

// Configuration of a run: fields declared once, bound to the members of a struct, and from that
// read from TOML, overridden on the command line, checked, printed in full, and explained.
//
//   struct Settings { double lr = 6e-4; int64_t steps = 0; std::string schedule = "cosine"; } s;
//   ConfigSchema schema;
//   schema.section("optimizer", "how weights are updated");
//   schema.field("optimizer.lr", &s.lr).range(0, 10).help("peak learning rate");
//   schema.field("optimizer.schedule", &s.schedule).words({"cosine", "linear"}).help("after
//   warm-up"); schema.field("train.steps", &s.steps).required().at_least(1).help("optimizer
//   steps"); schema.load("run.toml"); schema.set("optimizer.lr=3e-4"); schema.finish();
//   write_file_atomically(run / "config.toml", schema.to_toml());
//
// Errors are Error(Config) whose subject is the place: "run.toml:7: optimizer.lr got the string
// 'fast', takes a float from 0 to 10". A later load or set of a key replaces an earlier one. The
// members' values when they are bound are the defaults.

#include <deque>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "train/config/value.h"

namespace plinth {

// One key: what it takes, and where its value goes.
class ConfigField {
 public:
  ConfigField& help(std::string text);
  // Must be given by a file or an override; a string with at least a character.
  ConfigField& required();
  // Bounds of a number, or of each number of a list; the bounds themselves are allowed.
  ConfigField& range(double low, double high);
  ConfigField& at_least(double low);
  // The bound itself is not allowed.
  ConfigField& above(double low);
  // The only strings allowed.
  ConfigField& words(std::vector<std::string> allowed);

  const std::string& key() const { return key_; }
  bool is_set() const { return is_set_; }
  ConfigValue value() const { return get_(); }
  // "a float from 0 to 10": what the field takes, as a message says it.
  std::string takes() const;

 private:
  friend class ConfigSchema;
  using Setter = std::function<void(const ConfigValue&)>;
  using Getter = std::function<ConfigValue()>;
  ConfigField(std::string key, ConfigType type, NumberLimits limits, Setter set, Getter get);

  // Empty if the value may be set; else what the field got, for the message.
  std::string refusal(const ConfigValue& value) const;

  std::string key_;
  ConfigType type_;
  NumberLimits limits_;
  Setter set_;
  Getter get_;
  std::string help_;
  std::string default_;
  std::vector<std::string> words_;
  bool required_ = false;
  bool is_set_ = false;
};

class ConfigSchema {
 public:
  // Names a section for help(); fields may be declared before or after it.
  void section(std::string name, std::string help);

  // Binds a key, "section.name" or deeper, to a member: bool, an integer, a float, std::string,
  // std::filesystem::path, or std::vector of an integer, a float or std::string. The member must
  // outlive the schema's use.
  template <class T>
  ConfigField& field(std::string key, T* member) {
    using Bound = ConfigBinding<T>;
    return add(ConfigField(
        std::move(key), Bound::type, Bound::limits(),
        [member](const ConfigValue& value) { *member = Bound::from(value); },
        [member] { return Bound::to(*member); }));
  }

  // Binds a key to a member that takes one of several values, each named by a word.
  template <class T>
  ConfigField& choice(std::string key, T* member, std::vector<std::pair<std::string, T>> choices) {
    std::vector<std::string> words;
    words.reserve(choices.size());
    for (const auto& choice : choices) words.push_back(choice.first);
    const auto set = [member, choices](const ConfigValue& value) {
      for (const auto& [word, meant] : choices) {
        if (word == std::get<std::string>(value)) *member = meant;
      }
    };
    const auto get = [member, choices]() -> ConfigValue {
      for (const auto& [word, meant] : choices) {
        if (meant == *member) return word;
      }
      return std::string();
    };
    return add(ConfigField(std::move(key), ConfigType::String, {}, set, get))
        .words(std::move(words));
  }

  void load(const std::filesystem::path& path);
  // `source` stands for the file's name in messages.
  void load_text(std::string_view toml, std::string_view source);
  // One override, "key=value". A string needs no quotes, a list no brackets.
  void set(std::string_view assignment);
  // Throws if a required field was not given, or is an empty string. Call after the last load or
  // set.
  void finish() const;

  // Every field with its value, as a TOML file that load() reads back to the same values.
  std::string to_toml() const;
  // Every field with its value as TOML writes it, in the order declared.
  std::vector<std::pair<std::string, std::string>> values() const;
  // Every field: its help, what it takes and its default.
  std::string help() const;

 private:
  ConfigField& add(ConfigField field);
  ConfigField* find(std::string_view key);
  void assign(ConfigField& field, const ConfigValue& value, std::string_view place);
  [[noreturn]] void refuse_unknown(std::string_view key, std::string_view place) const;
  std::vector<std::string> sections() const;

  std::deque<ConfigField> fields_;
  std::vector<std::pair<std::string, std::string>> section_help_;
};

}  // namespace plinth
