#pragma once

#include <filesystem>

namespace plinth {

// Whether a model's directory has weights, or a config.json alone.
inline bool has_weights(const std::filesystem::path& directory) {
  return std::filesystem::exists(directory / "model.safetensors") ||
         std::filesystem::exists(directory / "model.safetensors.index.json");
}

}  // namespace plinth
