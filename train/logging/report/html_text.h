#pragma once

#include <string>
#include <string_view>

namespace plinth {

// Any text as the content of an element or of a quoted attribute: markup is escaped, control
// characters other than tab and newline and bytes that are no UTF-8 become U+FFFD.
std::string html_text(std::string_view text);

}  // namespace plinth
