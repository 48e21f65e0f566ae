#pragma once

// Whisper's encoder with a head for connectionist temporal classification (Graves et al. 2006): a
// class of text, or a blank, for every position. transformers has no such class. The encoder's
// tensors have the names that they have in a Whisper's file, the head's that of its Wav2Vec2ForCTC.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "models/config_json.h"
#include "models/weight_map.h"
#include "models/whisper/config.h"
#include "models/whisper/whisper.h"
#include "nn/layers.h"
#include "nn/module.h"

namespace plinth {

struct WhisperCtcConfig {
  WhisperConfig whisper = {};  // of which the encoder counts
  // Classes by number, of which the first is the blank; pieces of text: characters or words.
  std::vector<std::string> labels = {};
  bool words = false;

  // Throws what WhisperConfig::encoder_from_json() does, and Error(Format) without labels, or with
  // one.
  static WhisperCtcConfig from_json(const ConfigJson& json);
  std::string to_json(DType dtype) const;
};

// Whether a config.json is that of such a model.
bool is_whisper_ctc(const ConfigJson& json);

class WhisperCtc final : public nn::ModuleOf<WhisperCtc> {
 public:
  explicit WhisperCtc(const WhisperCtcConfig& config);

  const WhisperCtcConfig& config() const { return config_; }
  // Logits [batch, source_positions, labels] of features [batch, mel_bins, 2 source_positions] of
  // any floating dtype. Throws Error(Shape) or Error(DType).
  Tensor forward(const Tensor& features);

  std::string config_json(DType dtype) const { return config_.to_json(dtype); }
  std::vector<WeightSlice> weight_slices() const;
  Device device() const { return head_->weight().device(); }

 private:
  WhisperCtcConfig config_;
  nn::Handle<WhisperEncoder> encoder_;
  nn::Handle<nn::Linear> head_;
};

// A directory with config.json and model.safetensors: that of a WhisperCtc. Throws Error(Io) or
// Error(Format) naming file, tensor and shape.
std::unique_ptr<WhisperCtc> load_whisper_ctc(const std::filesystem::path& directory);

// These labels on the encoder of a whole Whisper, or of another WhisperCtc, in `directory`: the
// head is drawn from the seed. Throws the same.
std::unique_ptr<WhisperCtc> make_whisper_ctc(const std::filesystem::path& directory,
                                             std::vector<std::string> labels, bool words,
                                             uint64_t seed);

}  // namespace plinth
