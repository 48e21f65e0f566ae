#pragma once

// Text as metrics cut it up: UTF-8 in, UTF-8 out. Bytes that are none count as U+FFFD.

#include <string>
#include <string_view>
#include <vector>

namespace plinth::metrics {

// Between white space of any kind, as Python's str.split().
std::vector<std::string> split_words(std::string_view text);
// Code points, one string each.
std::vector<std::string> split_characters(std::string_view text);
// As Python's str.lower(): the language's own rules are not asked.
std::string lower_case(std::string_view text);
// Without white space at both ends.
std::string_view strip(std::string_view text);

// Of Unicode: letters, digits and other numbers.
bool is_alphanumeric(char32_t c);
bool is_white_space(char32_t c);
// Of ASCII, as Python's string.punctuation.
bool is_punctuation(char32_t c);

// The code point at `position`, which moves behind it.
char32_t next_code_point(std::string_view text, size_t& position);

}  // namespace plinth::metrics
