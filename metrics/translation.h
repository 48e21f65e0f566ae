#pragma once

// How close translations are to references, over a whole corpus. Equal to sacrebleu's corpus_bleu
// and corpus_chrf.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace plinth::metrics {

// A segment's references: at least one.
using References = std::vector<std::string>;

enum class BleuTokens {
  V13a,       // the standard for languages with blanks: WMT's mteval-v13a
  Characters  // for Chinese and Japanese
};

struct BleuOptions {
  BleuTokens tokens = BleuTokens::V13a;
  bool lower_case = false;
};

// Papineni et al. 2002, with counts of zero smoothed by halves (Chen and Cherry 2014, method 3).
struct Bleu {
  double score = 0;                       // 0 to 100
  std::array<double, 4> precisions = {};  // percent, of runs of 1 to 4 tokens
  double brevity_penalty = 1;
  int64_t length = 0, reference_length = 0;  // tokens
};

// Throws Error(Argument) unless there are as many hypotheses as sets of references, at least one of
// them, and none is empty.
Bleu corpus_bleu(std::span<const std::string> hypotheses, std::span<const References> references,
                 const BleuOptions& options = {});

struct ChrfOptions {
  int characters = 6;  // runs up to this length
  int words = 0;       // the same; 2: chrF++
  double beta = 2;     // weight of recall
};

// Popovic 2015 and 2017: 0 to 100. Throws what corpus_bleu() does.
double corpus_chrf(std::span<const std::string> hypotheses, std::span<const References> references,
                   const ChrfOptions& options = {});

}  // namespace plinth::metrics
