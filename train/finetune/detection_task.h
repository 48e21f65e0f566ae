#pragma once

// Detection of objects by a YOLOS (Fang et al. 2021, arXiv 2106.00666).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/config_json.h"
#include "train/finetune/tasks.h"

namespace plinth {

// Whether it is that of a detector.
bool is_detector(const ConfigJson& config);

// What make_task() and load_task() do for objects in images, which COCO's JSON lists. A directory
// is that of a YOLOS, or of a ViT or a masked autoencoder, which gets task.detection_tokens; one
// with a config.json alone gives random weights. Images become as large as the model's, whatever
// their aspect, and boxes follow them. Boxes of crowds are scored with, but not learned. Outputs
// are, of each detection token, logits and a box; scores are COCO's. A training step waits for the
// device, which matches objects and predictions on the host, so that no CUDA graph holds it. Throws
// what VisionTask does.
std::unique_ptr<FinetuneTask> make_detection_task(
    const TaskSettings& settings, const std::filesystem::path& directory,
    const std::vector<std::filesystem::path>& train, uint64_t seed,
    const std::function<void(const std::string&)>& tell);
std::unique_ptr<FinetuneTask> load_detection_task(const TaskSettings& settings,
                                                  const std::filesystem::path& directory);

}  // namespace plinth
