#pragma once

// What the commands have in common that take the TOML file of a run, and those that train.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "apps/cli.h"
#include "apps/profile.h"
#include "core/device.h"
#include "distributed/process_group.h"
#include "distributed/rendezvous.h"
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

// This process of a run, and the others that it meets.
struct RunRanks {
  // Throws what DeviceOptions::apply() and distributed::join_world() do.
  RunRanks(const TrainArguments& arguments, int64_t timeout_s);

  distributed::Rendezvous place;
  Device device;
  std::shared_ptr<distributed::ProcessGroup> group;  // null: this process is alone
  bool resume;                                       // as asked for, or started again by a launcher
  ProfileOptions profile;                            // with a file of this rank's

  // Whether this process is to tell how the run ended.
  bool tells(int signal) const { return place.rank == 0 || signal != 0; }
};

// Prints a line at once.
void print_line(const std::string& line);

}  // namespace plinth::apps
