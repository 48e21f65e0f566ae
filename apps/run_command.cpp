#include "apps/run_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "core/error.h"

namespace plinth::apps {

void RunFile::load(ConfigSchema& schema, const std::vector<std::string>& more) const {
  schema.load(path);
  for (const std::string& assignment : overrides) schema.set(assignment);
  for (const std::string& assignment : more) schema.set(assignment);
  schema.finish();
}

void TrainArguments::add_to(CLI::App& command) {
  command.add_option("config", file.path, "TOML file; --keys explains what it may hold");
  command.add_option("overrides", file.overrides, "key=value, in place of the file's");
  command.add_flag("--resume", resume, "go on from the run's latest checkpoint, if there is one");
  command.add_flag("--keys", show_keys, "list every key of the configuration");
  device.add_to(command);
  profile.add_to(command, "training steps");
}

bool TrainArguments::load(ConfigSchema& schema, std::string_view command) const {
  if (show_keys) {
    std::fputs(schema.help().c_str(), stdout);
    return false;
  }
  check(!file.path.empty(), ErrorKind::Argument, command, "takes a configuration file");
  file.load(schema);
  return true;
}

}  // namespace plinth::apps
