#pragma once

#include <cstdint>
#include <string_view>

#include "models/encoder_decoder.h"

namespace plinth {

// How deep a parameter of an encoder-decoder lies (FinetuneTask::depth_of()): embeddings and the
// encoder's stem lowest, then the encoder's blocks, the decoder's, and the head; a norm goes with
// the last block before it.
int64_t encoder_decoder_depths(const EncoderDecoderInfo& info);
int64_t encoder_decoder_depth(const EncoderDecoderInfo& info, std::string_view parameter);

}  // namespace plinth
