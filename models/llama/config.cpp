#include "models/llama/config.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace plinth {

namespace {

constexpr std::array<std::string_view, 3> kRopeTypes = {"default", "linear", "llama3"};
constexpr std::array<std::string_view, 1> kLlamaActivations = {"silu"};

// transformers 5's rope_parameters, or rope_scaling, their name before, which counts first if it
// says anything, as it does there.
ConfigJson rope_of(const ConfigJson& json) {
  ConfigJson before = json.object("rope_scaling");
  return before.empty() ? json.object("rope_parameters") : before;
}

RopeScaling read_scaling(const ConfigJson& json, int64_t context) {
  RopeScaling scaling;
  const std::string old_type = json.text("type", "default");  // before transformers 4.43
  const std::string type = json.word("rope_type", old_type, kRopeTypes);
  if (type == "default") return scaling;
  scaling.kind = type == "linear" ? RopeScaling::Kind::Linear : RopeScaling::Kind::Llama3;
  scaling.factor = json.number("factor", std::nullopt, 1);
  scaling.low_freq_factor = json.number("low_freq_factor", scaling.low_freq_factor);
  scaling.high_freq_factor = json.number("high_freq_factor", scaling.high_freq_factor);
  scaling.original_positions =
      static_cast<double>(json.size("original_max_position_embeddings", context));
  return scaling;
}

nlohmann::ordered_json write_rope(const LlamaConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  nlohmann::ordered_json rope;
  rope["rope_theta"] = config.rope_theta;
  switch (scaling.kind) {
    case RopeScaling::Kind::None: rope["rope_type"] = "default"; return rope;
    case RopeScaling::Kind::Linear: rope["rope_type"] = "linear"; break;
    case RopeScaling::Kind::Llama3:
      rope["rope_type"] = "llama3";
      rope["low_freq_factor"] = scaling.low_freq_factor;
      rope["high_freq_factor"] = scaling.high_freq_factor;
      rope["original_max_position_embeddings"] = static_cast<int64_t>(scaling.original_positions);
      break;
  }
  rope["factor"] = scaling.factor;
  return rope;
}

// Llama's own rule: two thirds of four times dim, rounded up to a multiple of 32.
int64_t default_ffn_dim(int64_t dim) {
  return (8 * dim / 3 + 31) / 32 * 32;
}

}  // namespace

LlamaConfig LlamaConfig::from_json(const ConfigJson& json) {
  return from_json(json, {});
}

LlamaConfig LlamaConfig::from_json(const ConfigJson& json, const LlamaConfig& defaults) {
  json.expect("attention_bias", false);
  json.expect("mlp_bias", false);
  json.word("hidden_act", "silu", kLlamaActivations);
  LlamaConfig config = defaults;
  config.vocab_size = json.size("vocab_size");
  config.context = json.size("max_position_embeddings", defaults.context);
  config.dim = json.size("hidden_size");
  config.layers = json.count("num_hidden_layers");
  config.heads = json.size("num_attention_heads");
  config.kv_heads = json.size("num_key_value_heads", config.heads);
  config.head_dim = json.size("head_dim", std::max<int64_t>(1, config.dim / config.heads));
  config.ffn_dim = json.size("intermediate_size");
  config.norm_eps = json.number("rms_norm_eps", defaults.norm_eps);
  const ConfigJson rope = rope_of(json);
  config.rope_theta =
      rope.number("rope_theta", json.number("rope_theta", defaults.rope_theta, 1), 1);
  config.rope_scaling = read_scaling(rope, config.context);
  config.attention_dropout = json.number("attention_dropout", 0);
  config.initializer_range = json.number("initializer_range", defaults.initializer_range);
  config.tied = json.boolean("tie_word_embeddings", false);
  config.bos_token = json.token("bos_token_id", 1);
  config.eos_tokens = json.tokens("eos_token_id", {2});
  check(config.heads % config.kv_heads == 0, ErrorKind::Format, json.subject(),
        "num_attention_heads is ", config.heads, ", takes a multiple of num_key_value_heads ",
        config.kv_heads);
  check(config.head_dim % 2 == 0, ErrorKind::Format, json.subject(), "head_dim is ",
        config.head_dim, ", takes an even number");
  return config;
}

LlamaConfig LlamaConfig::from_size(const ModelSize& size) {
  check(size.heads > 0 && size.dim % size.heads == 0, ErrorKind::Config, "model.dim", "got ",
        size.dim, ", takes a multiple of heads (", size.heads, ")");
  LlamaConfig config;
  config.vocab_size = size.vocab_size;
  config.context = size.context;
  config.dim = size.dim;
  config.layers = size.layers;
  config.heads = size.heads;
  config.kv_heads = size.kv_heads ? size.kv_heads : size.heads;
  config.head_dim = size.dim / size.heads;
  config.ffn_dim = size.ffn_dim ? size.ffn_dim : default_ffn_dim(size.dim);
  config.rope_theta = size.rope_theta;
  config.attention_dropout = size.dropout;
  config.tied = size.tied;
  config.bos_token = size.eos_token;
  if (size.eos_token) config.eos_tokens = {*size.eos_token};
  config.validate();
  return config;
}

void LlamaConfig::validate() const {
  check(heads % kv_heads == 0, ErrorKind::Config, "model.heads", "got ", heads,
        ", takes a multiple of kv_heads (", kv_heads, ")");
  check(head_dim % 2 == 0, ErrorKind::Config, "model.dim", "gives heads of ", head_dim,
        " elements, rotary positions take an even number");
  check(!experts || experts->per_token <= experts->count, ErrorKind::Config,
        "model.experts_per_token", "got ", experts ? experts->per_token : 0, ", takes at most the ",
        experts ? experts->count : 0, " of model.experts");
}

std::string LlamaConfig::to_json(DType dtype) const {
  nlohmann::ordered_json json;
  json["architectures"] = {experts ? "MixtralForCausalLM" : "LlamaForCausalLM"};
  json["model_type"] = experts ? "mixtral" : "llama";
  json["vocab_size"] = vocab_size;
  json["max_position_embeddings"] = context;
  json["hidden_size"] = dim;
  json["num_hidden_layers"] = layers;
  json["num_attention_heads"] = heads;
  json["num_key_value_heads"] = kv_heads;
  json["head_dim"] = head_dim;
  json["intermediate_size"] = ffn_dim;
  json["hidden_act"] = "silu";
  json["rms_norm_eps"] = norm_eps;
  json["rope_parameters"] = write_rope(*this);
  json["rope_theta"] = rope_theta;  // where transformers before 5 look for them
  if (rope_scaling.kind != RopeScaling::Kind::None) json["rope_scaling"] = write_rope(*this);
  json["attention_bias"] = false;
  json["attention_dropout"] = attention_dropout;
  json["mlp_bias"] = false;
  json["initializer_range"] = initializer_range;
  json["tie_word_embeddings"] = tied;
  if (experts) {
    json["num_local_experts"] = experts->count;
    json["num_experts_per_tok"] = experts->per_token;
    json["router_aux_loss_coef"] = experts->balance_coefficient;
    json["output_router_logits"] = experts->adds_balance_loss;
  }
  return finished_config(std::move(json), bos_token, eos_tokens, dtype);
}

}  // namespace plinth
