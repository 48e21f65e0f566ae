#pragma once

// Span-corruption samples (Raffel et al. 2020, arXiv 1910.10683, section 3.1.4): spans of a text
// are each replaced by a sentinel, and are to be told in their order, each behind its sentinel; one
// more sentinel ends them.
//
//   text      Thank you for inviting me to your party last week
//   ids       Thank you <0> me to your party <1> week
//   targets   <0> for inviting <1> last <2>
//
// Every text of a length loses the same number of tokens in the same number of spans, so that its
// ids and targets have lengths that are known beforehand. A text begins with a token that stays and
// ends with one that does not, as in the original. What is corrupted depends on the seed and on the
// number of the sample in the run alone, whoever asks for it.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace plinth {

struct SpanCorruptionOptions {
  double density = 0.15;  // of tokens that are lost
  double mean_span = 3;   // tokens of a lost span
  // The sentinel of the first span, the largest of them: those of the next spans descend from it.
  int64_t first_sentinel = 32099;
  int64_t sentinels = 100;               // how many there are
  std::optional<int64_t> end_token = 1;  // put behind ids and targets
  uint64_t seed = 0;
  uint64_t stream = 0;  // another one gives the same samples other spans: for validation
};

struct SpanSample {
  std::vector<int64_t> ids, targets;
  bool operator==(const SpanSample&) const = default;
};

class SpanCorruptor {
 public:
  // Throws Error(Argument) for a density outside (0, 0.99], a mean_span below 1, and sentinels that
  // are fewer than 2 or reach below 0.
  explicit SpanCorruptor(const SpanCorruptionOptions& options);

  // Of a text of `tokens` tokens: those that are lost, their spans, and the lengths of its sample.
  int64_t lost(int64_t tokens) const;
  int64_t spans(int64_t tokens) const;
  int64_t ids_length(int64_t tokens) const;
  int64_t targets_length(int64_t tokens) const;
  // The most tokens of a text whose ids are `length` or fewer: 568 for 512 by the defaults. Throws
  // Error(Argument) if there are none, and for a length above 2^31.
  int64_t tokens_within(int64_t length) const;

  // Sample number `sample` of a text. Throws Error(Argument) for fewer than 2 tokens, for more
  // spans than there are sentinels, less the one that ends them, and for a token that is a
  // sentinel.
  SpanSample corrupt(int64_t sample, std::span<const int64_t> tokens) const;

 private:
  SpanCorruptionOptions options_;
};

}  // namespace plinth
