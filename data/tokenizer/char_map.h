#pragma once

// The rules of replacement that SentencePiece compiles into a model ("precompiled_charsmap"), such
// as NFKC's: a double-array trie of what is replaced, and the texts that replace it.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plinth {

class CharMap {
 public:
  // From the bytes of a model file: the trie's size, the trie, and texts that each end with a zero.
  // Throws Error(Format, name) unless all places in it lie within it: who has checked a map so may
  // give it to libsentencepiece.
  CharMap(std::string_view compiled, std::string_view name);

  // Replaces as Hugging Face's Precompiled does, which is not quite as SentencePiece does: a user
  // perceived character below 6 bytes by the rule for its shortest beginning, else each code point
  // by its own. The text is valid UTF-8.
  std::string apply(std::string_view text) const;

 private:
  // What replaces the shortest beginning of `text` that has a rule.
  std::optional<std::string_view> rule(std::string_view text) const;

  std::vector<uint32_t> units_;
  std::string texts_;
};

}  // namespace plinth
