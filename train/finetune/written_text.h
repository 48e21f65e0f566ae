#pragma once

#include <span>
#include <string>

#include "data/tokenizer/tokenizer.h"

namespace plinth {

// The text of tokens that a model has written, as UTF-8: ids that no token has and special tokens
// are left out, and bytes that make no character become U+FFFD, so that it can go into JSON.
std::string written_text(const Tokenizer& tokenizer, std::span<const double> ids);

}  // namespace plinth
