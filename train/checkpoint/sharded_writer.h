#pragma once

// Writing checkpoints of which each rank holds a part, while training goes on: every rank writes
// its own file beside those of the others, and when all have, rank 0 writes the manifest and gives
// the directory its name. Until then there is no checkpoint.

#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <set>

#include "distributed/process_group.h"
#include "train/checkpoint/writer.h"

namespace plinth {

class ShardedWriter {
 public:
  // All ranks have one, on a directory that all see: a checkpoint of which rank 0 does not find a
  // file that shards.json counts is an Error(Io), and is none. `damaged`: as CheckpointWriter's.
  ShardedWriter(std::filesystem::path run, int64_t keep_last,
                std::shared_ptr<distributed::ProcessGroup> group, std::set<int64_t> damaged = {});
  // Waits for what this rank writes; its error, if nobody has asked for it, is lost.
  ~ShardedWriter();
  ShardedWriter(const ShardedWriter&) = delete;
  ShardedWriter& operator=(const ShardedWriter&) = delete;

  // All ranks call it, with their own files of one step, of which some may have none. Waits for the
  // checkpoint before this one, then returns at once. Throws what went wrong with the one before.
  void submit(CheckpointContents contents, std::optional<int64_t> best_step);

  // What ranks tell each other at every step: whether this rank's files are on disk, and, once that
  // holds for all, that they are. Both throw what went wrong here.
  bool is_written();
  void all_have_written();
  // The same with a collective of its own, that waits for all.
  void wait();

 private:
  void commit(int64_t step, std::optional<int64_t> best_step);

  const std::filesystem::path run_;
  const int64_t keep_last_;
  const std::shared_ptr<distributed::ProcessGroup> group_;
  std::set<int64_t> damaged_;                // of rank 0's commits, one at a time
  std::optional<int64_t> step_, best_step_;  // of a checkpoint that is not committed
  std::future<void> work_;                   // this rank's
};

}  // namespace plinth
