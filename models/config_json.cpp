#include "models/config_json.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/io/json.h"
#include "core/io/text.h"
#include "core/nearest.h"

namespace plinth {

using Json = nlohmann::json;

ConfigJson::ConfigJson(std::shared_ptr<const Json> json, std::string subject, std::string prefix)
    : json_(std::move(json)), subject_(std::move(subject)), prefix_(std::move(prefix)) {
  check(json_->is_object(), ErrorKind::Format, subject_,
        prefix_.empty() ? "the file" : prefix_.substr(0, prefix_.size() - 1), " holds ",
        json_->type_name(), ", expected an object");
}

ConfigJson ConfigJson::read(const std::filesystem::path& path) {
  return ConfigJson(std::make_shared<const Json>(read_json(path)), path.string(), "");
}

ConfigJson ConfigJson::parse(std::string_view text, std::string_view subject) {
  return ConfigJson(std::make_shared<const Json>(parse_json(text, subject)), std::string(subject),
                    "");
}

const Json* ConfigJson::find(std::string_view key) const {
  const auto found = json_->find(key);
  return found == json_->end() || found->is_null() ? nullptr : &*found;
}

bool ConfigJson::has(std::string_view key) const {
  return find(key) != nullptr;
}

bool ConfigJson::empty() const {
  return json_->empty();
}

void ConfigJson::refuse(std::string_view key, std::string_view takes) const {
  const Json* value = find(key);
  std::string got = " is missing";
  if (value) {
    const std::string quoted = printable(json_text(*value));
    got = " is " + quoted.substr(1, quoted.size() - 2);  // as JSON has it
  }
  throw Error(ErrorKind::Format, subject_, detail::concat(prefix_, key, got, ", takes ", takes));
}

int64_t ConfigJson::size(std::string_view key, std::optional<int64_t> otherwise) const {
  return integer(key, otherwise, std::numeric_limits<int32_t>::max());
}

int64_t ConfigJson::count(std::string_view key, std::optional<int64_t> otherwise) const {
  return integer(key, otherwise, 10000);
}

int64_t ConfigJson::integer(std::string_view key, std::optional<int64_t> otherwise,
                            int64_t most) const {
  const Json* value = find(key);
  if (!value && otherwise) return *otherwise;
  if (!value || !value->is_number_integer() || *value < 1 || *value > most)
    refuse(key, detail::concat("an integer from 1 to ", most));
  return value->get<int64_t>();
}

std::array<int64_t, 2> ConfigJson::sides(std::string_view key,
                                         std::array<int64_t, 2> otherwise) const {
  const Json* value = find(key);
  if (!value) return otherwise;
  if (!value->is_array()) return {size(key), size(key)};
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const auto is_size = [](const Json& side) {
    return side.is_number_integer() && side >= 1 && side <= kMost;
  };
  if (value->size() != 2 || !is_size((*value)[0]) || !is_size((*value)[1]))
    refuse(key, detail::concat("a height and a width from 1 to ", kMost));
  return {(*value)[0].get<int64_t>(), (*value)[1].get<int64_t>()};
}

double ConfigJson::number(std::string_view key, std::optional<double> otherwise,
                          double least) const {
  const Json* value = find(key);
  if (!value && otherwise) return *otherwise;
  if (!value || !value->is_number() || !std::isfinite(value->get<double>()) ||
      value->get<double>() < least)
    refuse(key, detail::concat("a number of at least ", least));
  return value->get<double>();
}

bool ConfigJson::boolean(std::string_view key, bool otherwise) const {
  const Json* value = find(key);
  if (!value) return otherwise;
  if (!value->is_boolean()) refuse(key, "true or false");
  return value->get<bool>();
}

std::string ConfigJson::text(std::string_view key, std::string_view otherwise) const {
  const Json* value = find(key);
  if (!value) return std::string(otherwise);
  if (!value->is_string()) refuse(key, "a string");
  return value->get<std::string>();
}

std::string ConfigJson::word(std::string_view key, std::string_view otherwise,
                             std::span<const std::string_view> words) const {
  return known_word(key, text(key, otherwise), words);
}

std::string ConfigJson::first_text(std::string_view key, std::string_view otherwise) const {
  const Json* value = find(key);
  if (!value) return std::string(otherwise);
  const bool is_list = value->is_array() && (value->empty() || value->front().is_string());
  if (!is_list) refuse(key, "a list of strings");
  return value->empty() ? std::string(otherwise) : value->front().get<std::string>();
}

std::string ConfigJson::first_word(std::string_view key, std::string_view otherwise,
                                   std::span<const std::string_view> words) const {
  const Json* value = find(key);
  if (!value || (value->is_array() && value->empty())) return std::string(otherwise);
  return known_word(key, first_text(key, otherwise), words);
}

std::string ConfigJson::known_word(std::string_view key, const std::string& value,
                                   std::span<const std::string_view> words) const {
  std::string all;
  for (const std::string_view word : words) {
    if (word == value) return value;
    all += (all.empty() ? "" : ", ") + std::string(word);
  }
  refuse(key, words.size() == 1
                  ? all
                  : "one of " + all + " (nearest: " + std::string(nearest(value, words)) + ")");
}

std::optional<int64_t> ConfigJson::token(std::string_view key,
                                         std::optional<int64_t> otherwise) const {
  return json_->contains(key) ? first_token(tokens(key)) : otherwise;
}

std::vector<int64_t> ConfigJson::tokens(std::string_view key,
                                        std::vector<int64_t> otherwise) const {
  const Json* value = find(key);
  if (!value) return json_->contains(key) ? std::vector<int64_t>() : std::move(otherwise);
  std::vector<int64_t> ids;
  for (const Json& id : value->is_array() ? *value : Json::array({*value})) {
    if (!id.is_number_integer() || id < -1 || id > std::numeric_limits<int32_t>::max())
      refuse(key, "the id of a token, or a list of them");
    if (id != -1) ids.push_back(id.get<int64_t>());  // written for "none" by some tools
  }
  return ids;
}

ConfigJson ConfigJson::object(std::string_view key) const {
  const Json* value = find(key);
  return ConfigJson(std::make_shared<const Json>(value ? *value : Json::object()), subject_,
                    prefix_ + std::string(key) + ".");
}

void ConfigJson::expect(std::string_view key, bool value) const {
  if (boolean(key, value) != value) refuse(key, value ? "true only" : "false only");
}

std::string finished_config(nlohmann::ordered_json settings, std::optional<int64_t> bos_token,
                            const std::vector<int64_t>& eos_tokens, DType dtype) {
  // Left out, the two would take transformers' defaults, the ids of another vocabulary.
  settings["bos_token_id"] = bos_token ? nlohmann::ordered_json(*bos_token) : nullptr;
  settings["eos_token_id"] = eos_tokens;
  if (eos_tokens.empty()) settings["eos_token_id"] = nullptr;
  if (eos_tokens.size() == 1) settings["eos_token_id"] = eos_tokens.front();
  return finished_config(std::move(settings), dtype);
}

std::optional<int64_t> first_token(const std::vector<int64_t>& tokens) {
  return tokens.empty() ? std::nullopt : std::optional(tokens.front());
}

std::string finished_config(nlohmann::ordered_json settings, DType dtype) {
  settings["dtype"] = name(dtype);
  settings["torch_dtype"] = name(dtype);  // what "dtype" was called before transformers 5
  return settings.dump(2) + "\n";
}

}  // namespace plinth
