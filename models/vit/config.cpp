#include "models/vit/config.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/labels.h"

namespace plinth {

namespace {

constexpr std::array<std::string_view, 1> kPoolers = {"tanh"};
constexpr std::array<std::string_view, 2> kViTArchitectures = {"ViTForImageClassification",
                                                               "ViTModel"};

}  // namespace

ViTConfig read_vit_layers(const ConfigJson& json) {
  ViTConfig config;
  config.patch_size = json.size("patch_size", config.patch_size);
  config.channels = json.size("num_channels", config.channels);
  config.dim = json.size("hidden_size", config.dim);
  config.layers = json.count("num_hidden_layers", config.layers);
  config.heads = json.size("num_attention_heads", config.heads);
  config.ffn_dim = json.size("intermediate_size", config.ffn_dim);
  const bool exact = json.word("hidden_act", "gelu", kGeluNames) == "gelu";
  config.gelu = exact ? GeluForm::Exact : GeluForm::Tanh;
  config.qkv_bias = json.boolean("qkv_bias", true);
  config.norm_eps = json.number("layer_norm_eps", config.norm_eps);
  config.hidden_dropout = json.number("hidden_dropout_prob", config.hidden_dropout);
  config.attention_dropout = json.number("attention_probs_dropout_prob", config.attention_dropout);
  config.initializer_range = json.number("initializer_range", config.initializer_range);
  check(config.dim % config.heads == 0, ErrorKind::Format, json.subject(), "hidden_size is ",
        config.dim, ", takes a multiple of num_attention_heads ", config.heads);
  return config;
}

ViTConfig read_vit_sizes(const ConfigJson& json) {
  ViTConfig config = read_vit_layers(json);
  config.image_size = json.size("image_size", config.image_size);
  check(config.patch_size <= config.image_size, ErrorKind::Format, json.subject(), "patch_size is ",
        config.patch_size, ", takes at most image_size ", config.image_size);
  return config;
}

nlohmann::ordered_json write_vit_sizes(const ViTConfig& config, const std::string& architecture,
                                       const std::string& model_type) {
  nlohmann::ordered_json json;
  json["architectures"] = {architecture};
  json["model_type"] = model_type;
  json["image_size"] = config.image_size;
  json["patch_size"] = config.patch_size;
  json["num_channels"] = config.channels;
  json["hidden_size"] = config.dim;
  json["num_hidden_layers"] = config.layers;
  json["num_attention_heads"] = config.heads;
  json["intermediate_size"] = config.ffn_dim;
  json["hidden_act"] = config.gelu == GeluForm::Exact ? "gelu" : "gelu_new";
  json["qkv_bias"] = config.qkv_bias;
  json["layer_norm_eps"] = config.norm_eps;
  json["hidden_dropout_prob"] = config.hidden_dropout;
  json["attention_probs_dropout_prob"] = config.attention_dropout;
  json["initializer_range"] = config.initializer_range;
  return json;
}

ViTConfig ViTConfig::from_json(const ConfigJson& json, const SafetensorsCheckpoint* weights) {
  ViTConfig config = read_vit_sizes(json);
  json.word("pooler_act", kPoolers[0], kPoolers);
  config.pooler_dim = json.size("pooler_output_size", config.dim);
  const std::string architecture = json.first_word("architectures", "ViTModel", kViTArchitectures);
  if (architecture == kViTArchitectures[0]) {
    config.labels = read_labels(json);
  } else {
    config.pooler = !weights || weights->find("pooler.dense.weight") != nullptr;
  }
  return config;
}

std::string ViTConfig::to_json(DType dtype) const {
  const std::string_view architecture =
      labels.empty() ? kViTArchitectures[1] : kViTArchitectures[0];
  nlohmann::ordered_json json = write_vit_sizes(*this, std::string(architecture), "vit");
  json["encoder_stride"] = patch_size;  // of a head that is not here: what transformers goes by
  json["pooler_output_size"] = pooler_dim;
  json["pooler_act"] = "tanh";
  write_labels(labels, json);
  return finished_config(std::move(json), dtype);
}

}  // namespace plinth
