#pragma once

// Text from files that nobody vouches for.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace plinth {

// The place of the first byte that is no part of well-formed UTF-8 (Unicode 15, table 3-7: no
// overlong forms, no surrogates, nothing above U+10FFFF), or nothing if all of it is.
std::optional<size_t> first_invalid_utf8(std::string_view text);

// The text as it may stand in a message: quoted, control characters and bytes that are no UTF-8 as
// \xNN, and cut to about `limit` bytes.
std::string printable(std::string_view text, size_t limit = 100);

// What follows the byte order mark of UTF-8, with which spreadsheets begin files; all of a text
// without one.
std::string_view without_byte_order_mark(std::string_view text);

}  // namespace plinth
