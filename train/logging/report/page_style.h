#pragma once

#include <string_view>

namespace plinth {

// The style sheet of the report.
extern const std::string_view kPageStyle;

}  // namespace plinth
