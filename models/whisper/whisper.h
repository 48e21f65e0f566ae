#pragma once

// Whisper (Radford et al. 2022, arXiv 2212.04356): an encoder of log-mel features
// (data/audio/log_mel.h), two convolutions before its blocks, and a decoder of text.

#include <string>
#include <string_view>
#include <vector>

#include "models/encoder_decoder.h"
#include "models/encoder_decoder_block.h"
#include "models/whisper/config.h"

namespace plinth {

// gelu(conv1(x)), gelu(conv2(.)) at half the rate, positions by sines and cosines, blocks, norm.
class WhisperEncoder final : public nn::ModuleOf<WhisperEncoder> {
 public:
  explicit WhisperEncoder(const WhisperConfig& config);
  // features [batch, mel_bins, 2 source_positions] -> [batch, source_positions, dim].
  Tensor forward(const Tensor& features, bool checkpointing);

 private:
  GeluForm gelu_;
  nn::Handle<nn::Conv1d> conv1_, conv2_;
  Tensor positions_;  // [source_positions, dim], a buffer
  nn::Handle<nn::Dropout> dropout_;
  nn::Handle<EncoderDecoderStack> blocks_;
  nn::Handle<nn::LayerNorm> norm_;
};

// Throws Error(Shape) or Error(DType) unless the encoder takes these features.
void check_whisper_features(const Tensor& features, const WhisperConfig& config,
                            std::string_view subject);
// How the encoder, a module's "encoder", lies in a Hugging Face file.
std::vector<WeightSlice> whisper_encoder_slices(const WhisperConfig& config);

// Learned positions, blocks, norm.
class WhisperDecoder final : public nn::ModuleOf<WhisperDecoder> {
 public:
  explicit WhisperDecoder(const WhisperConfig& config);
  // ids [batch, time] -> [batch, time, dim].
  Tensor forward(const Tensor& ids, const EncoderDecoderStackInputs& inputs);

  const Tensor& token_weight() const { return token_embedding_->weight(); }

 private:
  int64_t pad_token_;
  nn::Handle<nn::Embedding> token_embedding_, position_embedding_;
  nn::Handle<nn::Dropout> dropout_;
  nn::Handle<EncoderDecoderStack> blocks_;
  nn::Handle<nn::LayerNorm> norm_;
};

class Whisper final : public EncoderDecoder {
 public:
  explicit Whisper(const WhisperConfig& config);

  const WhisperConfig& config() const { return config_; }
  const EncoderDecoderInfo& info() const override { return info_; }
  // Features [batch, mel_bins, 2 source_positions] of any floating dtype; takes no lengths: silence
  // is what stands behind a shorter sound.
  EncoderStates encode(const Tensor& features, const Tensor& lengths = {}) override;
  const Tensor& head_weight() const override { return head_weight_; }
  std::string config_json(DType dtype) const override { return config_.to_json(dtype); }
  std::vector<WeightSlice> weight_slices() const override;

 protected:
  Tensor decode_ids(const Tensor& ids, const EncoderStates& source, DecoderCaches* caches) override;

 private:
  WhisperConfig config_;
  EncoderDecoderInfo info_;
  nn::Handle<WhisperEncoder> encoder_;
  nn::Handle<WhisperDecoder> decoder_;
  Tensor head_weight_;  // [vocab_size, dim]
};

}  // namespace plinth
