#pragma once

// What the tables of families (registry.cpp, encoder_decoder_registry.cpp, vision/image_model.cpp)
// have in common: a model from its config.json, and from a directory.

#include <filesystem>
#include <memory>
#include <string_view>

#include "core/error.h"
#include "models/config_json.h"
#include "models/weight_map.h"
#include "nn/module.h"

namespace plinth {

// A Model whose Config asks the weights, if they are given, for its optional parts, or does not.
template <class Base, class Model, class Config>
std::unique_ptr<Base> from_config(const ConfigJson& config, const SafetensorsCheckpoint* weights) {
  if constexpr (requires { Config::from_json(config, weights); }) {
    return std::make_unique<Model>(Config::from_json(config, weights));
  } else {
    return std::make_unique<Model>(Config::from_json(config));
  }
}

// Reads a directory with config.json and weights, for `function`: `family_of(config)` is the row of
// a table, and throws for a model of none. Throws Error(Io) or Error(Format) naming file, tensor
// and shape, Error(DType) for a dtype that weights do not take.
template <class FamilyOf>
auto load_directory(std::string_view function, const std::filesystem::path& directory, DType dtype,
                    FamilyOf&& family_of) {
  check(is_floating_point(dtype) && !is_float8(dtype), ErrorKind::DType, function, "dtype got ",
        name(dtype), ", takes float64, float32, bfloat16 or float16");
  check(std::filesystem::is_directory(directory), ErrorKind::Io, directory.string(),
        "no such directory; expected one with config.json and model.safetensors");
  const ConfigJson config = ConfigJson::read(directory / "config.json");
  const auto& family = family_of(config);  // a wrong one is named before its weights are
  const SafetensorsCheckpoint weights = SafetensorsCheckpoint::open(directory);
  auto model = [&] {
    const nn::SkipInit skip;
    return family.from_config(config, &weights);
  }();
  if (dtype != DType::Float32) model->to(dtype);
  read_weights(*model, model->weight_slices(), weights, directory);
  return model;
}

}  // namespace plinth
