#pragma once

// WordPiece (Schuster & Nakajima 2012; Devlin et al. 2019): each word is cut into the longest
// tokens of the vocabulary, from left to right; those inside a word are spelled with a prefix.

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer/bert_text.h"

namespace plinth {

struct WordPieceSpec {
  BertNormalizerSpec normalizer;
  std::string unknown = "[UNK]";  // stands for a word that tokens do not make up
  std::string prefix = "##";
  int64_t most_characters = 100;  // a longer word is unknown
  bool cleanup = true;            // decoding leaves out spaces before marks, as English has none
};

// A token and the bytes of a text that it stands for.
struct TokenSpan {
  int32_t id = 0;
  size_t begin = 0, end = 0;
};

class WordPiece {
 public:
  // Tokens by id, "" where an id has none. Throws Error(Format, name) unless the unknown token is
  // one of them.
  WordPiece(const WordPieceSpec& spec, const std::vector<std::string>& vocabulary,
            std::string_view name);

  // Appends the ids of valid UTF-8. All threads encode a text of 1 MiB or more.
  void encode(std::string_view text, std::vector<int32_t>& ids) const;
  // The same with the bytes of `text` that each token stands for; `offset` is added to them.
  void encode(std::string_view text, size_t offset, std::vector<TokenSpan>& tokens) const;
  // What a token adds to a text: it goes on with the word before it, or begins a new one.
  std::string decoded(std::string_view token, bool is_first) const;
  // Whether a token goes on with the word before it, for masking of whole words. A Chinese
  // character never does: it is a word of its own.
  bool continues(std::string_view token) const;

 private:
  void encode_part(std::string_view text, std::vector<int32_t>& ids) const;
  // Appends to `ends`, if it is given, where in the word each token ends.
  void encode_word(std::string_view word, std::vector<int32_t>& ids,
                   std::vector<size_t>* ends = nullptr) const;

  WordPieceSpec spec_;
  std::unordered_map<std::string, int32_t> ids_;
  int32_t unknown_ = 0;
  size_t longest_ = 0;  // bytes of a token
};

}  // namespace plinth
