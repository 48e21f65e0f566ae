#include "models/whisper/ctc.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/encoder_decoder_registry.h"
#include "models/labels.h"
#include "nn/init.h"

namespace plinth {

namespace {

constexpr std::string_view kType = "whisper_ctc";
constexpr std::array<std::string_view, 2> kUnits = {"characters", "words"};

}  // namespace

WhisperCtcConfig WhisperCtcConfig::from_json(const ConfigJson& json) {
  WhisperCtcConfig config{.whisper = WhisperConfig::encoder_from_json(json)};
  check(json.has("id2label"), ErrorKind::Format, json.subject(), "has no id2label");
  config.labels = read_labels(json);
  config.words = json.word("ctc_units", kUnits[0], kUnits) == kUnits[1];
  return config;
}

std::string WhisperCtcConfig::to_json(DType dtype) const {
  nlohmann::ordered_json json;
  json["architectures"] = {"WhisperCtc"};
  json["model_type"] = kType;
  json["num_mel_bins"] = whisper.mel_bins;
  json["max_source_positions"] = whisper.source_positions;
  json["d_model"] = whisper.dim;
  json["encoder_layers"] = whisper.encoder_layers;
  json["encoder_attention_heads"] = whisper.encoder_heads;
  json["encoder_ffn_dim"] = whisper.encoder_ffn_dim;
  json["activation_function"] = whisper.gelu == GeluForm::Exact ? "gelu" : "gelu_new";
  json["dropout"] = whisper.dropout;
  json["attention_dropout"] = whisper.attention_dropout;
  json["activation_dropout"] = whisper.activation_dropout;
  json["init_std"] = whisper.init_std;
  json["ctc_units"] = kUnits[words ? 1 : 0];
  write_labels(labels, json);
  return finished_config(std::move(json), dtype);
}

bool is_whisper_ctc(const ConfigJson& json) {
  return json.text("model_type", "") == kType;
}

WhisperCtc::WhisperCtc(const WhisperCtcConfig& config) : config_(config) {
  encoder_ = make<WhisperEncoder>("encoder", config.whisper);
  head_ = make<nn::Linear>(
      "head", config.whisper.dim, static_cast<int64_t>(config.labels.size()),
      nn::LinearOptions{.weight_init = nn::init::normal(0, config.whisper.init_std),
                        .bias_init = nn::init::zeros()});
}

Tensor WhisperCtc::forward(const Tensor& features) {
  check_whisper_features(features, config_.whisper, kType);
  return head_(encoder_(features.to(head_->weight().dtype()), /*checkpointing=*/false));
}

std::vector<WeightSlice> WhisperCtc::weight_slices() const {
  std::vector<WeightSlice> slices = whisper_encoder_slices(config_.whisper);
  slices.push_back({"lm_head.weight", "head.weight"});
  slices.push_back({"lm_head.bias", "head.bias"});
  return slices;
}

std::unique_ptr<WhisperCtc> load_whisper_ctc(const std::filesystem::path& directory) {
  const ConfigJson json = ConfigJson::read(directory / "config.json");
  check(is_whisper_ctc(json), ErrorKind::Format, directory.string(), "holds a ",
        json.text("model_type", ""), ", takes a ", kType);
  const nn::SkipInit skip;
  auto model = std::make_unique<WhisperCtc>(WhisperCtcConfig::from_json(json));
  read_weights(*model, model->weight_slices(), SafetensorsCheckpoint::open(directory), directory);
  return model;
}

std::unique_ptr<WhisperCtc> make_whisper_ctc(const std::filesystem::path& directory,
                                             std::vector<std::string> labels, bool words,
                                             uint64_t seed) {
  const ConfigJson json = ConfigJson::read(directory / "config.json");
  const auto with = [&](const WhisperConfig& whisper, const nn::StateDict& weights) {
    auto model = std::make_unique<WhisperCtc>(
        WhisperCtcConfig{.whisper = whisper, .labels = std::move(labels), .words = words});
    model->reset_parameters(seed);
    nn::StateDict encoder = weights;
    std::erase_if(encoder,
                  [](const nn::NamedTensor& entry) { return !entry.name.starts_with("encoder."); });
    model->load_state_dict(encoder, /*strict=*/false);
    return model;
  };
  if (is_whisper_ctc(json)) {
    const std::unique_ptr<WhisperCtc> before = load_whisper_ctc(directory);
    return with(before->config().whisper, before->state_dict());
  }
  const std::unique_ptr<EncoderDecoder> model = load_encoder_decoder(directory);
  const auto* whisper = dynamic_cast<const Whisper*>(model.get());
  check(whisper != nullptr, ErrorKind::Format, directory.string(), "holds a ", model->info().type,
        ", takes a whisper");
  return with(whisper->config(), whisper->state_dict());
}

}  // namespace plinth
