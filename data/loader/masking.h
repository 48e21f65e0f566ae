#pragma once

// Masked-language-model samples (Devlin et al. 2019, arXiv 1810.04805, section 3.1): some tokens of
// a sequence are to be predicted from all others. Of these, in the mean, 80 % are replaced by
// [MASK], 10 % by a token at random, and 10 % stay.
//
// Every sequence of a length has the same number of predicted tokens, as with the
// max_predictions_per_seq of the original. So a mean over those of a micro-batch weighs each
// sequence alike, and the loss of a step does not depend on how it is cut into micro-batches.
//
// Masking of whole words (of May 2019 in the original's repository) draws words, and masks each
// that still has room in that number with all its tokens, of which each draws its own replacement.
// So a sequence may have a token or two less.
//
// What is masked depends on the seed and on the number of the sample in the run alone, whoever asks
// for it; another epoch masks other tokens.

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace plinth {

struct MaskingOptions {
  double share = 0.15;     // of a sequence's tokens that are predicted; at least one is
  int64_t mask_token = 0;  // the id of [MASK]
  int64_t vocab_size = 0;  // ids that replace a token at random lie below it
  std::optional<int64_t> first = {}, last = {};  // put around each sequence: [CLS] and [SEP]
  std::vector<int64_t> kept = {};                // ids that are never predicted
  // By id, whether it goes on with the word of the token before it: words are masked as a whole.
  // Empty: each token is.
  std::vector<bool> continues = {};
  uint64_t seed = 0;
  uint64_t stream = 0;  // another one gives the same samples other masks: for validation
};

class TokenMasker {
 public:
  // Throws Error(Argument) for a share outside (0, 1), and for ids outside the vocabulary.
  explicit TokenMasker(MaskingOptions options);

  // Tokens that a sequence gets around it.
  int64_t added() const { return (options_.first ? 1 : 0) + (options_.last ? 1 : 0); }
  // Sample number `sample` of `tokens`: writes tokens.size() + added() ids and targets, of which
  // those of tokens that are not predicted are kIgnoredTarget. There are fewer predicted tokens
  // than the share where all others are kept, and more where the one word that is drawn is longer.
  void mask(int64_t sample, std::span<const int64_t> tokens, int64_t* ids, int64_t* targets) const;

 private:
  struct Word {
    uint32_t draw;  // of its first token
    int64_t begin, end;
    bool operator<(const Word& other) const {
      return draw != other.draw ? draw < other.draw : begin < other.begin;
    }
  };
  bool continues(int64_t token) const;
  // Those of `tokens` that may be predicted, by what their first tokens draw.
  std::vector<Word> words_of(std::span<const int64_t> tokens,
                             const std::function<uint32_t(int64_t position)>& draw) const;

  MaskingOptions options_;
};

}  // namespace plinth
