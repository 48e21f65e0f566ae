#pragma once

// Speech to text by a whole Whisper (Radford et al. 2022, arXiv 2212.04356), which writes a
// transcript, or a translation, as a decoder of text does. Files are manifests of sounds and texts
// (data/audio/audio_dataset.h).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "models/config_json.h"
#include "train/finetune/tasks.h"

namespace plinth {

// Whether it is that of a Whisper.
bool is_transcriber(const ConfigJson& config);

// What make_task() and load_task() do for sounds and texts of any vocabulary. A directory is that
// of a Whisper with its tokenizer; one without weights gives random ones. preprocessor_config.json
// and generation_config.json, if it has them, say how sounds become features, and which tokens are
// no text (models/whisper/tokens.h). Throws Error(Config) for settings that do not go together, and
// what reading files throws.
std::unique_ptr<FinetuneTask> make_transcription_task(
    const TaskSettings& settings, const std::filesystem::path& directory, uint64_t seed,
    const std::function<void(const std::string&)>& tell);
std::unique_ptr<FinetuneTask> load_transcription_task(const TaskSettings& settings,
                                                      const std::filesystem::path& directory);

}  // namespace plinth
