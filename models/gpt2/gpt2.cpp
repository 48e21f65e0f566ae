#include "models/gpt2/gpt2.h"

#include "core/ops/elementwise.h"

namespace plinth {

namespace {

using nn::init::normal;

LanguageModelInfo info_of(const Gpt2Config& config) {
  return {.type = "gpt2",
          .vocab_size = config.vocab_size,
          .context = config.context,
          .layers = config.layers,
          .dim = config.dim,
          .heads = config.heads,
          .kv_heads = config.heads,
          .head_dim = config.dim / config.heads,
          .ffn_dim = config.ffn_dim,
          .gated = false,
          .tied = config.tied,
          .eos_tokens = config.eos_tokens};
}

PreNormBlockOptions block_options(const Gpt2Config& config) {
  const auto weight = normal(0, config.initializer_range);
  // The residual stream adds up 2 * layers branches.
  const auto residual = nn::init::residual_normal(config.initializer_range, config.layers);
  return {.dim = config.dim,
          .heads = config.heads,
          .ffn_dim = config.ffn_dim,
          .causal = true,
          .gelu = config.gelu,
          .norm_eps = config.norm_eps,
          .dropout = config.residual_dropout,
          .attention_dropout = config.attention_dropout,
          .qkv_init = weight,
          .out_init = residual,
          .up_init = weight,
          .down_init = residual};
}

}  // namespace

Gpt2::Gpt2(const Gpt2Config& config) : config_(config), info_(info_of(config)) {
  const auto weight = normal(0, config.initializer_range);
  token_embedding_ = make<nn::Embedding>("token_embedding", config.vocab_size, config.dim, weight);
  position_embedding_ =
      make<nn::Embedding>("position_embedding", config.context, config.dim, weight);
  dropout_ = make<nn::Dropout>("dropout", config.embedding_dropout);
  for (int64_t i = 0; i < config.layers; ++i)
    blocks_.emplace_back(make<PreNormBlock>("block" + std::to_string(i), block_options(config)));
  norm_ = make<nn::LayerNorm>("norm", config.dim, nn::LayerNormOptions{.eps = config.norm_eps});
  head_weight_ = config.tied ? token_embedding_->weight()
                             : register_parameter("head", {config.vocab_size, config.dim}, weight);
}

Tensor Gpt2::embed_ids(const Tensor& ids, int64_t before) {
  const Tensor tokens = token_embedding_(ids);
  return dropout_(tokens + position_embedding_->rows(runs(tokens.size(1)), before));
}

nn::Residual Gpt2::forward_block(int64_t i, const nn::Residual& x, nn::KVCache* cache,
                                 Tensor* /*load*/) {
  return blocks_.at(static_cast<size_t>(i))(x, nn::AttentionInputs{.cache = cache});
}

Tensors Gpt2::last_parameters() const {
  Tensors parameters = norm_->parameters();
  parameters.push_back(head_weight_);
  return parameters;
}

// GPT-2's files hold the weights of its products as [in, out].
std::vector<WeightSlice> Gpt2::weight_slices() const {
  std::vector<WeightSlice> slices = {{"transformer.wte.weight", "token_embedding.weight"},
                                     {"transformer.wpe.weight", "position_embedding.weight"},
                                     {"transformer.ln_f.weight", "norm.weight"},
                                     {"transformer.ln_f.bias", "norm.bias"}};
  for (int64_t i = 0; i < config_.layers; ++i) {
    const std::string file = "transformer.h." + std::to_string(i) + ".";
    const std::string block = "block" + std::to_string(i) + ".";
    const auto add = [&](const std::string& name, const std::string& ours, bool transposed) {
      slices.push_back({file + name + ".weight", block + ours + ".weight", transposed});
      slices.push_back({file + name + ".bias", block + ours + ".bias"});
    };
    add("ln_1", "attention_norm", false);
    add("attn.c_attn", "attention.qkv", true);
    add("attn.c_proj", "attention.out", true);
    add("ln_2", "mlp_norm", false);
    add("mlp.c_fc", "mlp.up", true);
    add("mlp.c_proj", "mlp.down", true);
  }
  if (!config_.tied) slices.push_back({"lm_head.weight", "head"});
  return slices;
}

}  // namespace plinth
