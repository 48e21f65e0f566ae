#pragma once

// Batches of token sequences for pretraining: shuffled, the same on any number of ranks, resumable
// to the exact batch.
//
//   auto data = std::make_shared<TokenDataset>(TokenDataset::open("data/train_*.bin"));
//   TokenLoader loader(data, {.samples = {.length = 1024, .seed = 1}, .rows = 8});
//   TokenBatch batch = loader.next();
//   std::string saved = to_json(loader.position());
//   ...
//   loader.restore(parse_loader_position(saved));

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "data/loader/prefetcher.h"
#include "data/loader/sample_source.h"
#include "data/loader/step_order.h"

namespace plinth {

struct LoaderOptions {
  SampleOptions samples = {};
  int64_t rows = 8;  // of a batch

  // Data parallel: what this loader gives of each step, as StepShare has it.
  int64_t rank = 0;
  int64_t ranks = 1;
  int64_t micro_batches = 1;
  int64_t turns = 1;

  int64_t prefetch = 2;  // batches made ahead by a thread; 0: next() makes them

  StepShare share() const { return {rows, rank, ranks, micro_batches, turns}; }
};

// Where a run stands. The same on all ranks.
struct LoaderPosition {
  int64_t epoch = 0;      // of place.sample
  SavedPlace place = {};  // whose sample is counted over the whole run
  uint64_t seed = 0;
  int64_t length = 0;
  bool shuffle = true;
  bool pack_documents = false;
  uint64_t fingerprint = 0;  // of the data set

  bool operator==(const LoaderPosition&) const = default;
};

std::string to_json(const LoaderPosition& position);
// Throws Error(Format).
LoaderPosition parse_loader_position(std::string_view json);

// next, position and restore are for one thread; read may be called from several.
class TokenLoader {
 public:
  // Throws Error(Argument).
  TokenLoader(std::shared_ptr<const TokenDataset> data, const LoaderOptions& options);
  ~TokenLoader();

  // Never ends: epoch follows epoch. A batch may hold the end of one and the start of the next.
  TokenBatch next();

  // Samples [first_sample, first_sample + rows), whatever the position.
  TokenBatch read(int64_t first_sample) const;

  int64_t samples_per_epoch() const { return source_.samples_per_epoch(); }
  int64_t samples_per_step() const { return order_.samples_per_step(); }

  // Counts batches that next() gave, not those made ahead.
  LoaderPosition position() const;

  // The next batch is the one that followed when the position was taken. Between steps, rows, ranks
  // and micro_batches may be others than then. Throws Error(Config) if the data set differs, or an
  // option that decides what a sample is; the loader then stays where it was.
  void restore(const LoaderPosition& position);

 private:
  void start_prefetch();

  const SampleSource source_;
  const LoaderOptions options_;
  StepOrder order_;
  std::unique_ptr<Prefetcher<TokenBatch>> prefetcher_;
};

// Every sample once, in order: for validation.
class ValidationLoader {
 public:
  // Does not shuffle, whatever the options say.
  ValidationLoader(std::shared_ptr<const TokenDataset> data, SampleOptions options, int64_t rows);

  int64_t batches() const;
  // The last one may have fewer rows. Throws Error(Argument) beyond it.
  TokenBatch batch(int64_t index) const;

 private:
  SampleSource source_;
  int64_t rows_;
};

}  // namespace plinth
