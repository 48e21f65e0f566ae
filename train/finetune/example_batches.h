#pragma once

// A task's samples in the order in which they are trained on.

#include <cstdint>
#include <string>

#include "train/finetune/task.h"

namespace plinth {

// Sample i of a run is, in epoch i / size, the one at place i % size of that epoch's permutation of
// (seed, epoch): a function of i, so that a run that goes on from a checkpoint sees the same.
class ExampleBatches final : public BatchSource {
 public:
  struct Options {
    uint64_t seed = 0;
    int64_t width = 0;         // of every batch; 0: as each needs
    uint64_t fingerprint = 0;  // of the data's files
  };
  // The data must outlive it. Throws Error(Argument) for data without samples.
  ExampleBatches(const TaskData& data, const Options& options);

  Batch next(int64_t count) override;
  std::string state() const override;
  // Throws Error(Config) for the state of other data or of another seed.
  void restore(std::string_view state) override;

 private:
  SampleKey key_of(int64_t sample) const;

  const TaskData& data_;
  Options options_;
  int64_t sample_ = 0;  // the next
};

// A number that files with the same bytes share, and folders whose files have the same names and
// sizes. Throws Error(Io).
uint64_t fingerprint_of(const std::vector<std::filesystem::path>& files);

}  // namespace plinth
