#pragma once

// Learning the merges of byte pair encoding, and the pieces of words, from counted words.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plinth {

struct BpeVocabulary {
  std::vector<std::string> spellings;  // by id
  std::vector<std::pair<int32_t, int32_t>> merges;
  std::vector<int32_t> merged_ids;
};

// Starts from the special tokens and the 256 bytes (in the order of their characters in the byte
// alphabet), then joins, again and again, the pair that occurs most often, of equals the one with
// the lowest ids, until the vocabulary has vocab_size tokens or no pair occurs min_frequency times.
// Gives the vocabulary and the merges, in order, of Hugging Face's BpeTrainer. (Its counts wrap
// around at 2^31; these are 64 bits wide.)
BpeVocabulary train_bpe(std::span<const std::pair<std::string, int64_t>> words,
                        std::span<const std::string> special_tokens, int64_t vocab_size,
                        int64_t min_frequency);

// The same from characters in place of bytes, where what does not begin a word is spelled with the
// prefix ("##"): the tokens of a WordPiece, by id. Characters come first, those that begin a word
// or not, then those with the prefix, in the order of their code points. There are more tokens than
// vocab_size if these alone are more. Gives the tokens of Hugging Face's WordPieceTrainer, whose
// numbers and choice between pairs of equal counts vary from run to run.
std::vector<std::string> train_word_pieces(std::span<const std::pair<std::string, int64_t>> words,
                                           std::span<const std::string> special_tokens,
                                           std::string_view prefix, int64_t vocab_size,
                                           int64_t min_frequency);

}  // namespace plinth
