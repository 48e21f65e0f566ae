#include "apps/run_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "core/error.h"
#include "distributed/world.h"

namespace plinth::apps {
namespace {

// Each rank of a host has a GPU of its own.
Device device_of(DeviceOptions options, const distributed::Rendezvous& place) {
  if (options.device == "cuda") options.device = detail::concat("cuda:", place.local_rank);
  return options.apply();
}

// "trace.json" becomes "trace.rank1.json".
ProfileOptions profile_of(ProfileOptions options, const distributed::Rendezvous& place) {
  if (place.world_size == 1 || options.file.empty()) return options;
  std::filesystem::path own = options.file;
  own.replace_extension(detail::concat(".rank", place.rank, own.extension().string()));
  options.file = own.string();
  return options;
}

}  // namespace

void RunFile::load(ConfigSchema& schema, const std::vector<std::string>& more) const {
  schema.load(path);
  for (const std::string& assignment : overrides) schema.set(assignment);
  for (const std::string& assignment : more) schema.set(assignment);
  schema.finish();
}

void TrainArguments::add_to(CLI::App& command) {
  command.add_option("config", file.path, "TOML file; --keys explains what it may hold");
  command.add_option("overrides", file.overrides, "key=value, in place of the file's");
  command.add_flag(
      "--resume", resume,
      "go on from the run's latest whole checkpoint; from the start if it has none yet");
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

RunRanks::RunRanks(const TrainArguments& arguments, int64_t timeout_s)
    : place(distributed::from_environment()),
      device(device_of(arguments.device, place)),
      // A launcher that starts a run again means it to go on.
      resume(arguments.resume || place.restarts > 0),
      profile(profile_of(arguments.profile, place)) {
  if (place.world_size > 1)
    group = distributed::join_world(place, device, std::chrono::seconds(timeout_s));
}

void print_line(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

}  // namespace plinth::apps
