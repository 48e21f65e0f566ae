#pragma once

// What a "llama" of GGUF's does to a text before its byte pairs are merged.

#include <string_view>

#include "data/tokenizer/tokenizer_spec.h"

namespace plinth {

// Throws Error(Argument, subject) naming the step for a tokenizer of pieces that does more to a
// text, or less, than GGUF has words for: to mark spaces by U+2581 and to put one before the text.
void check_gguf_steps(const TokenizerSpec& spec, std::string_view subject);

}  // namespace plinth
