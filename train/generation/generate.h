#pragma once

// Text from a language model, a token at a time.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "models/language_model.h"
#include "models/sampler.h"

namespace plinth {

struct GenerateOptions {
  SamplingOptions sampling;
  int64_t max_tokens = 128;
  std::vector<int64_t> stop_tokens;  // end the text, and are not given
  // Keeps the keys and values of earlier tokens. Without, each token reads the whole text again.
  bool use_cache = true;
};

// Calls on_token for each new token, until it returns false; gives all of them. Where the text
// outgrows the model's context, its older half is forgotten. Throws Error(Argument) for an empty
// prompt or an id outside the vocabulary.
std::vector<int32_t> generate(LanguageModel& model, std::span<const int32_t> prompt,
                              const GenerateOptions& options,
                              const std::function<bool(int32_t)>& on_token = {});

}  // namespace plinth
