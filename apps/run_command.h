#pragma once

// What the commands have in common that take the TOML file of a run, and those that train.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "apps/cli.h"
#include "apps/profile.h"
#include "train/config/schema.h"

namespace plinth::apps {

// A run of `plinth pretrain` or `plinth finetune`.
struct RunFile {
  std::filesystem::path path;          // TOML
  std::vector<std::string> overrides;  // key=value

  // Sets the schema's values, by `more` overrides last. Throws what the schema does.
  void load(ConfigSchema& schema, const std::vector<std::string>& more = {}) const;
};

struct TrainArguments {
  RunFile file;
  bool resume = false;
  bool show_keys = false;
  DeviceOptions device;
  ProfileOptions profile;

  void add_to(CLI::App& command);
  // Sets the schema's values; or prints its keys where these were asked for, and is false. Throws
  // Error(Argument) where the command got no file.
  bool load(ConfigSchema& schema, std::string_view command) const;
};

}  // namespace plinth::apps
