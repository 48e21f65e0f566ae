#include "models/encoder_decoder_registry.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "core/error.h"
#include "models/family.h"
#include "models/t5/t5.h"
#include "models/whisper/whisper.h"

namespace plinth {

namespace {

struct Family {
  std::string_view type;  // config.json's model_type
  std::unique_ptr<EncoderDecoder> (*from_config)(const ConfigJson& config,
                                                 const SafetensorsCheckpoint* weights);
};

constexpr std::array kEncoderDecoderFamilies = {
    Family{"t5", from_config<EncoderDecoder, T5, T5Config>},
    Family{"whisper", from_config<EncoderDecoder, Whisper, WhisperConfig>},
};

const Family* find_family(const ConfigJson& config) {
  const std::string type = config.text("model_type", "");
  const auto* found = std::ranges::find(kEncoderDecoderFamilies, type, &Family::type);
  return found == kEncoderDecoderFamilies.end() ? nullptr : found;
}

const Family& encoder_decoder_family_of(const ConfigJson& config) {
  if (const Family* family = find_family(config)) return *family;
  std::string known;
  for (const Family& each : kEncoderDecoderFamilies)
    known += (known.empty() ? "" : ", ") + std::string(each.type);
  throw Error(
      ErrorKind::Format, config.subject(),
      detail::concat("model_type got '", config.text("model_type", ""), "', takes one of ", known));
}

}  // namespace

bool is_encoder_decoder(const ConfigJson& config) {
  return find_family(config) != nullptr;
}

std::unique_ptr<EncoderDecoder> make_encoder_decoder(const ConfigJson& config,
                                                     const SafetensorsCheckpoint* weights) {
  const nn::SkipInit skip;
  return encoder_decoder_family_of(config).from_config(config, weights);
}

std::unique_ptr<EncoderDecoder> load_encoder_decoder(const std::filesystem::path& directory,
                                                     DType dtype) {
  return load_directory("load_encoder_decoder", directory, dtype, encoder_decoder_family_of);
}

void save_pretrained(const EncoderDecoder& model, const std::filesystem::path& directory,
                     const SaveOptions& options) {
  const DType dtype = options.dtype.value_or(model.head_weight().dtype());
  save_pretrained(model, model.weight_slices(), model.config_json(dtype), directory, options);
}

}  // namespace plinth
