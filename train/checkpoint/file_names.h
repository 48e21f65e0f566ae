#pragma once

// The files of a checkpoint that is not sharded (train/checkpoint/sharded.h has those that are).

namespace plinth {

inline constexpr const char* kWeightsFile = "model.safetensors";
inline constexpr const char* kOptimizerFile = "optimizer.safetensors";
inline constexpr const char* kAverageFile = "ema.safetensors";
inline constexpr const char* kStateFile = "state.json";

}  // namespace plinth
