#include "models/t5/config.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace plinth {

namespace {

constexpr std::array<std::string_view, 2> kFeedForward = {"relu", "gated-gelu"};

}  // namespace

T5Config T5Config::from_json(const ConfigJson& json, const SafetensorsCheckpoint* weights) {
  json.expect("is_decoder", false);
  json.expect("is_encoder_decoder", true);
  T5Config config;
  config.vocab_size = json.size("vocab_size");
  config.dim = json.size("d_model");
  config.head_dim = json.size("d_kv");
  config.ffn_dim = json.size("d_ff");
  config.encoder_layers = json.count("num_layers");
  config.decoder_layers = json.count("num_decoder_layers", config.encoder_layers);
  config.heads = json.size("num_heads");
  config.buckets = json.size("relative_attention_num_buckets", config.buckets);
  config.max_distance = json.size("relative_attention_max_distance", config.max_distance);
  config.dropout = json.number("dropout_rate", config.dropout);
  config.norm_eps = json.number("layer_norm_epsilon", config.norm_eps);
  config.initializer_factor = json.number("initializer_factor", config.initializer_factor);
  config.gated = json.word("feed_forward_proj", "relu", kFeedForward) == "gated-gelu";
  config.tied = config.scaled_head = json.boolean("tie_word_embeddings", true);
  if (json.has("scale_decoder_outputs")) {
    config.scaled_head = json.boolean("scale_decoder_outputs", true);
    config.tied = weights ? !weights->find("lm_head.weight") : config.tied && config.scaled_head;
  }
  config.pad_token = json.token("pad_token_id").value_or(0);
  config.start_token = json.token("decoder_start_token_id").value_or(config.pad_token);
  config.eos_tokens = json.tokens("eos_token_id", config.eos_tokens);
  return config;
}

T5Config T5Config::from_size(const ModelSize& size) {
  check(size.kv_heads == 0 || size.kv_heads == size.heads, ErrorKind::Config, "model.kv_heads",
        "t5 has as many keys and values as heads (", size.heads, "), got ", size.kv_heads);
  check(size.dim % size.heads == 0, ErrorKind::Config, "model.dim", "got ", size.dim,
        ", takes a multiple of heads (", size.heads, ")");
  T5Config config;
  config.vocab_size = size.vocab_size;
  config.dim = size.dim;
  config.head_dim = size.dim / size.heads;
  config.ffn_dim = size.ffn_dim ? size.ffn_dim : 4 * size.dim;
  config.encoder_layers = config.decoder_layers = size.layers;
  config.heads = size.heads;
  config.dropout = size.dropout;
  config.tied = config.scaled_head = size.tied;
  if (size.eos_token) config.eos_tokens = {*size.eos_token};
  return config;
}

std::string T5Config::to_json(DType dtype) const {
  nlohmann::ordered_json json;
  json["architectures"] = {"T5ForConditionalGeneration"};
  json["model_type"] = "t5";
  json["is_encoder_decoder"] = true;
  json["vocab_size"] = vocab_size;
  json["d_model"] = dim;
  json["d_kv"] = head_dim;
  json["d_ff"] = ffn_dim;
  json["num_layers"] = encoder_layers;
  json["num_decoder_layers"] = decoder_layers;
  json["num_heads"] = heads;
  json["relative_attention_num_buckets"] = buckets;
  json["relative_attention_max_distance"] = max_distance;
  json["dropout_rate"] = dropout;
  json["layer_norm_epsilon"] = norm_eps;
  json["initializer_factor"] = initializer_factor;
  json["feed_forward_proj"] = gated ? "gated-gelu" : "relu";
  json["tie_word_embeddings"] = tied;
  json["scale_decoder_outputs"] = scaled_head;
  json["pad_token_id"] = pad_token;
  json["decoder_start_token_id"] = start_token;
  return finished_config(std::move(json), std::nullopt, eos_tokens, dtype);
}

}  // namespace plinth
