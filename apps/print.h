#pragma once

#include <string>

namespace plinth::apps {

// printf to a string; what is longer than 511 characters is cut off.
[[gnu::format(printf, 1, 2)]] std::string print(const char* format, ...);

}  // namespace plinth::apps
