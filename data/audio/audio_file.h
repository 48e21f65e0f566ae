#pragma once

// Sound files (WAV, FLAC, Ogg and what else libsndfile reads) as samples at one rate.

#include <cstdint>
#include <filesystem>
#include <vector>

namespace plinth {

// The file's sound in [-1, 1]: the mean of its channels, resampled to sample_rate by
// libsamplerate's best sinc filter. Throws Error(Io) naming the file where it cannot be read,
// Error(Format) for what is no sound, is empty or too short to resample, holds a number that is not
// finite, or lasts longer than an hour (or than 2^28 samples, at rates above 74 kHz).
std::vector<float> read_audio(const std::filesystem::path& path, int64_t sample_rate = 16000);

}  // namespace plinth
