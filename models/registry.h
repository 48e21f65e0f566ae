#pragma once

// The families of models, and models as directories in Hugging Face's layout.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "models/config_json.h"
#include "models/language_model.h"
#include "models/model_size.h"

namespace plinth {

struct ModelFamily {
  std::string_view type;  // config.json's model_type
  std::unique_ptr<LanguageModel> (*from_size)(const ModelSize& size);
  // `weights`, if given, are the model's: they tell which of its optional parts there are.
  std::unique_ptr<LanguageModel> (*from_config)(const ConfigJson& config,
                                                const SafetensorsCheckpoint* weights);
};

std::span<const ModelFamily> model_families();

// A model with weights drawn from the seed. Throws Error(Config) for an unknown type, with the
// nearest known, and for sizes that do not fit together.
std::unique_ptr<LanguageModel> make_model(const ModelSize& size, uint64_t seed);

// A model whose config.json this is; its weights are not set. Where they lie in `weights`, it has
// the parts that these have.
std::unique_ptr<LanguageModel> make_model(const ConfigJson& config,
                                          const SafetensorsCheckpoint* weights = nullptr);

// Reads a directory with config.json and model.safetensors (or its index and shards). The weights
// take `dtype`, float32 unless said otherwise, whatever the files hold. Throws Error(Io) or
// Error(Format) naming file, tensor and shape.
std::unique_ptr<LanguageModel> load_pretrained(const std::filesystem::path& directory,
                                               DType dtype = DType::Float32);

struct SaveOptions {
  std::optional<DType> dtype = {};  // else that of the parameters
  uint64_t max_shard_bytes = uint64_t{5} << 30;
};

// Writes the weights, and `config` as config.json, so that load_pretrained and transformers read
// them.
void save_pretrained(const nn::Module& model, const std::vector<WeightSlice>& slices,
                     std::string_view config, const std::filesystem::path& directory,
                     const SaveOptions& options = {});
// With the model's own.
void save_pretrained(const LanguageModel& model, const std::filesystem::path& directory,
                     const SaveOptions& options = {});

}  // namespace plinth
