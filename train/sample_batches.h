#pragma once

// Batches of samples that are numbered, and made one by one.

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "data/images/sample_random.h"
#include "data/loader/prefetcher.h"
#include "data/loader/token_loader.h"
#include "train/batch_source.h"

namespace plinth {

// What the samples are made of.
struct NumberedSamples {
  int64_t count = 0;         // of an epoch
  uint64_t fingerprint = 0;  // tells data sets apart
  // The batch of these samples, a function of their keys alone. Called by a thread of the source's.
  std::function<Batch(std::span<const SampleKey> keys)> make;
};

// Sample i of a run is, in epoch e = i / count, number i % count of the data, or that at this place
// of the permutation of (seed, e). Of options, `samples` has seed and shuffle.
class SampleBatches final : public BatchSource {
 public:
  // Throws Error(Argument) for data without samples, and for options that make no sense.
  SampleBatches(NumberedSamples data, const LoaderOptions& options);

  // Throws Error(Argument) for another count than options.rows, and what `make` does.
  Batch next(int64_t count) override;
  std::string state() const override;
  // Throws Error(Config) for the state of other data, or of another seed or order.
  void restore(std::string_view state) override;

 private:
  LoaderPosition position() const;
  Batch make(int64_t first_sample) const;
  void start_prefetch();

  const NumberedSamples data_;
  const LoaderOptions options_;
  StepOrder order_;
  std::unique_ptr<Prefetcher<Batch>> prefetcher_;
};

}  // namespace plinth
