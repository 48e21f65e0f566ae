#pragma once

// Unigram language model (Kudo 2018, arXiv 1804.10959, section 3.2): of all ways to cut a word into
// tokens, the one whose scores (log-probabilities) have the largest sum.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plinth {

struct UnigramSpec {
  std::vector<std::string> tokens;  // by id
  std::vector<double> scores;
  std::optional<int32_t> unknown;  // stands for characters that no token begins with
  std::vector<bool> special;       // by id: found in texts only where special tokens are allowed
  // Of <0x00> to <0xFF>, which stand for characters without a token; else those are unknown.
  std::optional<std::array<int32_t, 256>> byte_ids;
};

class Unigram {
 public:
  explicit Unigram(UnigramSpec spec);

  // Appends the ids of valid UTF-8. Characters in a row that are unknown are one token. Throws
  // Error(Format, "tokenizer") for an unknown character if there is no unknown token.
  void encode(std::string_view word, bool allow_special, std::vector<int32_t>& ids) const;

 private:
  // Calls visit(id, bytes) for each token that `text` begins with, the shortest first.
  template <class Visit>
  void for_each_prefix(std::string_view text, const Visit& visit) const;
  void append_unknown(std::string_view characters, std::vector<int32_t>& ids) const;

  UnigramSpec spec_;
  std::vector<int32_t> sorted_;        // ids by spelling
  std::array<uint32_t, 257> first_{};  // where in sorted_ the tokens with a first byte begin
  double unknown_score_ = 0;
};

}  // namespace plinth
