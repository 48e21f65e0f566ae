#pragma once

// Pairs of texts for next-sentence prediction (Devlin et al. 2019, arXiv 1810.04805, section 3.1):
// in half of all samples the second text follows the first in the data, in the others it is from
// elsewhere. As in the original a text is a run of tokens that may be several sentences.
//
// A sample is a chunk of the data set, cut in two where a word begins. Of the other half of samples
// the second text begins at a place of the whole data set that is drawn, and has the rest's length,
// so that all samples have one length. Of samples 2k and 2k + 1 one is of each kind. All that is
// drawn depends on the seed and on the number of the sample alone.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "data/shards/token_dataset.h"

namespace plinth {

struct SentencePairOptions {
  // By id, whether a token goes on with the word before it: no text begins with one, where there is
  // another to begin with. Empty: none does.
  std::vector<bool> continues = {};
  uint64_t seed = 0;
  uint64_t stream = 0;  // another one gives the same samples other pairs: for validation
};

struct SentencePair {
  std::vector<int64_t> tokens;  // of both, as many as the chunk has
  int64_t first_length = 0;     // of these, the first text's
  bool is_next = true;
  bool operator==(const SentencePair&) const = default;
};

// Const members may be called from several threads at once.
class SentencePairs {
 public:
  SentencePairs(std::shared_ptr<const TokenDataset> data, SentencePairOptions options);

  // Sample number `sample`, of this chunk of the data. Throws Error(Argument) for fewer than 2
  // tokens, or more than the data set has.
  SentencePair pair(int64_t sample, std::span<const int64_t> chunk) const;

 private:
  bool continues(int64_t token) const;
  int64_t cut(int64_t sample, std::span<const int64_t> chunk) const;
  std::vector<int64_t> elsewhere(int64_t sample, std::span<const int64_t> next) const;

  std::shared_ptr<const TokenDataset> data_;
  SentencePairOptions options_;
};

}  // namespace plinth
