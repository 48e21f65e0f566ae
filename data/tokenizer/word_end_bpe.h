#pragma once

// Byte pairs whose last piece of a word is spelled with a suffix, as CLIP has them (Radford et al.
// 2021, arXiv 2103.00020, section 2.4): text is composed (NFC) and lowered, a pattern finds its
// words, and what lies between them is left out.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/tokenizer/bpe.h"
#include "data/tokenizer/pattern.h"

namespace plinth {

struct WordEndSpec {
  std::string suffix = "</w>";
  std::string pattern;           // of words
  bool use_gpt2_pattern = true;  // which cuts each further
  std::string unknown = {};      // stands for a byte that has no token; "": that is an error
  std::string source = {};       // the file's text
};

class WordEndBpe {
 public:
  // Tokens by id, spelled in the byte alphabet; "" where an id has none. Throws Error(Format, name)
  // unless the unknown token is one of them, and for a pattern that is not supported.
  WordEndBpe(const WordEndSpec& spec, const std::vector<std::string>& vocabulary,
             std::vector<std::pair<int32_t, int32_t>> merges, std::vector<int32_t> merged_ids,
             std::string_view name);

  // Appends the ids of valid UTF-8.
  void encode(std::string_view text, BpeScratch& scratch, std::vector<int32_t>& ids) const;
  // What a token of these bytes adds to a text: a space for the suffix.
  std::string decoded(std::string_view token) const;

 private:
  void encode_word(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const;

  WordEndSpec spec_;
  Pattern white_space_, words_, gpt2_;
  std::array<int32_t, 256> inner_{}, last_{};  // tokens of a byte inside a word, and at its end
  Bpe merges_;
};

}  // namespace plinth
