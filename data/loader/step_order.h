#pragma once

// Which samples of a run a rank is given, batch after batch.

#include <cstdint>

namespace plinth {

// A step's samples are rows * micro_batches * ranks consecutive ones. Of each step this rank has
// micro_batches batches. They lie one behind the other, or, where `turns` neighbouring ranks take
// turns, which divide the ranks, every turns-th in the run of these ranks.
struct StepShare {
  int64_t rows = 8;  // of a batch
  int64_t rank = 0;
  int64_t ranks = 1;
  int64_t micro_batches = 1;
  int64_t turns = 1;
};

// A place in a run of steps and, within a step, how it was shared out: 0 where that is not known,
// and between steps, where it does not matter.
struct SavedPlace {
  int64_t sample = 0;       // the first of the step
  int64_t micro_batch = 0;  // batches of it that were taken
  int64_t samples_per_step = 0;
  int64_t rows = 0;
  int64_t ranks = 0;
  int64_t turns = 0;

  bool operator==(const SavedPlace&) const = default;
};

// Batch n of this rank, counted from the place that restore() sets: a function of n.
class StepOrder {
 public:
  // Throws Error(Argument) for a share that makes no sense.
  explicit StepOrder(const StepShare& share);

  const StepShare& share() const { return share_; }
  int64_t samples_per_step() const { return share_.rows * share_.micro_batches * share_.ranks; }

  // The first sample of a batch.
  int64_t first_sample_of(int64_t batch) const;
  // The next batch, and that it was taken.
  int64_t next() const { return taken_; }
  void take() { ++taken_; }

  // The first sample of the current step, and how many batches of it were taken.
  int64_t sample() const { return origin_ + taken_ / share_.micro_batches * samples_per_step(); }
  int64_t micro_batch() const { return taken_ % share_.micro_batches; }
  // Where the next batch lies.
  SavedPlace place() const;
  // The next batch is the one behind that place. Between steps they may have been shared out
  // otherwise, within one they may not: the batches taken would be others. Throws Error(Config),
  // and stays.
  void restore(const SavedPlace& place);

 private:
  StepShare share_;
  int64_t origin_ = 0;  // sample where the counting of batches starts
  int64_t taken_ = 0;   // batches since
};

}  // namespace plinth
