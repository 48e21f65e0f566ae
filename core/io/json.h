#pragma once

// JSON from files that nobody vouches for. Whoever includes this and reads values includes
// <nlohmann/json.hpp> in its source file; no header of Plinth does.

#include <cstddef>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace plinth {

struct JsonLimits {
  size_t bytes = size_t{1} << 30;
  int depth = 64;
};

// Parses UTF-8 JSON. Refuses with Error(Format, subject) what is longer or deeper than the limits,
// is not UTF-8, is not JSON, or has one key twice in an object; the message names the place or key.
nlohmann::json parse_json(std::string_view text, std::string_view subject, JsonLimits limits = {});
nlohmann::json read_json(const std::filesystem::path& path, JsonLimits limits = {});

// The JSON of what may hold paths and other words of a user's: bytes that are no UTF-8 become
// U+FFFD. On one line, or with an indent a level.
std::string json_text(const nlohmann::json& value, int indent = -1);
std::string json_text(const nlohmann::ordered_json& value, int indent = -1);

}  // namespace plinth
