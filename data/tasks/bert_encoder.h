#pragma once

// What BERT reads (Devlin et al. 2019, section 4): [CLS] a [SEP] or [CLS] a [SEP] b [SEP], cut to
// the model's length as Hugging Face's tokenizers cut it.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/tokenizer.h"

namespace plinth {

struct EncodedText {
  std::vector<int32_t> ids;
  int64_t second = 0;  // tokens from here on are of segment 1; ids.size(): none
};

// Words, each cut by itself.
struct EncodedWords {
  std::vector<int32_t> ids;
  std::vector<int64_t> first;  // of each word its first token; -1: cut off, or it has none
};

// A part of a context behind its question.
struct EncodedWindow {
  std::vector<int32_t> ids;
  int64_t second = 0;
  std::vector<TokenSpan> context;  // tokens second, second + 1, ...: bytes of the context
};

class BertEncoder {
 public:
  // Of at most `length` tokens. The tokenizer must outlive it. Throws Error(Format) unless that has
  // word pieces with [CLS] and [SEP], Error(Argument) for a length below 5.
  BertEncoder(const Tokenizer& tokenizer, int64_t length);

  int64_t length() const { return length_; }
  // The id that fills rows up.
  int32_t padding() const { return padding_; }

  // The end is cut off.
  EncodedText encode(std::string_view text) const;
  // The longer of the two is cut first ("longest_first").
  EncodedText encode(std::string_view first, std::string_view second) const;
  EncodedWords encode_words(std::span<const std::string> words) const;
  // The whole context, in windows, of which each has the last `stride` tokens of the one before
  // (or fewer, if it holds no more than these). A question that leaves a window no room for a new
  // token is cut.
  std::vector<EncodedWindow> encode_windows(std::string_view question, std::string_view context,
                                            int64_t stride) const;

 private:
  const Tokenizer* tokenizer_;
  int64_t length_;
  int32_t cls_, sep_, padding_;
};

}  // namespace plinth
