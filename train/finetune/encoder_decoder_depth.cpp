#include "train/finetune/encoder_decoder_depth.h"

#include "train/finetune/block_number.h"

namespace plinth {

int64_t encoder_decoder_depths(const EncoderDecoderInfo& info) {
  return info.encoder_layers + info.decoder_layers + 2;
}

int64_t encoder_decoder_depth(const EncoderDecoderInfo& info, std::string_view parameter) {
  if (const auto block = block_number(parameter, "encoder.blocks.block")) return *block + 1;
  if (const auto block = block_number(parameter, "decoder.blocks.block"))
    return info.encoder_layers + *block + 1;
  if (parameter.starts_with("encoder.norm")) return info.encoder_layers;
  const bool is_last = parameter == "head" || parameter.starts_with("decoder.norm");
  return is_last ? encoder_decoder_depths(info) - 1 : 0;
}

}  // namespace plinth
