#pragma once

// Character classes of Unicode 16, the version of the regular-expression engine behind Hugging
// Face's tokenizers (Oniguruma 6.9.10), written for PCRE2. Debian's PCRE2 10.42 knows Unicode 14;
// naming the characters added since makes the two agree on every code point.
// scripts/check_tokenizer_parity.py compares them.

#include <string>
#include <string_view>

namespace plinth {

// What stands between the brackets of a PCRE2 class for the property of this name ("L", "Lu", "N",
// "Han", ...), or "" if the property is not supported. Supported are the general categories whose
// members only grew between Unicode 14 and 16, and four scripts.
std::string unicode16_class(std::string_view property);

// The same for \s: the White_Space property. (PCRE2's own \s also takes U+180E.)
std::string_view unicode_space_class();

}  // namespace plinth
