#pragma once

// The configuration of a run, kept beside its checkpoints as config.toml.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "train/config/schema.h"
#include "train/trainer.h"

namespace plinth {

// The keys whose values in a saved configuration are not those of `now`, as changed_values() tells
// them: those that decide the bits of a run, or with `all` every one but run.directory.
using ConfigChanges = std::function<std::vector<std::string>(
    const ConfigSchema& now, const std::filesystem::path& saved, bool all)>;

// Writes the configuration, unless the file there has its values already. A new run does not write
// over a file with other values, which may be the user's own; one that begins again does. That of a
// resumed run must agree with the file in what decides its bits. Throws Error(Config) naming the
// file and the first key that differs.
void keep_config(const std::filesystem::path& run, const ConfigSchema& now, RunStart start,
                 const ConfigChanges& changes);

}  // namespace plinth
