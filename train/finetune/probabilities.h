#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

namespace plinth {

// softmax of logits.
inline std::vector<double> probabilities(std::span<const double> logits) {
  std::vector<double> shares;
  double sum = 0;
  for (const double logit : logits) {
    shares.push_back(std::exp(logit - std::ranges::max(logits)));
    sum += shares.back();
  }
  for (double& share : shares) share /= sum;
  return shares;
}

}  // namespace plinth
