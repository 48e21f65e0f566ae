#pragma once

// How much summaries share with references (Lin 2004). Equal to the package rouge-score without
// stemming: words are runs of a to z and digits, in lower case.

#include <span>
#include <string>

#include "metrics/classification.h"

namespace plinth::metrics {

struct Rouge {
  F1 one, two;  // runs of one and two words
  F1 l;         // the longest common subsequence
  F1 l_sum;     // the same by lines: the union of each reference line's with all lines
};

Rouge rouge(const std::string& summary, const std::string& reference);
// The mean of all. Throws Error(Argument) unless there are as many summaries as references, and at
// least one.
Rouge mean_rouge(std::span<const std::string> summaries, std::span<const std::string> references);

}  // namespace plinth::metrics
