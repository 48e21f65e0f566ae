#include "data/loader/sample_source.h"

#define XXH_INLINE_ALL
#include <xxhash.h>
#undef XXH_INLINE_ALL

#include <algorithm>

#include "core/error.h"
#include "data/loader/permutation.h"

namespace plinth {
namespace {

uint64_t hash_of(const PackedRows& packed, uint64_t seed) {
  uint64_t hash = seed;
  for (const DocumentPiece& piece : packed.pieces) {
    const int64_t place[] = {piece.begin, piece.size};
    hash = XXH3_64bits_withSeed(place, sizeof place, hash);
  }
  return hash;
}

}  // namespace

SampleSource::SampleSource(std::shared_ptr<const TokenDataset> data, const SampleOptions& options)
    : data_(std::move(data)), options_(options), fingerprint_(data_->fingerprint()) {
  constexpr int64_t kLongest = int64_t{1} << 32;
  check(options.length >= 1 && options.length <= kLongest, ErrorKind::Argument, "loader",
        "length is ", options.length, ", expected 1 to ", kLongest);
  if (options.pack_documents) {
    check(options.length >= 2, ErrorKind::Argument, "loader", "length is ", options.length,
          ", expected at least 2 to pack documents");
    packed_ =
        pack_documents(data_->document_starts(options.documents), data_->size(), options.length);
    samples_per_epoch_ = packed_.rows();
    fingerprint_ = hash_of(packed_, fingerprint_);
    check(samples_per_epoch_ > 0, ErrorKind::Argument, "loader", "the data set of ", data_->size(),
          " tokens has no document of two tokens or more");
  } else {
    samples_per_epoch_ = std::max<int64_t>(0, data_->size() - 1) / options.length;
    check(samples_per_epoch_ > 0, ErrorKind::Argument, "loader", "the data set has ", data_->size(),
          " tokens, expected at least ", options.length + 1, " for one sample of length ",
          options.length);
  }
}

int64_t SampleSource::place_of(int64_t sample) const {
  const int64_t position = sample % samples_per_epoch_;
  if (!options_.shuffle) return position;
  const auto epoch = static_cast<uint64_t>(sample / samples_per_epoch_);
  return Permutation(samples_per_epoch_, options_.seed, epoch)(position);
}

TokenBatch SampleSource::read(int64_t first_sample, int64_t rows) const {
  check(first_sample >= 0 && rows >= 1 && rows <= INT64_MAX - first_sample, ErrorKind::Argument,
        "loader", "asked for ", rows, " samples from ", first_sample);
  TokenBatch batch;
  batch.rows = rows;
  batch.length = options_.length;
  batch.first_sample = first_sample;
  batch.epoch = first_sample / samples_per_epoch_;
  const auto positions = static_cast<size_t>(rows * options_.length);
  batch.inputs.resize(positions);
  batch.targets.resize(positions);
  if (options_.pack_documents) batch.cu_seqlens.push_back(0);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t place = place_of(first_sample + row);
    const int64_t start = row * options_.length;
    if (options_.pack_documents) {
      read_packed(place, start, batch);
    } else {
      read_chunk(place, batch.inputs.data() + start, batch.targets.data() + start);
    }
  }
  return batch;
}

void SampleSource::read_chunk(int64_t chunk, int64_t* inputs, int64_t* targets) const {
  const int64_t begin = chunk * options_.length;
  data_->copy(begin, begin + options_.length, inputs);
  std::copy(inputs + 1, inputs + options_.length, targets);
  data_->copy(begin + options_.length, begin + options_.length + 1, targets + options_.length - 1);
}

// Fills the row that starts at position `start` of the batch.
void SampleSource::read_packed(int64_t row, int64_t start, TokenBatch& batch) const {
  const int64_t end = start + options_.length;
  for (const DocumentPiece& piece : packed_.row(row)) {
    int64_t* inputs = batch.inputs.data() + start;
    int64_t* targets = batch.targets.data() + start;
    const int64_t last = piece.size - 1;
    data_->copy(piece.begin, piece.begin + piece.size, inputs);
    std::copy(inputs + 1, inputs + piece.size, targets);
    targets[last] = kIgnoredTarget;
    if (piece.continues)
      data_->copy(piece.begin + piece.size, piece.begin + piece.size + 1, targets + last);
    start += piece.size;
    batch.cu_seqlens.push_back(start);
  }
  if (start == end) return;
  std::fill(batch.inputs.begin() + start, batch.inputs.begin() + end, options_.pad_id);
  std::fill(batch.targets.begin() + start, batch.targets.begin() + end, kIgnoredTarget);
  batch.cu_seqlens.push_back(end);
}

}  // namespace plinth
