#pragma once

// Sizes and settings of a Whisper, as config.json of Hugging Face's "whisper" family names them.

#include <cstdint>
#include <optional>
#include <string>

#include "core/ops/activation.h"
#include "kernels/dtype.h"
#include "models/config_json.h"

namespace plinth {

// The defaults are Whisper-tiny, 39 M parameters, multilingual.
struct WhisperConfig {
  int64_t vocab_size = 51865;
  int64_t mel_bins = 80;            // num_mel_bins
  int64_t source_positions = 1500;  // max_source_positions: half as many as frames of features
  int64_t target_positions = 448;   // max_target_positions
  int64_t dim = 384;                // d_model
  int64_t encoder_layers = 4;
  int64_t encoder_heads = 6;       // encoder_attention_heads
  int64_t encoder_ffn_dim = 1536;  // encoder_ffn_dim
  int64_t decoder_layers = 4;
  int64_t decoder_heads = 6;
  int64_t decoder_ffn_dim = 1536;
  GeluForm gelu = GeluForm::Exact;
  double dropout = 0;
  double attention_dropout = 0;
  double activation_dropout = 0;
  double init_std = 0.02;
  bool tied = true;  // the output projection is the decoder's token embedding
  int64_t pad_token = 50256;
  int64_t start_token = 50257;  // decoder_start_token_id
  std::optional<int64_t> bos_token = 50256;
  std::vector<int64_t> eos_tokens = {50256};  // any of them ends a text

  // Throws Error(Format) naming file and key for what is malformed, or what Plinth's Whisper does
  // not compute (scaled embeddings, layers dropped in training, masked features).
  static WhisperConfig from_json(const ConfigJson& json);
  // The sizes of the encoder alone; what is said of a decoder is passed over. Throws the same.
  static WhisperConfig encoder_from_json(const ConfigJson& json);
  std::string to_json(DType dtype) const;
};

}  // namespace plinth
