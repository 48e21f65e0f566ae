#pragma once

// The settings of features of sound beside a model, as WhisperFeatureExtractor's
// preprocessor_config.json names them.

#include <cstdint>
#include <filesystem>
#include <string>

#include "data/audio/log_mel.h"

namespace plinth {

// Those of `directory` for an encoder that takes `bins` and `frames`. Without a
// preprocessor_config.json they are Whisper's at 16 kHz, for a sound that has so many frames. At
// other rates than 16 kHz the bands end at half the rate; transformers' end at 8000 Hz. Throws
// Error(Format) naming file and key for what is malformed, or makes other features than the encoder
// takes.
LogMelOptions read_feature_settings(const std::filesystem::path& directory, int64_t bins,
                                    int64_t frames);

// The text of preprocessor_config.json.
std::string feature_settings_json(const LogMelOptions& options);

}  // namespace plinth
