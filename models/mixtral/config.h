#pragma once

// Mixtral (Jiang et al. 2024, arXiv 2401.04088): a Llama (models/llama/) whose MLPs are mixtures of
// experts. Here are the settings that make one of it, as config.json of Hugging Face's "mixtral"
// family names them.

#include "models/llama/config.h"

namespace plinth {

struct MixtralConfig {
  // Throws Error(Format) naming file and key, for what LlamaConfig::from_json refuses, for more
  // experts a token than there are, and for what Plinth's Mixtral does not compute: attention
  // within a window, noise at the router.
  static LlamaConfig from_json(const ConfigJson& json);
  // Throws Error(Config) likewise.
  static LlamaConfig from_size(const ModelSize& size);
};

}  // namespace plinth
