#include "apps/plan/model.h"

#include <filesystem>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/nearest.h"
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

plan::Transformer from_config(const fs::path& path) {
  const ConfigJson json = ConfigJson::read(path);
  const std::string type = json.text("model_type", "");
  if (type == "gpt2") return from(Gpt2Config::from_json(json), path.string());
  if (type == "llama") return from(LlamaConfig::from_json(json), path.string());
  check(type == "mixtral", ErrorKind::Format, path.string(), "model_type got '", type,
        "', the planner takes gpt2, llama or mixtral");
  return from(MixtralConfig::from_json(json), path.string());
}

}  // namespace

plan::Transformer planned_model(const std::string& words) {
  std::vector<std::string_view> names;
  std::string all;
  for (const plan::Transformer& model : plan::presets()) {
    if (model.name == words) return model;
    names.push_back(model.name);
    all += (all.empty() ? "" : ", ") + model.name;
  }
  const fs::path path = words;
  if (fs::is_directory(path)) return from_config(path / "config.json");
  if (fs::exists(path)) return from_config(path);
  throw Error(ErrorKind::Argument, "--model",
              detail::concat("'", words, "' is no config.json, and none of ", all,
                             " (nearest: ", nearest(words, names), ")"));
}

}  // namespace plinth::apps
