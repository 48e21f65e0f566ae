#pragma once

// Reading TOML 1.0 into a flat list. The only door to toml++.

#include <string>
#include <string_view>
#include <vector>

#include "train/config/value.h"

namespace plinth {

struct TomlEntry {
  std::string key;  // "optimizer.lr"
  ConfigValue value;
  int line = 0;
  bool is_table = false;  // its keys follow as entries of their own
};

// Every key of the text, tables included, in the order of their lines. Throws Error(Config,
// "<source>:<line>") for what is no TOML; toml++'s own limits and one on the text bound the work.
std::vector<TomlEntry> parse_toml(std::string_view text, std::string_view source);

// A single value, as after "key = ": UnsuitableValue if the text is none.
ConfigValue parse_toml_value(std::string_view text);

}  // namespace plinth
