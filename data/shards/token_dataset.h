#pragma once

// Token files, one behind the other, as one sequence of tokens.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/shards/token_shard.h"

namespace plinth {

// How documents are told apart in formats that have no index of them (llm.c, nanoGPT): by a token,
// at the end of each, as nanoGPT's scripts and Plinth's write it, or at its start, as llm.c's do.
struct DocumentRule {
  enum class Place { End, Start };
  std::optional<int32_t> eos = std::nullopt;  // nullopt: such files are one document
  Place place = Place::End;
};

// Const members may be called from several threads at once.
class TokenDataset {
 public:
  // Each path is a file, a folder (its *.bin, by name), or a pattern such as "train_*.bin" (its
  // matches, by name). A Megatron index whose NAME.bin is there, too, is no second file. Throws
  // Error(Io) or Error(Format) naming what is missing or wrong.
  static TokenDataset open(std::span<const std::string> paths);
  static TokenDataset open(const std::string& path) { return open(std::span(&path, 1)); }

  explicit TokenDataset(std::vector<TokenShard> shards);

  std::span<const TokenShard> shards() const { return shards_; }
  int64_t size() const { return starts_.back(); }

  // Tokens [begin, end), across shards. Throws Error(Argument) if that is no range of the data set.
  void copy(int64_t begin, int64_t end, int32_t* out) const;
  void copy(int64_t begin, int64_t end, int64_t* out) const;

  // Where documents start, ascending; the first is 0 unless the data set is empty. One that a token
  // delimits may go on in the next shard. Reads all tokens, unless every shard has an index.
  std::vector<int64_t> document_starts(const DocumentRule& rule) const;

  // Throws Error(Format) naming file and position of the first id that is not below vocab_size.
  void validate(int64_t vocab_size) const;

  // Tells data sets apart: hashes the shards' fingerprints, in order; not their names.
  uint64_t fingerprint() const;

 private:
  template <class Id>
  void copy_range(int64_t begin, int64_t end, Id* out) const;

  std::vector<TokenShard> shards_;
  std::vector<int64_t> starts_;  // of each shard; then the total
};

}  // namespace plinth
