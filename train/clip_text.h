#pragma once

// Texts as a CLIP's text tower takes them.

#include <span>
#include <string>
#include <string_view>

#include "core/tensor.h"
#include "data/tokenizer/tokenizer.h"
#include "models/clip/config.h"

namespace plinth {

// Throws Error(Config, key) naming `name` unless the tokenizer's tokens, and the one that ends a
// text, are the model's. Where the model's configuration does not name its tokens (names_tokens()),
// the tokenizer is only to have one that ends a text.
void check_clip_tokenizer(const Tokenizer& tokenizer, const ClipTextConfig& config,
                          std::string_view key, std::string_view name);

// ids int64 [texts, context]: of each text the beginning token, if the model has one, its tokens,
// cut where there are too many, and end tokens. Where the configuration does not name these, they
// are the tokenizer's.
Tensor clip_ids(const Tokenizer& tokenizer, const ClipTextConfig& config,
                std::span<const std::string> texts);

}  // namespace plinth
