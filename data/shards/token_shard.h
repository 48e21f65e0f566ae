#pragma once

// One file of token ids, mapped into memory.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/io/file.h"
#include "data/shards/formats.h"

namespace plinth {

// Const members may be called from several threads at once.
class TokenShard {
 public:
  // A file in any of the formats of formats.h: Megatron's if NAME.idx lies beside NAME.bin (either
  // may be given), else llm.c's or nanoGPT's by the first bytes, unless `format` says which. Throws
  // Error(Io) or Error(Format) naming the file and what was expected.
  static TokenShard open(const std::filesystem::path& path,
                         std::optional<ShardFormat> format = std::nullopt);

  const std::string& name() const { return name_; }
  ShardFormat format() const { return layout_.format; }
  int token_bytes() const { return layout_.token_bytes; }

  // Number of tokens.
  int64_t size() const { return layout_.tokens; }

  // Throws Error(Argument) beyond the end.
  uint32_t token(int64_t index) const;

  // Tokens [begin, end). Throws Error(Argument) if that is no range of the shard.
  void copy(int64_t begin, int64_t end, int32_t* out) const;
  void copy(int64_t begin, int64_t end, int64_t* out) const;

  // Where documents start, if the format says so (Megatron).
  std::span<const int64_t> document_starts() const { return layout_.document_starts; }

  // Appends to `positions` those where the token is `id`, each increased by `shift`.
  void find(uint32_t id, int64_t shift, std::vector<int64_t>& positions) const;

  // Throws Error(Format) naming the first token whose id is not below vocab_size.
  void validate(int64_t vocab_size) const;

  // A hash of the size and of samples of the content: its start, its end, and 64 places between.
  // Tells data sets apart that differ by mistake, in constant time.
  uint64_t fingerprint() const;

 private:
  TokenShard(MappedFile file, ShardLayout layout, std::string name);

  template <class Use>
  void with_tokens(int64_t begin, int64_t end, Use&& use) const;

  MappedFile file_;
  ShardLayout layout_;
  std::string name_;
};

}  // namespace plinth
