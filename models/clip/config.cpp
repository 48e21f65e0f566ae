#include "models/clip/config.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace plinth {

namespace {

constexpr std::array<std::string_view, 2> kClipActivations = {"quick_gelu", "gelu"};
constexpr std::array<std::string_view, 1> kClipArchitectures = {"CLIPModel"};

// Older files have each tower's settings twice. transformers takes all of them, also those that are
// left out, from text_config_dict and vision_config_dict where there are such.
ConfigJson tower_of(const ConfigJson& json, const std::string& key) {
  return json.object(json.has(key + "_dict") ? key + "_dict" : key);
}

void read_tower(const ConfigJson& json, std::string_view key, ClipTowerConfig& tower) {
  tower.dim = json.size("hidden_size", tower.dim);
  tower.layers = json.count("num_hidden_layers", tower.layers);
  tower.heads = json.size("num_attention_heads", tower.heads);
  tower.ffn_dim = json.size("intermediate_size", tower.ffn_dim);
  const bool quick =
      json.word("hidden_act", kClipActivations[0], kClipActivations) == kClipActivations[0];
  tower.gelu = quick ? GeluForm::Quick : GeluForm::Exact;
  tower.norm_eps = json.number("layer_norm_eps", tower.norm_eps);
  tower.attention_dropout = json.number("attention_dropout", tower.attention_dropout);
  check(tower.dim % tower.heads == 0, ErrorKind::Format, json.subject(), key, ".hidden_size is ",
        tower.dim, ", takes a multiple of num_attention_heads ", tower.heads);
}

nlohmann::ordered_json write_tower(const ClipTowerConfig& tower, const char* model_type,
                                   int64_t projection_dim) {
  nlohmann::ordered_json json;
  json["model_type"] = model_type;
  json["hidden_size"] = tower.dim;
  json["num_hidden_layers"] = tower.layers;
  json["num_attention_heads"] = tower.heads;
  json["intermediate_size"] = tower.ffn_dim;
  json["hidden_act"] = kClipActivations[tower.gelu == GeluForm::Quick ? 0 : 1];
  json["layer_norm_eps"] = tower.norm_eps;
  json["attention_dropout"] = tower.attention_dropout;
  json["projection_dim"] = projection_dim;
  return json;
}

// -1 is read as none, where null would mean the default.
int64_t or_none(std::optional<int64_t> token) {
  return token.value_or(-1);
}

}  // namespace

ClipConfig ClipConfig::from_json(const ConfigJson& json) {
  json.first_word("architectures", kClipArchitectures[0], kClipArchitectures);
  ClipConfig config;
  const ConfigJson text = tower_of(json, "text_config"), vision = tower_of(json, "vision_config");
  read_tower(text, "text_config", config.text);
  config.text.vocab_size = text.size("vocab_size", config.text.vocab_size);
  config.text.context = text.size("max_position_embeddings", config.text.context);
  if (text.has("pad_token_id")) config.text.pad_token = text.token("pad_token_id");
  if (text.has("bos_token_id")) config.text.bos_token = text.token("bos_token_id");
  config.text.eos_token = text.token("eos_token_id").value_or(config.text.eos_token);
  read_tower(vision, "vision_config", config.vision);
  config.vision.image_size = vision.size("image_size", config.vision.image_size);
  config.vision.patch_size = vision.size("patch_size", config.vision.patch_size);
  config.vision.channels = vision.size("num_channels", config.vision.channels);
  config.vision.initializer_range =
      vision.number("initializer_range", config.vision.initializer_range);
  config.projection_dim = json.size("projection_dim", config.projection_dim);
  config.logit_scale = json.number("logit_scale_init_value", config.logit_scale, -100);
  check(config.vision.patch_size <= config.vision.image_size, ErrorKind::Format, json.subject(),
        "vision_config.patch_size is ", config.vision.patch_size, ", takes at most image_size ",
        config.vision.image_size);
  return config;
}

std::string ClipConfig::to_json(DType dtype) const {
  nlohmann::ordered_json json;
  json["architectures"] = {kClipArchitectures[0]};
  json["model_type"] = "clip";
  json["projection_dim"] = projection_dim;
  json["logit_scale_init_value"] = logit_scale;
  json["text_config"] = write_tower(text, "clip_text_model", projection_dim);
  json["text_config"]["vocab_size"] = text.vocab_size;
  json["text_config"]["max_position_embeddings"] = text.context;
  json["text_config"]["pad_token_id"] = or_none(text.pad_token);
  json["text_config"]["bos_token_id"] = or_none(text.bos_token);
  json["text_config"]["eos_token_id"] = text.eos_token;
  json["vision_config"] = write_tower(vision, "clip_vision_model", projection_dim);
  json["vision_config"]["image_size"] = vision.image_size;
  json["vision_config"]["patch_size"] = vision.patch_size;
  json["vision_config"]["num_channels"] = vision.channels;
  json["vision_config"]["initializer_range"] = vision.initializer_range;
  return finished_config(std::move(json), dtype);
}

}  // namespace plinth
