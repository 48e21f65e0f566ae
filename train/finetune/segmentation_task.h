#pragma once

// What each pixel of an image is of, by a ViT with a linear decoder (Strudel et al. 2021, arXiv
// 2105.05633).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/config_json.h"
#include "train/finetune/tasks.h"

namespace plinth {

// Whether it is that of a model that labels pixels.
bool is_segmenter(const ConfigJson& config);

// What make_task() and load_task() do for images with masks (data/images/mask_dataset.h). A
// directory is that of such a model, of a ViT or of a masked autoencoder; one with a config.json
// alone gives random weights. Images become as large as the model's, whatever their aspect, and
// masks with them. Pixels that a mask gives 255 do not count. Outputs are logits of the patches,
// which are brought to the size of the image for the scores: the mean intersection over union, and
// the share of pixels that are right. Throws what VisionTask does, and Error(Config) for fewer than
// two labels or more than 255.
std::unique_ptr<FinetuneTask> make_segmentation_task(
    const TaskSettings& settings, const std::filesystem::path& directory,
    const std::vector<std::filesystem::path>& train, uint64_t seed,
    const std::function<void(const std::string&)>& tell);
std::unique_ptr<FinetuneTask> load_segmentation_task(const TaskSettings& settings,
                                                     const std::filesystem::path& directory);

}  // namespace plinth
