#include <charconv>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/json.h"
#include "data/json_fields.h"
#include "data/loader/token_loader.h"

namespace plinth {
namespace {

constexpr std::string_view kLoaderPosition = "loader position";

std::string hexadecimal(uint64_t value) {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, 16).ptr;
  return {digits, end};
}

uint64_t parse_hexadecimal(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  check(error == std::errc() && end == text.data() + text.size(), ErrorKind::Format,
        kLoaderPosition, "fingerprint must be a hexadecimal number");
  return value;
}

uint64_t whole_number(const nlohmann::json& json, std::string_view key, uint64_t most) {
  const nlohmann::json& value = json_fields::at(json, key, kLoaderPosition);
  check(value.is_number_unsigned() && value.get<uint64_t>() <= most, ErrorKind::Format,
        kLoaderPosition, key, " must be a whole number of 0 to ", most);
  return value.get<uint64_t>();
}

bool flag(const nlohmann::json& json, std::string_view key) {
  json_fields::at(json, key, kLoaderPosition);
  return json_fields::boolean(json, key, false, kLoaderPosition);
}

}  // namespace

std::string to_json(const LoaderPosition& position) {
  const SavedPlace& place = position.place;
  nlohmann::json json{{"epoch", position.epoch},
                      {"sample", place.sample},
                      {"micro_batch", place.micro_batch},
                      {"samples_per_step", place.samples_per_step},
                      {"seed", position.seed},
                      {"length", position.length},
                      {"shuffle", position.shuffle},
                      {"pack_documents", position.pack_documents},
                      {"fingerprint", hexadecimal(position.fingerprint)}};
  if (place.rows > 0) json["rows"] = place.rows;
  if (place.ranks > 0) json["ranks"] = place.ranks;
  if (place.turns > 0) json["turns"] = place.turns;
  return json.dump();
}

LoaderPosition parse_loader_position(std::string_view text) {
  const nlohmann::json json = parse_json(text, kLoaderPosition);
  const auto count = [&](std::string_view key) {
    return static_cast<int64_t>(whole_number(json, key, INT64_MAX));
  };
  const auto count_if_there = [&](std::string_view key) {
    return json.contains(key) ? count(key) : 0;
  };
  return {
      .epoch = count("epoch"),
      .place = {.sample = count("sample"),
                .micro_batch = count("micro_batch"),
                .samples_per_step = count("samples_per_step"),
                .rows = count_if_there("rows"),
                .ranks = count_if_there("ranks"),
                .turns = count_if_there("turns")},
      .seed = whole_number(json, "seed", UINT64_MAX),
      .length = count("length"),
      .shuffle = flag(json, "shuffle"),
      .pack_documents = flag(json, "pack_documents"),
      .fingerprint = parse_hexadecimal(json_fields::string(json, "fingerprint", kLoaderPosition))};
}

}  // namespace plinth
