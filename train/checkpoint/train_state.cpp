#include "train/checkpoint/train_state.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/json.h"

namespace plinth {

namespace {

using Json = nlohmann::ordered_json;

Json number_or_null(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

// Reads the fields of an object, naming the one that is wrong.
class Fields {
 public:
  Fields(const nlohmann::json& json, std::string_view subject) : json_(json), subject_(subject) {
    check(json.is_object(), ErrorKind::Format, subject_, "holds ", json.type_name(),
          ", expected an object");
  }

  int64_t count(const char* key) const {
    const nlohmann::json& value = at(key);
    check(value.is_number_integer() && value >= 0, ErrorKind::Format, subject_, key, " is ",
          value.dump(), ", takes an integer of at least 0");
    return value.get<int64_t>();
  }
  uint64_t seed(const char* key) const {
    const nlohmann::json& value = at(key);
    check(value.is_number_unsigned(), ErrorKind::Format, subject_, key, " is ", value.dump(),
          ", takes an integer of at least 0");
    return value.get<uint64_t>();
  }
  double number(const char* key) const {
    const nlohmann::json& value = at(key);
    check(value.is_number() || value.is_null(), ErrorKind::Format, subject_, key, " is ",
          value.dump(), ", takes a number or null");
    return value.is_null() ? std::nan("") : value.get<double>();
  }
  std::string text(const char* key) const {
    const nlohmann::json& value = at(key);
    check(value.is_string(), ErrorKind::Format, subject_, key, " is ", value.dump(),
          ", takes a string");
    return value.get<std::string>();
  }
  const nlohmann::json& list(const char* key) const {
    const nlohmann::json& value = at(key);
    check(value.is_array(), ErrorKind::Format, subject_, key, " is ", value.type_name(),
          ", takes a list");
    return value;
  }
  bool is_null(const char* key) const { return at(key).is_null(); }

 private:
  const nlohmann::json& at(const char* key) const {
    const auto found = json_.find(key);
    check(found != json_.end(), ErrorKind::Format, subject_, "lacks ", key);
    return *found;
  }

  const nlohmann::json& json_;
  std::string subject_;
};

}  // namespace

std::string TrainState::to_json() const {
  Json json;
  json["step"] = step;
  json["seed"] = seed;
  json["loader"] = loader;
  json["skipped_steps"] = skipped_steps;
  json["bad_in_a_row"] = bad_in_a_row;
  json["average_loss"] = number_or_null(average_loss);
  json["best_step"] = best_step ? Json(*best_step) : Json(nullptr);
  json["best_loss"] = number_or_null(best_loss);
  json["samples"] = Json::array();
  for (const TextSample& sample : samples)
    json["samples"].push_back(
        {{"step", sample.step}, {"prompt", sample.prompt}, {"continuation", sample.continuation}});
  json["metrics"] = Json::object();
  for (const auto& [name, value] : metrics) json["metrics"][name] = number_or_null(value);
  json["versions"] = versions;
  return json.dump(2) + "\n";
}

TrainState TrainState::parse(std::string_view text, std::string_view subject) {
  const nlohmann::json json = parse_json(text, subject);
  const Fields fields(json, subject);
  TrainState state;
  state.step = fields.count("step");
  state.seed = fields.seed("seed");
  state.loader = fields.text("loader");
  state.skipped_steps = fields.count("skipped_steps");
  state.bad_in_a_row = fields.count("bad_in_a_row");
  state.average_loss = fields.number("average_loss");
  if (!fields.is_null("best_step")) state.best_step = fields.count("best_step");
  state.best_loss = fields.number("best_loss");
  for (const nlohmann::json& item : fields.list("samples")) {
    const Fields sample(item, subject);
    state.samples.push_back(
        {sample.count("step"), sample.text("prompt"), sample.text("continuation")});
  }
  return state;
}

TrainState TrainState::read(const std::filesystem::path& path) {
  return parse(read_text_file(path), path.string());
}

}  // namespace plinth
