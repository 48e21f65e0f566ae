#pragma once

// Reading fields of JSON objects, with Error(Format, name) that names the field. Whoever includes
// this includes <nlohmann/json.hpp> in its source file.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace plinth::json_fields {

using Json = nlohmann::json;

// A field that must be there.
const Json& at(const Json& object, std::string_view key, std::string_view name);

// A field that may be absent, which reads as null.
const Json& get(const Json& object, std::string_view key, std::string_view name);

// A boolean; `otherwise` if it is absent or null.
bool boolean(const Json& object, std::string_view key, bool otherwise, std::string_view name);

// A list.
const Json& array(const Json& object, std::string_view key, std::string_view name);

const std::string& string(const Json& object, std::string_view key, std::string_view name);

// The object's "type"; "null" for null.
std::string type_of(const Json& object, std::string_view name);

// Throws the error of a field whose value Plinth does not support.
[[noreturn]] void refuse(std::string_view name, std::string_view field, std::string_view value);

// Text between quotes, as JSON. It must be UTF-8.
std::string json_text(std::string_view text);

}  // namespace plinth::json_fields
