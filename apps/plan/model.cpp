#include "apps/plan/model.h"

#include <filesystem>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/nearest.h"
#include "models/bert/config.h"
#include "models/config_json.h"
#include "models/gpt2/config.h"
#include "models/llama/config.h"
#include "models/mixtral/config.h"

namespace plinth::apps {
namespace {

namespace fs = std::filesystem;

plan::Transformer from(const Gpt2Config& config, std::string name) {
  return {.name = std::move(name),
          .layers = config.layers,
          .hidden = config.dim,
          .heads = config.heads,
          .kv_heads = config.heads,
          .head_dim = config.dim / config.heads,
          .ffn = config.ffn_dim,
          .vocab = config.vocab_size,
          .tied = config.tied,
          .dropout = config.residual_dropout > 0};
}

// Its head's own square matrix, a tenth of a layer, is left out.
plan::Transformer from(const BertConfig& config, std::string name) {
  return {.name = std::move(name),
          .layers = config.layers,
          .hidden = config.dim,
          .heads = config.heads,
          .kv_heads = config.heads,
          .head_dim = config.dim / config.heads,
          .ffn = config.ffn_dim,
          .vocab = config.vocab_size,
          .tied = config.tied,
          .causal = false,
          .dropout = config.hidden_dropout > 0};
}

plan::Transformer from(const LlamaConfig& config, std::string name) {
  return {.name = std::move(name),
          .layers = config.layers,
          .hidden = config.dim,
          .heads = config.heads,
          .kv_heads = config.kv_heads,
          .head_dim = config.head_dim,
          .ffn = config.ffn_dim,
          .gated = true,
          .experts = config.experts ? config.experts->count : 1,
          .active_experts = config.experts ? config.experts->per_token : 1,
          .vocab = config.vocab_size,
          .tied = config.tied};
}

plan::Transformer from_config(const ConfigJson& json, const std::string& source) {
  const std::string type = json.text("model_type", "");
  if (type == "gpt2") return from(Gpt2Config::from_json(json), source);
  if (type == "bert") return from(BertConfig::from_json(json, nullptr), source);
  if (type == "llama") return from(LlamaConfig::from_json(json), source);
  check(type == "mixtral", ErrorKind::Format, source, "model_type got '", type,
        "', the planner takes gpt2, bert, llama or mixtral");
  return from(MixtralConfig::from_json(json), source);
}

}  // namespace

plan::Transformer planned_model_of(const std::string& config_json, const std::string& source) {
  return from_config(ConfigJson::parse(config_json, source), source);
}

plan::Transformer planned_model(const std::string& words) {
  std::vector<std::string_view> names;
  std::string all;
  for (const plan::Transformer& model : plan::presets()) {
    if (model.name == words) return model;
    names.push_back(model.name);
    all += (all.empty() ? "" : ", ") + model.name;
  }
  const fs::path path = words;
  const fs::path file = fs::is_directory(path) ? path / "config.json" : path;
  if (fs::exists(file)) return from_config(ConfigJson::read(file), file.string());
  throw Error(ErrorKind::Argument, "--model",
              detail::concat("'", words, "' is no config.json, and none of ", all,
                             " (nearest: ", nearest(words, names), ")"));
}

}  // namespace plinth::apps
