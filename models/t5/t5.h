#pragma once

// T5 (Raffel et al. 2020, arXiv 1910.10683): an encoder and a decoder of text whose attention knows
// positions by a bias for each distance that all layers share, with RMS norms and no biases.

#include <string>
#include <vector>

#include "models/encoder_decoder.h"
#include "models/encoder_decoder_block.h"
#include "models/t5/config.h"

namespace plinth {

// The blocks of the encoder or the decoder, and their norm.
class T5Stack final : public nn::ModuleOf<T5Stack> {
 public:
  T5Stack(const T5Config& config, bool decoder);

  // x [batch, time, dim] to the same; the bias is its own.
  Tensor forward(const Tensor& x, EncoderDecoderStackInputs inputs);

 private:
  nn::Handle<nn::RelativePositionBias> position_bias_;
  nn::Handle<EncoderDecoderStack> blocks_;
  nn::Handle<nn::RMSNorm> norm_;
  nn::Handle<nn::Dropout> dropout_;
};

class T5 final : public EncoderDecoder {
 public:
  explicit T5(const T5Config& config);

  const T5Config& config() const { return config_; }
  const EncoderDecoderInfo& info() const override { return info_; }
  EncoderStates encode(const Tensor& source, const Tensor& lengths = {}) override;
  const Tensor& head_weight() const override { return head_weight_; }
  std::string config_json(DType dtype) const override { return config_.to_json(dtype); }
  std::vector<WeightSlice> weight_slices() const override;

 protected:
  Tensor decode_ids(const Tensor& ids, const EncoderStates& source, DecoderCaches* caches) override;

 private:
  T5Config config_;
  EncoderDecoderInfo info_;
  nn::Handle<nn::Embedding> token_embedding_;
  nn::Handle<nn::Dropout> dropout_;
  nn::Handle<T5Stack> encoder_, decoder_;
  Tensor head_weight_;  // [vocab_size, dim]
};

}  // namespace plinth
