#pragma once

// Unicode's normal forms and lower case as the tokenizers package has them: of Unicode 9 and 17.
// All take valid UTF-8.

#include <string>
#include <string_view>

namespace plinth {

// Canonical decomposition (NFD) and composition (NFC). Throw Error(Argument) for 2 GiB or more.
std::string decomposed(std::string_view text);
std::string composed(std::string_view text);

// Each character in lower case, whatever its language; U+0130 becomes two.
std::string lower_case(std::string_view text);

}  // namespace plinth
