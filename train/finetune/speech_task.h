#pragma once

// Recognition of speech by Whisper's encoder (Radford et al. 2022, arXiv 2212.04356) and
// connectionist temporal classification (core/ops/ctc_loss.h). Files are manifests of sounds and
// texts (data/audio/audio_dataset.h).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/config_json.h"
#include "train/finetune/tasks.h"

namespace plinth {

// Whether it is that of such a recogniser.
bool is_speech_recogniser(const ConfigJson& config);

// What make_task() and load_task() do for sounds. A directory is that of a Whisper, whose decoder
// is left, or of a recogniser; one with a config.json alone gives random weights. Its
// preprocessor_config.json, if it has one, says how sounds become features
// (data/audio/feature_settings.h). Throws Error(Config) for settings that do not go together, and
// what reading files throws.
std::unique_ptr<FinetuneTask> make_speech_task(const TaskSettings& settings,
                                               const std::filesystem::path& directory,
                                               const std::vector<std::filesystem::path>& train,
                                               uint64_t seed,
                                               const std::function<void(const std::string&)>& tell);
std::unique_ptr<FinetuneTask> load_speech_task(const TaskSettings& settings,
                                               const std::filesystem::path& directory);

}  // namespace plinth
