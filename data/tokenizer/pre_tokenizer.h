#pragma once

// Cutting text into pre-tokens, the pieces inside which byte pairs are merged.

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/pattern.h"

namespace plinth {

// What Hugging Face calls Split (behaviour "Isolated") and Digits steps, then a ByteLevel step.
struct PreTokenizerSpec {
  // Applied in order, each to the pieces of the one before: its matches and the gaps between them
  // become pieces.
  std::vector<std::string> splits;
  // ByteLevel: a space goes before each piece that does not begin with one, then GPT-2's pattern
  // cuts it.
  bool add_prefix_space = false;
  bool use_gpt2_pattern = true;
};

// A pre-token: bytes [begin, end) of the text, with a space before them if `prefixed`.
struct Piece {
  size_t begin : 63;
  size_t prefixed : 1;
  size_t end;
};

using PieceBlock = std::vector<Piece>;

// The word of a prefixed piece.
inline std::string with_prefix(std::string_view bytes) {
  std::string word(1, ' ');
  return word.append(bytes);
}

class PreTokenizer {
 public:
  // Throws Error(Format, subject) for patterns that are malformed or not supported.
  PreTokenizer(const PreTokenizerSpec& spec, std::string_view subject);

  const PreTokenizerSpec& spec() const { return spec_; }

  // Appends the pieces of valid UTF-8 text; together they cover it.
  void split(std::string_view text, PieceBlock& pieces) const;

  // The same pieces, found by several threads and handed over a few blocks at a time: calls
  // take(blocks) until the blocks, in order, hold them all. Memory stays bounded however long the
  // text is.
  void split_long(std::string_view text,
                  const std::function<void(std::span<const PieceBlock>)>& take) const;

 private:
  struct ChunkScan;

  size_t step(std::string_view text, size_t from, PieceBlock& pieces) const;
  ChunkScan scan_chunk(std::string_view text, size_t begin, size_t end) const;
  size_t join(std::string_view text, size_t position, ChunkScan& scan, PieceBlock& pieces) const;
  void split_from_level(std::string_view text, size_t begin, size_t end, size_t level,
                        PieceBlock& pieces) const;
  void split_bytes(std::string_view text, size_t begin, size_t end, PieceBlock& pieces) const;

  PreTokenizerSpec spec_;
  // One a level: the splits, then GPT-2's pattern if no prefix comes between.
  std::vector<Pattern> levels_;
  std::vector<Pattern> behind_prefix_;  // GPT-2's pattern if a prefix comes before it
};

}  // namespace plinth
