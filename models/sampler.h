#pragma once

// Choosing the next token from a model's logits.

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace plinth {

struct SamplingOptions {
  double temperature = 1;  // logits are divided by it; 0 takes the most likely token
  int64_t top_k = 0;       // only the k most likely tokens; 0: all
  double top_p = 1;        // only the most likely tokens that have p together, at least one
  // Logits of tokens already there are divided by it where positive and multiplied where negative
  // (Keskar et al. 2019, arXiv 1909.05858, section 4.1); 1: no change.
  double repetition_penalty = 1;
  uint64_t seed = 0;
};

// Applies SamplingOptions::repetition_penalty for the tokens of `history`.
void penalize_repetitions(std::span<float> logits, std::span<const int32_t> history,
                          double penalty);

// Draws tokens; the draw at a position depends on the seed, the position and the logits alone.
class Sampler {
 public:
  // Throws Error(Argument) naming the option that is out of range.
  explicit Sampler(const SamplingOptions& options);

  // The token after `history`. Throws Error(Argument) if no logit is a number.
  int64_t next(std::span<const float> logits, std::span<const int32_t> history);

 private:
  void penalize(std::span<const int32_t> history);
  void keep_most_likely();

  SamplingOptions options_;
  // Token and logit, later probability, reused between calls.
  std::vector<std::pair<int64_t, double>> candidates_;
};

}  // namespace plinth
