#pragma once

// The model that a run begins with, of any of the registries.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "core/error.h"
#include "models/config_json.h"
#include "train/checkpoint/run_directory.h"
#include "train/pretrain/config.h"

namespace plinth {

// What model.config means: a folder has its config.json.
inline std::filesystem::path config_file(const PretrainConfig& config) {
  return std::filesystem::is_directory(config.model_config) ? config.model_config / "config.json"
                                                            : config.model_config;
}

// The folder of what stands beside the model's config.json: preprocessing. "" where there is none.
inline std::filesystem::path folder_beside(const PretrainConfig& config,
                                           const std::function<void(const std::string&)>& tell) {
  if (!config.init_from.empty()) return resolve_model_directory(config.init_from, tell);
  return config.model_config.empty() ? std::filesystem::path() : config_file(config).parent_path();
}

// That of model.init_from, by `load(directory)`, or of model.config, by `make(ConfigJson)`, whose
// weights are drawn from the seed; null where the configuration names neither.
template <class Load, class Make>
auto first_model(const PretrainConfig& config, const std::function<void(const std::string&)>& tell,
                 Load&& load, Make&& make) -> decltype(make(std::declval<const ConfigJson&>())) {
  if (!config.init_from.empty()) return load(resolve_model_directory(config.init_from, tell));
  if (config.model_config.empty()) return nullptr;
  auto model = make(ConfigJson::read(config_file(config)));
  model->reset_parameters(config.run.seed);
  return model;
}

}  // namespace plinth
