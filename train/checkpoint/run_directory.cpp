#include "train/checkpoint/run_directory.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "core/io/directory.h"
#include "train/checkpoint/manifest.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kPrefix = "step-";

std::optional<int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kPrefix) || name.size() < kPrefix.size() + 6) return std::nullopt;
  int64_t step = 0;
  const char* begin = name.data() + kPrefix.size();
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(begin, end, step);
  if (error != std::errc() || stop != end || step < 0) return std::nullopt;
  return step;
}

// The newest whole checkpoint, and what is wrong with each newer one, newest first.
struct Search {
  struct Damaged {
    fs::path path;
    std::string fault;
  };
  std::optional<CheckpointPath> whole;
  std::vector<Damaged> damaged;
};

Search search_newest(const fs::path& run) {
  Search search;
  const std::vector<CheckpointPath> all = list_checkpoints(run);
  for (auto candidate = all.rbegin(); candidate != all.rend() && !search.whole; ++candidate) {
    const std::string fault = manifest_fault(candidate->path);
    if (fault.empty())
      search.whole = *candidate;
    else
      search.damaged.push_back({candidate->path, "not a whole checkpoint (" + fault + ")"});
  }
  return search;
}

std::optional<CheckpointPath> whole_of(const Search& search,
                                       const std::function<void(const std::string&)>& warn) {
  const std::string instead =
      search.whole ? ", taking " + search.whole->path.filename().string() : "";
  for (const auto& [path, fault] : search.damaged) warn(path.string() + ": " + fault + instead);
  return search.whole;
}

}  // namespace

std::string checkpoint_name(int64_t step) {
  const std::string digits = std::to_string(step);
  return std::string(kPrefix) + std::string(digits.size() < 6 ? 6 - digits.size() : 0, '0') +
         digits;
}

std::vector<CheckpointPath> list_checkpoints(const fs::path& run) {
  std::vector<CheckpointPath> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run, error)) {
    const auto step = step_of(entry.path().filename().string());
    if (step && entry.is_directory(error)) found.push_back({*step, entry.path()});
  }
  std::ranges::sort(found, {}, &CheckpointPath::step);
  return found;
}

std::optional<CheckpointPath> latest_checkpoint(
    const fs::path& run, const std::function<void(const std::string&)>& warn) {
  return whole_of(search_newest(run), warn);
}

std::optional<CheckpointPath> checkpoint_to_resume(
    const fs::path& run, const std::function<void(const std::string&)>& warn) {
  const Search search = search_newest(run);
  if (search.whole || search.damaged.empty()) return whole_of(search, warn);
  const auto& [path, fault] = search.damaged.front();
  throw Error(ErrorKind::Format, path.string(),
              fault +
                  ", and there is no whole one before it; put its files back from a copy, or "
                  "begin a new run in another run.directory");
}

fs::path resolve_model_directory(const fs::path& path,
                                 const std::function<void(const std::string&)>& warn) {
  check(fs::is_directory(path), ErrorKind::Io, path.string(),
        "no such directory; expected a model (config.json, model.safetensors) or a run directory");
  for (const fs::path& model : {path, path / "model"})
    if (fs::exists(model / "config.json")) return model;
  const auto latest = latest_checkpoint(path, warn);
  const bool is_begun = fs::exists(path / "config.toml") && list_checkpoints(path).empty();
  check(!is_begun, ErrorKind::Io, path.string(),
        "holds the config.toml of a run, but no checkpoint yet; --resume begins that run again");
  check(latest.has_value(), ErrorKind::Io, path.string(),
        "holds neither a config.json nor a whole checkpoint step-NNNNNN");
  return latest->path;
}

void prune_checkpoints(const fs::path& run, int64_t keep_last, std::optional<int64_t> best_step,
                       const std::set<int64_t>& damaged) {
  std::vector<CheckpointPath> all = list_checkpoints(run);
  for (int64_t places = std::max<int64_t>(keep_last, 1); places > 0 && !all.empty();) {
    if (!damaged.contains(all.back().step)) --places;
    all.pop_back();
  }
  for (const CheckpointPath& old : all) {
    if (old.step != best_step) remove_directory_atomically(old.path);
  }
}

}  // namespace plinth
