#pragma once

// Labels of images by a CLIP, without training (Radford et al. 2021, arXiv 2103.00020, section
// 3.1.4): the label whose texts lie nearest to the image.

#include <filesystem>
#include <memory>

#include "models/config_json.h"
#include "train/finetune/tasks.h"

namespace plinth {

// Whether it is that of a CLIP.
bool is_zero_shot_classifier(const ConfigJson& config);

// What load_task() does for a CLIP with its tokenizer. settings.labels are what it tells apart, and
// settings.prompts the texts of a label. Throws Error(Config) without labels, or for a prompt
// without {}.
std::unique_ptr<FinetuneTask> load_zero_shot_task(const TaskSettings& settings,
                                                  const std::filesystem::path& directory);

}  // namespace plinth
