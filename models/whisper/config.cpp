#include "models/whisper/config.h"

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace plinth {

namespace {

void check_heads(const ConfigJson& json, int64_t dim, int64_t heads, const char* key) {
  check(dim % heads == 0, ErrorKind::Format, json.subject(), "d_model is ", dim,
        ", takes a multiple of ", key, " ", heads);
}

}  // namespace

WhisperConfig WhisperConfig::encoder_from_json(const ConfigJson& json) {
  json.expect("scale_embedding", false);
  json.expect("apply_spec_augment", false);
  check(json.number("encoder_layerdrop", 0) == 0, ErrorKind::Format, json.subject(),
        "encoder_layerdrop is ", json.number("encoder_layerdrop", 0), ", takes 0 only");
  WhisperConfig config;
  config.mel_bins = json.size("num_mel_bins", config.mel_bins);
  config.source_positions = json.size("max_source_positions", config.source_positions);
  config.dim = json.size("d_model");
  config.encoder_layers = json.count("encoder_layers");
  config.encoder_heads = json.size("encoder_attention_heads");
  config.encoder_ffn_dim = json.size("encoder_ffn_dim");
  const bool exact = json.word("activation_function", "gelu", kGeluNames) == "gelu";
  config.gelu = exact ? GeluForm::Exact : GeluForm::Tanh;
  config.dropout = json.number("dropout", config.dropout);
  config.attention_dropout = json.number("attention_dropout", config.attention_dropout);
  config.activation_dropout = json.number("activation_dropout", config.activation_dropout);
  config.init_std = json.number("init_std", config.init_std);
  check_heads(json, config.dim, config.encoder_heads, "encoder_attention_heads");
  check(config.dim % 2 == 0 && config.dim > 2, ErrorKind::Format, json.subject(), "d_model is ",
        config.dim, ", takes an even number above 2: half are sines, half cosines");
  return config;
}

WhisperConfig WhisperConfig::from_json(const ConfigJson& json) {
  json.expect("is_encoder_decoder", true);
  check(json.number("decoder_layerdrop", 0) == 0, ErrorKind::Format, json.subject(),
        "decoder_layerdrop is ", json.number("decoder_layerdrop", 0), ", takes 0 only");
  WhisperConfig config = encoder_from_json(json);
  config.vocab_size = json.size("vocab_size");
  config.target_positions = json.size("max_target_positions", config.target_positions);
  config.decoder_layers = json.count("decoder_layers");
  config.decoder_heads = json.size("decoder_attention_heads");
  config.decoder_ffn_dim = json.size("decoder_ffn_dim");
  config.tied = json.boolean("tie_word_embeddings", true);
  config.pad_token = json.token("pad_token_id").value_or(config.pad_token);
  config.start_token = json.token("decoder_start_token_id").value_or(config.start_token);
  config.bos_token = json.token("bos_token_id", config.bos_token);
  config.eos_tokens = json.tokens("eos_token_id", config.eos_tokens);
  check_heads(json, config.dim, config.decoder_heads, "decoder_attention_heads");
  return config;
}

std::string WhisperConfig::to_json(DType dtype) const {
  nlohmann::ordered_json json;
  json["architectures"] = {"WhisperForConditionalGeneration"};
  json["model_type"] = "whisper";
  json["is_encoder_decoder"] = true;
  json["vocab_size"] = vocab_size;
  json["num_mel_bins"] = mel_bins;
  json["max_source_positions"] = source_positions;
  json["max_target_positions"] = target_positions;
  json["d_model"] = dim;
  json["encoder_layers"] = encoder_layers;
  json["encoder_attention_heads"] = encoder_heads;
  json["encoder_ffn_dim"] = encoder_ffn_dim;
  json["decoder_layers"] = decoder_layers;
  json["decoder_attention_heads"] = decoder_heads;
  json["decoder_ffn_dim"] = decoder_ffn_dim;
  json["activation_function"] = gelu == GeluForm::Exact ? "gelu" : "gelu_new";
  json["dropout"] = dropout;
  json["attention_dropout"] = attention_dropout;
  json["activation_dropout"] = activation_dropout;
  json["init_std"] = init_std;
  json["scale_embedding"] = false;
  json["tie_word_embeddings"] = tied;
  json["pad_token_id"] = pad_token;
  json["decoder_start_token_id"] = start_token;
  return finished_config(std::move(json), bos_token, eos_tokens, dtype);
}

}  // namespace plinth
