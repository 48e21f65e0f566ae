#include "models/bert/config.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/bert/config_fields.h"

namespace plinth {

namespace {

constexpr std::array<std::string_view, 1> kPositions = {"absolute"};
constexpr std::array<std::string_view, 3> kBertArchitectures = {"BertForMaskedLM",
                                                                "BertForPreTraining", "BertModel"};

BertParts parts_of_architecture(const ConfigJson& json) {
  const std::string architecture =
      json.first_word("architectures", "BertForMaskedLM", kBertArchitectures);
  BertParts parts;
  parts.masked_lm = architecture != "BertModel";
  parts.next_sentence = architecture == "BertForPreTraining";
  parts.pooler = architecture != "BertForMaskedLM";
  return parts;
}

}  // namespace

BertParts BertParts::of(const SafetensorsCheckpoint& weights) {
  BertParts parts;
  parts.masked_lm = weights.find("cls.predictions.bias") != nullptr;
  parts.pooler = weights.find("bert.pooler.dense.weight") || weights.find("pooler.dense.weight");
  parts.next_sentence = parts.pooler && weights.find("cls.seq_relationship.weight");
  return parts;
}

std::string BertParts::architecture() const {
  if (next_sentence && masked_lm) return "BertForPreTraining";
  return masked_lm ? "BertForMaskedLM" : "BertModel";
}

BertConfig read_bert_sizes(const ConfigJson& json) {
  json.expect("is_decoder", false);
  json.expect("add_cross_attention", false);
  json.word("position_embedding_type", "absolute", kPositions);
  BertConfig config;
  config.vocab_size = json.size("vocab_size");
  config.context = json.size("max_position_embeddings", config.context);
  config.segments = json.size("type_vocab_size", config.segments);
  config.dim = json.size("hidden_size");
  config.layers = json.count("num_hidden_layers");
  config.heads = json.size("num_attention_heads");
  config.ffn_dim = json.size("intermediate_size");
  const bool exact = json.word("hidden_act", "gelu", kGeluNames) == "gelu";
  config.gelu = exact ? GeluForm::Exact : GeluForm::Tanh;
  config.norm_eps = json.number("layer_norm_eps", config.norm_eps);
  config.hidden_dropout = json.number("hidden_dropout_prob", config.hidden_dropout);
  config.attention_dropout = json.number("attention_probs_dropout_prob", config.attention_dropout);
  config.initializer_range = json.number("initializer_range", config.initializer_range);
  config.tied = json.boolean("tie_word_embeddings", true);
  config.pad_token = json.token("pad_token_id");
  config.bos_token = json.token("bos_token_id");
  config.eos_tokens = json.tokens("eos_token_id");
  check(config.dim % config.heads == 0, ErrorKind::Format, json.subject(), "hidden_size is ",
        config.dim, ", takes a multiple of num_attention_heads ", config.heads);
  return config;
}

nlohmann::ordered_json write_bert_sizes(const BertConfig& config, const std::string& architecture) {
  nlohmann::ordered_json json;
  json["architectures"] = {architecture};
  json["model_type"] = "bert";
  json["vocab_size"] = config.vocab_size;
  json["max_position_embeddings"] = config.context;
  json["type_vocab_size"] = config.segments;
  json["hidden_size"] = config.dim;
  json["num_hidden_layers"] = config.layers;
  json["num_attention_heads"] = config.heads;
  json["intermediate_size"] = config.ffn_dim;
  json["hidden_act"] = config.gelu == GeluForm::Exact ? "gelu" : "gelu_new";
  json["layer_norm_eps"] = config.norm_eps;
  json["hidden_dropout_prob"] = config.hidden_dropout;
  json["attention_probs_dropout_prob"] = config.attention_dropout;
  json["initializer_range"] = config.initializer_range;
  json["position_embedding_type"] = "absolute";
  json["tie_word_embeddings"] = config.tied;
  json["pad_token_id"] = config.pad_token ? nlohmann::ordered_json(*config.pad_token) : nullptr;
  return json;
}

BertConfig BertConfig::from_json(const ConfigJson& json, const SafetensorsCheckpoint* weights) {
  BertConfig config = read_bert_sizes(json);
  const BertParts named = parts_of_architecture(json);  // checks it
  config.parts = weights ? BertParts::of(*weights) : named;
  return config;
}

BertConfig BertConfig::from_size(const ModelSize& size) {
  check(size.kv_heads == 0 || size.kv_heads == size.heads, ErrorKind::Config, "model.kv_heads",
        "bert has as many keys and values as heads (", size.heads, "), got ", size.kv_heads);
  check(size.dim % size.heads == 0, ErrorKind::Config, "model.dim", "got ", size.dim,
        ", takes a multiple of heads (", size.heads, ")");
  BertConfig config;
  config.vocab_size = size.vocab_size;
  config.context = size.context;
  config.dim = size.dim;
  config.layers = size.layers;
  config.heads = size.heads;
  config.ffn_dim = size.ffn_dim ? size.ffn_dim : 4 * size.dim;
  config.hidden_dropout = config.attention_dropout = size.dropout;
  config.tied = size.tied;
  config.pad_token = std::nullopt;
  if (size.eos_token) config.eos_tokens = {*size.eos_token};
  return config;
}

std::string BertConfig::to_json(DType dtype) const {
  return finished_config(write_bert_sizes(*this, parts.architecture()), bos_token, eos_tokens,
                         dtype);
}

}  // namespace plinth
