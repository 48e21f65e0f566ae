#pragma once

// Writing token files, in llm.c's format.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/io/file.h"

namespace plinth {

// One file, as it comes. The file appears, whole, when it is committed; otherwise what was there
// stays. Tokens are uint16 if the vocabulary fits, else uint32.
class ShardWriter {
 public:
  // As many as the format's header can count.
  static constexpr int64_t kMostTokens = INT32_MAX;

  ShardWriter(const std::filesystem::path& path, int64_t vocab_size);

  // Throws Error(Argument) for an id outside the vocabulary, or more tokens than the format holds.
  void append(std::span<const int32_t> tokens);
  int64_t size() const { return tokens_; }
  void commit();

 private:
  void flush();

  std::string name_;
  int64_t vocab_size_;
  int64_t tokens_ = 0;
  std::vector<std::byte> buffer_;
  AtomicFile file_;
};

// A folder of shards NAME_00000.bin, NAME_00001.bin, ... Each is committed when it is full. None of
// them may exist: Error(Argument).
class DatasetWriter {
 public:
  DatasetWriter(const std::filesystem::path& folder, std::string name, int64_t vocab_size,
                int64_t tokens_per_shard = 100'000'000);

  // A document goes whole into one shard, if it fits into one at all; then the next shard begins.
  void append_document(std::span<const int32_t> tokens);

  // Commits the last shard. Throws Error(Argument) if there were no tokens.
  void finish();

  int64_t tokens() const { return tokens_; }
  const std::vector<std::filesystem::path>& paths() const { return paths_; }

 private:
  void begin_shard();

  std::filesystem::path folder_;
  std::string name_;
  int64_t vocab_size_;
  int64_t tokens_per_shard_;
  int64_t tokens_ = 0;
  std::optional<ShardWriter> shard_;
  std::vector<std::filesystem::path> paths_;
};

}  // namespace plinth
