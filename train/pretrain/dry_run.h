#pragma once

// What memory a rank of a pretraining run takes, without the run: its very step on a dry run of the
// CPU (core/dry_run.h), with ranks that are not there (distributed/dry/dry_group.h).

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "distributed/dry/dry_group.h"
#include "train/batch_source.h"
#include "train/memory/trace.h"
#include "train/pretrain/config.h"

namespace plinth {

struct DryRunOptions {
  int ranks = 1;
  int rank = 0;
  distributed::DryTransfers transfers = distributed::DryTransfers::WhenWaited;
};

// In bytes of blocks, as the CPU's allocator counts them (MemoryStats).
struct DryRunReport {
  int64_t parameters = 0;  // elements, of the whole model
  int64_t setup_peak = 0;  // until the first step: the model is drawn, placed, cut
  int64_t first_peak = 0;  // of the first step, at whose end the optimizer's state is made
  int64_t peak = 0;        // of the second step, as of all that follow
  int64_t before = 0;      // before it
  StepPlace peak_place;
  BytesByKind by_kind = {};           // at the peak
  std::vector<TracedTensor> tensors;  // at the peak, the largest first
  std::vector<MemorySample> samples;  // of the second step
};

// Two steps of one rank. Throws Error as pretrain() does for a configuration that does not fit
// together or does not go with so many ranks; Error(Argument) for a rank that there is not.
DryRunReport dry_run(const PretrainConfig& config, const ConfigSchema& schema,
                     const DryRunOptions& options = {});

// What a run would train.
struct DryModel {
  std::string config_json;
  int64_t context = 0;  // tokens of a training sequence
};
// Throws Error as pretrain() does.
DryModel dry_model(const PretrainConfig& config, const ConfigSchema& schema);

// Micro-batches of zeros, {ids, targets} int64 [count, length] each, in memory that is no
// allocator's, as a loader's is.
class ZeroBatches : public BatchSource {
 public:
  // Calls `on_next` before each.
  explicit ZeroBatches(std::function<void()> on_next = {}) : on_next_(std::move(on_next)) {}
  void set_length(int64_t length) { length_ = length; }
  Batch next(int64_t count) override;
  std::string state() const override { return ""; }
  void restore(std::string_view) override {}

 private:
  int64_t length_ = 0;
  std::function<void()> on_next_;
};

}  // namespace plinth
