#pragma once

// Collecting a vocabulary and its merges from a file, each checked against the rest.

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer/tokenizer_spec.h"

namespace plinth {

class Vocabulary {
 public:
  // For a vocabulary of that many tokens: ids may leave gaps, but none so large that a small file
  // would claim much memory.
  Vocabulary(size_t tokens, std::string_view name) : most_ids_(2 * tokens + 65536), name_(name) {}

  // Throws Error(Format) for an empty token, an id far too high, and an id or a token given twice.
  void add(const std::string& spelling, int32_t id);

  // A merge of two tokens; both and the token that they make must have been added.
  void add_merge(const std::string& left, const std::string& right);
  // "left right"
  void add_merge(std::string_view line);

  // Gives the spec its vocabulary, merges and merged_ids.
  void move_to(TokenizerSpec& spec);

 private:
  [[noreturn]] void refuse(std::string_view what, std::string_view token,
                           std::string_view rest) const;
  int32_t id_of(const std::string& spelling) const;

  size_t most_ids_;
  std::string name_;
  std::vector<std::string> spellings_;
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<std::pair<int32_t, int32_t>> merges_;
  std::vector<int32_t> merged_ids_;
};

// Hugging Face's tokenizers give an added token the id of the vocabulary's token of that spelling,
// else the next free id, whatever the file says. Throws Error(Format) where the file says
// otherwise.
void check_added_ids(const TokenizerSpec& spec, std::string_view name);

}  // namespace plinth
