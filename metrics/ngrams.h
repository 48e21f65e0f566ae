#pragma once

// Runs of n tokens, counted.

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace plinth::metrics {

using Ngrams = std::map<std::vector<std::string>, int64_t>;

inline Ngrams count_ngrams(std::span<const std::string> tokens, size_t n) {
  Ngrams counts;
  for (size_t i = 0; i + n <= tokens.size(); ++i) {
    const auto run = tokens.subspan(i, n);
    ++counts[{run.begin(), run.end()}];
  }
  return counts;
}

inline int64_t total(const Ngrams& ngrams) {
  int64_t sum = 0;
  for (const auto& [run, count] : ngrams) sum += count;
  return sum;
}

// As often as in both.
inline int64_t shared(const Ngrams& a, const Ngrams& b) {
  int64_t sum = 0;
  for (const auto& [run, count] : a) {
    const auto found = b.find(run);
    if (found != b.end()) sum += std::min(count, found->second);
  }
  return sum;
}

}  // namespace plinth::metrics
