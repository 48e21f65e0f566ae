#pragma once

// What Tokenizer::train() learns from texts, by kind.

#include <span>
#include <string_view>

#include "data/tokenizer/tokenizer.h"
#include "data/tokenizer/tokenizer_spec.h"

namespace plinth {

struct TrainedTokenizer {
  TokenizerSpec spec;
  TokenRoles roles;
};

// Throws Error(Argument) for options that do not fit together.
TrainedTokenizer train_tokenizer(std::span<const std::string_view> texts,
                                 const TrainOptions& options);

}  // namespace plinth
