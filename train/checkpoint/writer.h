#pragma once

// Writing checkpoints while training goes on.

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "nn/state_dict.h"

namespace plinth {

// All that a checkpoint holds. The tensors are copies that nobody else writes to.
struct CheckpointContents {
  int64_t step = 0;
  std::map<std::string, nn::StateDict> tensors;  // by file: "model.safetensors"
  std::map<std::string, std::string> texts;      // by file: "state.json"
};

// Writes `step-NNNNNN/` under a temporary name, syncs it, and renames it: after it returns the
// checkpoint survives a loss of power. An older one of the same step is replaced. Throws Error(Io).
void write_checkpoint(const std::filesystem::path& run, const CheckpointContents& contents);

// Writes one checkpoint at a time on a thread of its own, then removes old ones.
class CheckpointWriter {
 public:
  // `damaged` are steps of checkpoints there that are not whole, and do not count as kept ones.
  CheckpointWriter(std::filesystem::path run, int64_t keep_last, std::set<int64_t> damaged = {});
  // Waits for the write under way; its error, if nobody has asked for it, is lost.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Waits for the checkpoint before this one, then returns at once. Throws what went wrong with the
  // one before. Checkpoints that are beyond keep_last, and are not of best_step, are removed once
  // this one is on disk.
  void submit(CheckpointContents contents, std::optional<int64_t> best_step);
  // Waits for what was submitted, and throws what went wrong with it.
  void wait();

 private:
  void run();

  const std::filesystem::path run_;
  const int64_t keep_last_;
  std::set<int64_t> damaged_;  // the thread's
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<std::pair<CheckpointContents, std::optional<int64_t>>> job_;
  std::exception_ptr error_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace plinth
