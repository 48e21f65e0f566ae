#include "data/json_fields.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/text.h"

namespace plinth::json_fields {

const Json& at(const Json& object, std::string_view key, std::string_view name) {
  const Json& value = get(object, key, name);
  check(!value.is_null(), ErrorKind::Format, name, "has no field ", printable(key));
  return value;
}

const Json& get(const Json& object, std::string_view key, std::string_view name) {
  static const Json null;
  check(object.is_object(), ErrorKind::Format, name, "expected an object with ", printable(key),
        ", got ", object.type_name());
  const auto found = object.find(std::string(key));
  return found == object.end() ? null : *found;
}

bool boolean(const Json& object, std::string_view key, bool otherwise, std::string_view name) {
  const Json& value = get(object, key, name);
  if (value.is_null()) return otherwise;
  check(value.is_boolean(), ErrorKind::Format, name, key, " must be true or false, got ",
        value.type_name());
  return value.get<bool>();
}

const Json& array(const Json& object, std::string_view key, std::string_view name) {
  const Json& value = at(object, key, name);
  check(value.is_array(), ErrorKind::Format, name, key, " must be an array, got ",
        value.type_name());
  return value;
}

const std::string& string(const Json& object, std::string_view key, std::string_view name) {
  const Json& value = at(object, key, name);
  check(value.is_string(), ErrorKind::Format, name, key, " must be a string, got ",
        value.type_name());
  return value.get_ref<const std::string&>();
}

std::string type_of(const Json& object, std::string_view name) {
  return object.is_null() ? "null" : string(object, "type", name);
}

void refuse(std::string_view name, std::string_view field, std::string_view value) {
  throw Error(ErrorKind::Format, name,
              detail::concat(field, " is ", printable(value), ", which is not supported"));
}

std::string json_text(std::string_view text) {
  return Json(text).dump();
}

}  // namespace plinth::json_fields
