#pragma once

// The samples of a training run: sample i is a function of the data set, the options and i alone,
// whoever asks for it.

#include <cstdint>
#include <memory>
#include <vector>

#include "data/loader/packing.h"
#include "data/shards/token_dataset.h"

namespace plinth {

// Targets that the loss leaves out.
inline constexpr int64_t kIgnoredTarget = -100;

struct TokenBatch {
  int64_t rows = 0;
  int64_t length = 0;
  std::vector<int64_t> inputs;   // [rows, length]
  std::vector<int64_t> targets;  // [rows, length]: the next token, or kIgnoredTarget
  int64_t first_sample = 0;      // of the run; row r is sample first_sample + r
  int64_t epoch = 0;             // of the first row
  // Packed documents only: where each begins in the batch read as rows * length positions, then the
  // end: 0, ..., rows * length. A row begins a new one, and so does its padding. Attention stays
  // inside them.
  std::vector<int64_t> cu_seqlens;
};

struct SampleOptions {
  int64_t length = 1024;  // tokens of a row
  uint64_t seed = 0;
  bool shuffle = true;
  // Off: the data set is cut into chunks of `length` tokens, each with the token behind it, across
  // documents; an epoch has (tokens - 1) / length samples and leaves out only the remainder.
  // On: whole documents are packed into rows (packing.h).
  bool pack_documents = false;
  DocumentRule documents = {};
  int64_t pad_id = 0;  // input of positions that no document fills
};

// Const members may be called from several threads at once.
class SampleSource {
 public:
  // Throws Error(Argument) for options that make no sense, and for a data set too small for one
  // sample.
  SampleSource(std::shared_ptr<const TokenDataset> data, const SampleOptions& options);

  const SampleOptions& options() const { return options_; }
  int64_t samples_per_epoch() const { return samples_per_epoch_; }

  // Samples [first, first + rows). In epoch e = i / samples_per_epoch(), sample i is the data's
  // chunk (or packed row) at position i % samples_per_epoch() of the permutation of (seed, e).
  TokenBatch read(int64_t first_sample, int64_t rows) const;

  // Of the data set and, if documents are packed, of where they begin.
  uint64_t fingerprint() const { return fingerprint_; }

 private:
  int64_t place_of(int64_t sample) const;
  void read_chunk(int64_t chunk, int64_t* inputs, int64_t* targets) const;
  void read_packed(int64_t row, int64_t start, TokenBatch& batch) const;

  std::shared_ptr<const TokenDataset> data_;
  SampleOptions options_;
  PackedRows packed_;
  int64_t samples_per_epoch_ = 0;
  uint64_t fingerprint_ = 0;
};

}  // namespace plinth
