#include "train/checkpoint/sharded_writer.h"

#include <chrono>
#include <utility>

#include "core/error.h"
#include "core/io/directory.h"
#include "core/io/file.h"
#include "core/io/safetensors.h"
#include "models/tensor_files.h"
#include "train/checkpoint/manifest.h"
#include "train/checkpoint/run_directory.h"
#include "train/checkpoint/sharded.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

void write_own(const fs::path& target, const CheckpointContents& contents) {
  if (contents.tensors.empty() && contents.texts.empty()) return;
  const fs::path directory = make_shared_partial(target);
  for (const auto& [name, tensors] : contents.tensors) {
    write_safetensors(directory / name, entries_of(tensors), {{"format", "pt"}});
    write_manifest_entry(directory / name);
  }
  for (const auto& [name, text] : contents.texts) write_file_atomically(directory / name, text);
}

// All ranks have written, each where it finds the run's directory.
void check_complete(const fs::path& directory, const fs::path& run) {
  if (!ShardedCheckpoint::is_in(directory)) return;
  const int64_t files = ShardedIndex::read(directory / ShardedCheckpoint::kIndex).files;
  for (int64_t number = 0; number < files; ++number) {
    const std::string name = shard_file_name(number, files);
    check(fs::exists(directory / name), ErrorKind::Io, (directory / name).string(),
          "is missing, which another rank has written; run.directory (", run.string(),
          ") must lie where all ranks see it");
  }
}

}  // namespace

ShardedWriter::ShardedWriter(fs::path run, int64_t keep_last,
                             std::shared_ptr<distributed::ProcessGroup> group,
                             std::set<int64_t> damaged)
    : run_(std::move(run)),
      keep_last_(keep_last),
      group_(std::move(group)),
      damaged_(std::move(damaged)) {}

ShardedWriter::~ShardedWriter() {
  if (work_.valid()) work_.wait();
}

void ShardedWriter::submit(CheckpointContents contents, std::optional<int64_t> best_step) {
  wait();
  step_ = contents.step;
  best_step_ = best_step;
  fs::path target = run_ / checkpoint_name(contents.step);
  work_ = std::async(std::launch::async, [target = std::move(target), own = std::move(contents)] {
    write_own(target, own);
  });
}

bool ShardedWriter::is_written() {
  if (!work_.valid()) return true;
  if (work_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return false;
  work_.get();
  return true;
}

void ShardedWriter::all_have_written() {
  if (!step_) return;
  const int64_t step = *std::exchange(step_, std::nullopt);
  if (group_->rank() != 0) return;
  work_ = std::async(std::launch::async,
                     [this, step, best_step = best_step_] { commit(step, best_step); });
}

void ShardedWriter::wait() {
  if (work_.valid()) work_.get();
  if (step_) {
    group_->barrier().wait_on_host();
    all_have_written();
    if (work_.valid()) work_.get();
  }
}

void ShardedWriter::commit(int64_t step, std::optional<int64_t> best_step) {
  const fs::path target = run_ / checkpoint_name(step);
  const fs::path shared = make_shared_partial(target);
  check_complete(shared, run_);
  if (fs::exists(target)) remove_directory_atomically(target);
  AtomicDirectory directory(target, shared);
  write_manifest(directory.path());
  directory.commit();
  damaged_.erase(step);
  prune_checkpoints(run_, keep_last_, best_step, damaged_);
}

}  // namespace plinth
