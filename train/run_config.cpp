#include "train/run_config.h"

#include "core/error.h"
#include "core/io/file.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

void refuse(const fs::path& saved, const std::vector<std::string>& changes, const char* rule) {
  if (!changes.empty()) throw Error(ErrorKind::Config, saved.string(), changes.front() + rule);
}

}  // namespace

void keep_config(const fs::path& run, const ConfigSchema& now, RunStart start,
                 const ConfigChanges& changes) {
  const fs::path saved = run / "config.toml";
  if (start == RunStart::Resumed)
    return refuse(saved, changes(now, saved, false), "; --resume goes on with the same run");
  if (fs::exists(saved)) {
    const std::vector<std::string> others = changes(now, saved, true);
    if (others.empty()) return;
    if (start == RunStart::New)
      refuse(
          saved, others,
          "; a new run does not write over it: move it away, take another run.directory, or begin "
          "that run again, with what is now, by --resume");
  }
  write_file_atomically(saved, now.to_toml());
}

}  // namespace plinth
