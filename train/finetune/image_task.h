#pragma once

// Classification of images by a ViT (Dosovitskiy et al. 2021, arXiv 2010.11929).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/config_json.h"
#include "train/finetune/tasks.h"

namespace plinth {

// Whether it is that of a ViT with a classifier.
bool is_image_classifier(const ConfigJson& config);

// What make_task() and load_task() do for images. A directory is that of a ViT or a masked
// autoencoder; one with a config.json alone gives a ViT with random weights. Its
// preprocessor_config.json, if it has one, says how pixels become numbers; else they lie in
// [-1, 1]. Throws Error(Config) for a model of other than 3 channels and for settings that do not
// go together, Error(Format) for a preprocessor_config.json that says what Plinth does not do.
std::unique_ptr<FinetuneTask> make_image_task(const TaskSettings& settings,
                                              const std::filesystem::path& directory,
                                              const std::vector<std::filesystem::path>& train,
                                              uint64_t seed,
                                              const std::function<void(const std::string&)>& tell);
std::unique_ptr<FinetuneTask> load_image_task(const TaskSettings& settings,
                                              const std::filesystem::path& directory);

}  // namespace plinth
