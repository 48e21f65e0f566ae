#pragma once

// Counting the pre-tokens of texts, for training.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/tokenizer/bert_text.h"
#include "data/tokenizer/pre_tokenizer.h"

namespace plinth {

// The distinct pre-tokens and how often each occurs, sorted by their bytes. Ill-formed UTF-8 is cut
// as in encoding. Several threads count; the result does not depend on how many.
std::vector<std::pair<std::string, int64_t>> count_words(std::span<const std::string_view> texts,
                                                         const PreTokenizer& pre_tokenizer);

// The same of BERT's words, of normalized text.
std::vector<std::pair<std::string, int64_t>> count_bert_words(
    std::span<const std::string_view> texts, const BertNormalizerSpec& spec);

}  // namespace plinth
