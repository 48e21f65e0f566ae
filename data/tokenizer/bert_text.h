#pragma once

// What BERT's tokenizers do to text before words are cut into pieces: Hugging Face's BertNormalizer
// and BertPreTokenizer, the same on every code point (scripts/check_tokenizer_parity.py).

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plinth {

struct BertNormalizerSpec {
  bool clean_text = true;             // drops control characters; any white space becomes a space
  bool handle_chinese_chars = true;   // a space on each side of a Chinese character
  std::optional<bool> strip_accents;  // left out: as lowercase
  bool lowercase = true;

  bool strips() const { return strip_accents.value_or(lowercase); }
};

// Of valid UTF-8.
std::string normalize_bert(std::string_view text, const BertNormalizerSpec& spec);

// The normalized text, and which bytes of the original each of its bytes comes from: those of one
// character.
struct AlignedText {
  struct Origin {
    size_t begin = 0, end = 0;
  };
  std::string text;
  std::vector<Origin> origins;
};
AlignedText align_bert(std::string_view text, const BertNormalizerSpec& spec);

// Whether handle_chinese_chars sets the character apart: those of the CJK blocks that BERT names.
bool is_chinese(char32_t c);

// The words of valid UTF-8: what stands between white space, with each mark of punctuation a word
// of its own. Views of the text.
std::vector<std::string_view> split_bert_words(std::string_view text);

}  // namespace plinth
