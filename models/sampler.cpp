#include "models/sampler.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "kernels/philox.h"

namespace plinth {

namespace {

using Candidate = std::pair<int64_t, double>;

// Likelier first; of equals, the lower token first.
bool likelier(const Candidate& a, const Candidate& b) {
  return a.second != b.second ? a.second > b.second : a.first < b.first;
}

// Logits of a sorted list become probabilities.
void softmax(std::vector<Candidate>& sorted, double temperature) {
  const double largest = sorted.front().second;
  double sum = 0;
  for (auto& [token, value] : sorted) sum += value = std::exp((value - largest) / temperature);
  for (auto& [token, value] : sorted) value /= sum;
}

double penalized(double logit, double penalty) {
  return logit > 0 ? logit / penalty : logit * penalty;
}

// Each once, of those below `count`.
std::vector<int32_t> distinct(std::span<const int32_t> history, size_t count) {
  std::vector<int32_t> seen(history.begin(), history.end());
  std::erase_if(seen, [&](int32_t id) { return id < 0 || static_cast<size_t>(id) >= count; });
  std::ranges::sort(seen);
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  return seen;
}

}  // namespace

void penalize_repetitions(std::span<float> logits, std::span<const int32_t> history,
                          double penalty) {
  if (penalty == 1) return;
  for (const int32_t token : distinct(history, logits.size())) {
    float& logit = logits[static_cast<size_t>(token)];
    logit = static_cast<float>(penalized(static_cast<double>(logit), penalty));
  }
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) {
  const auto require = [](bool ok, std::string_view name, double got, std::string_view takes) {
    check(ok, ErrorKind::Argument, "sampling", name, " got ", got, ", takes ", takes);
  };
  require(options.temperature >= 0 && std::isfinite(options.temperature), "temperature",
          options.temperature, "a number of at least 0");
  require(options.top_k >= 0, "top_k", static_cast<double>(options.top_k), "0 or more");
  require(options.top_p > 0 && options.top_p <= 1, "top_p", options.top_p,
          "a number above 0, at most 1");
  require(options.repetition_penalty > 0 && std::isfinite(options.repetition_penalty),
          "repetition_penalty", options.repetition_penalty, "a number above 0");
}

int64_t Sampler::next(std::span<const float> logits, std::span<const int32_t> history) {
  candidates_.clear();
  for (size_t token = 0; token < logits.size(); ++token)
    candidates_.emplace_back(static_cast<int64_t>(token), logits[token]);
  penalize(history);
  std::erase_if(candidates_, [](const Candidate& c) { return !(c.second > -INFINITY); });
  check(!candidates_.empty(), ErrorKind::Argument, "sampling", "none of ", logits.size(),
        " logits is a number");
  if (options_.temperature == 0) return std::ranges::min_element(candidates_, likelier)->first;
  keep_most_likely();

  const uint32_t word = kernels::philox(
      {.seed = options_.seed, .step = history.size(), .op = 0, .sample = 0}, 0, 0)[0];
  double left = (word + 0.5) / 4294967296.0;  // in (0, 1)
  for (const auto& [token, probability] : candidates_) {
    left -= probability;
    if (left <= 0) return token;
  }
  return candidates_.front().first;  // rounding left a trace of probability
}

void Sampler::penalize(std::span<const int32_t> history) {
  if (options_.repetition_penalty == 1) return;
  for (const int32_t token : distinct(history, candidates_.size())) {
    double& logit = candidates_[static_cast<size_t>(token)].second;
    logit = penalized(logit, options_.repetition_penalty);
  }
}

// Leaves the top_k, then the top_p of what they have together, as probabilities that add up to 1.
void Sampler::keep_most_likely() {
  const size_t k = options_.top_k ? static_cast<size_t>(options_.top_k) : candidates_.size();
  if (k < candidates_.size()) {
    std::ranges::nth_element(candidates_, candidates_.begin() + (k - 1), likelier);
    candidates_.resize(k);
  }
  std::ranges::sort(candidates_, likelier);
  softmax(candidates_, options_.temperature);
  if (options_.top_p == 1) return;
  double sum = 0;
  size_t kept = 0;
  while (kept < candidates_.size() && sum < options_.top_p) sum += candidates_[kept++].second;
  candidates_.resize(std::max<size_t>(kept, 1));
  for (auto& [token, probability] : candidates_) probability /= sum;
}

}  // namespace plinth
