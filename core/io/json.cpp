#include "core/io/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/text.h"

namespace plinth {

using nlohmann::json;

namespace {

template <class Json>
std::string replaced_text(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

json parse_json(std::string_view text, std::string_view subject, JsonLimits limits) {
  check(text.size() <= limits.bytes, ErrorKind::Format, subject, "has ", text.size(),
        " bytes of JSON, expected at most ", limits.bytes);
  const std::optional<size_t> invalid = first_invalid_utf8(text);
  check(!invalid, ErrorKind::Format, subject, "invalid UTF-8 at byte ", invalid.value_or(0));
  // nlohmann takes a NUL for the end of the text, whatever follows.
  const size_t nul = text.find('\0');
  check(nul == text.npos, ErrorKind::Format, subject, "invalid JSON: NUL at byte ", nul);

  std::vector<std::unordered_set<std::string>> keys;  // of the objects that are open
  const auto on_event = [&](int depth, json::parse_event_t event, json& value) {
    switch (event) {
      case json::parse_event_t::object_start: keys.emplace_back(); [[fallthrough]];
      case json::parse_event_t::array_start:
        check(depth < limits.depth, ErrorKind::Format, subject, "JSON is nested deeper than ",
              limits.depth, " levels");
        break;
      case json::parse_event_t::key: {
        const auto& key = value.get_ref<const std::string&>();
        check(keys.back().insert(key).second, ErrorKind::Format, subject, "duplicate key ",
              printable(key));
        break;
      }
      case json::parse_event_t::object_end: keys.pop_back(); break;
      default: break;
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), on_event);
  } catch (const json::exception& error) {
    std::string_view reason = error.what();
    reason.remove_prefix(std::min(reason.size(), reason.find("] ") + 2));  // "[json.exception.N] "
    std::string message = "invalid JSON: ";
    message += printable(reason, 300);
    throw Error(ErrorKind::Format, subject, message);
  }
}

json read_json(const std::filesystem::path& path, JsonLimits limits) {
  return parse_json(read_text_file(path, limits.bytes), path.string(), limits);
}

std::string json_text(const json& value, int indent) {
  return replaced_text(value, indent);
}

std::string json_text(const nlohmann::ordered_json& value, int indent) {
  return replaced_text(value, indent);
}

}  // namespace plinth
