#pragma once

// The families of encoder-decoders, and these as directories in Hugging Face's layout.

#include <filesystem>
#include <memory>

#include "models/config_json.h"
#include "models/encoder_decoder.h"
#include "models/registry.h"

namespace plinth {

// Whether a config.json is that of an encoder-decoder that Plinth has.
bool is_encoder_decoder(const ConfigJson& config);

// A model whose config.json this is; its weights are not set. `weights`, if given, are the model's:
// they tell which of its optional parts there are. Throws Error(Format) for another family.
std::unique_ptr<EncoderDecoder> make_encoder_decoder(
    const ConfigJson& config, const SafetensorsCheckpoint* weights = nullptr);

// load_pretrained() of an encoder-decoder's directory, and save_pretrained().
std::unique_ptr<EncoderDecoder> load_encoder_decoder(const std::filesystem::path& directory,
                                                     DType dtype = DType::Float32);
void save_pretrained(const EncoderDecoder& model, const std::filesystem::path& directory,
                     const SaveOptions& options = {});

}  // namespace plinth
