#include "models/gpt2/config.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace plinth {

namespace {
constexpr std::array<std::string_view, 3> kGpt2Activations = {"gelu_new", "gelu_pytorch_tanh",
                                                              "gelu"};
}

Gpt2Config Gpt2Config::from_json(const ConfigJson& json) {
  json.expect("add_cross_attention", false);
  json.expect("scale_attn_weights", true);
  json.expect("scale_attn_by_inverse_layer_idx", false);
  Gpt2Config config;
  config.vocab_size = json.size("vocab_size");
  config.context = json.size("n_positions");
  config.dim = json.size("n_embd");
  config.layers = json.count("n_layer");
  config.heads = json.size("n_head");
  config.ffn_dim = json.size("n_inner", 4 * config.dim);
  const bool exact = json.word("activation_function", "gelu_new", kGpt2Activations) == "gelu";
  config.gelu = exact ? GeluForm::Exact : GeluForm::Tanh;
  config.norm_eps = json.number("layer_norm_epsilon", 1e-5);
  config.embedding_dropout = json.number("embd_pdrop", 0.1);
  config.residual_dropout = json.number("resid_pdrop", 0.1);
  config.attention_dropout = json.number("attn_pdrop", 0.1);
  config.initializer_range = json.number("initializer_range", 0.02);
  config.tied = json.boolean("tie_word_embeddings", true);
  config.bos_token = json.token("bos_token_id", 50256);
  config.eos_tokens = json.tokens("eos_token_id", {50256});
  check(config.dim % config.heads == 0, ErrorKind::Format, json.subject(), "n_embd is ", config.dim,
        ", takes a multiple of n_head ", config.heads);
  return config;
}

Gpt2Config Gpt2Config::from_size(const ModelSize& size) {
  check(size.kv_heads == 0 || size.kv_heads == size.heads, ErrorKind::Config, "model.kv_heads",
        "gpt2 has as many keys and values as heads (", size.heads, "), got ", size.kv_heads);
  Gpt2Config config;
  config.vocab_size = size.vocab_size;
  config.context = size.context;
  config.dim = size.dim;
  config.layers = size.layers;
  config.heads = size.heads;
  config.ffn_dim = size.ffn_dim ? size.ffn_dim : 4 * size.dim;
  config.embedding_dropout = config.residual_dropout = config.attention_dropout = size.dropout;
  config.tied = size.tied;
  config.bos_token = size.eos_token;
  if (size.eos_token) config.eos_tokens = {*size.eos_token};
  config.validate();
  return config;
}

void Gpt2Config::validate() const {
  check(dim % heads == 0, ErrorKind::Config, "model.dim", "got ", dim,
        ", takes a multiple of heads (", heads, ")");
}

std::string Gpt2Config::to_json(DType dtype) const {
  nlohmann::ordered_json json;
  json["architectures"] = {"GPT2LMHeadModel"};
  json["model_type"] = "gpt2";
  json["vocab_size"] = vocab_size;
  json["n_positions"] = context;
  json["n_embd"] = dim;
  json["n_layer"] = layers;
  json["n_head"] = heads;
  json["n_inner"] = ffn_dim;
  json["activation_function"] = gelu == GeluForm::Exact ? "gelu" : "gelu_new";
  json["layer_norm_epsilon"] = norm_eps;
  json["embd_pdrop"] = embedding_dropout;
  json["resid_pdrop"] = residual_dropout;
  json["attn_pdrop"] = attention_dropout;
  json["initializer_range"] = initializer_range;
  json["tie_word_embeddings"] = tied;
  return finished_config(std::move(json), bos_token, eos_tokens, dtype);
}

}  // namespace plinth
