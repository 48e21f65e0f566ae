#include "models/llama/llama.h"

#include "core/ops/elementwise.h"
#include "core/ops/rope.h"

namespace plinth {

namespace {

using nn::init::normal;

LanguageModelInfo info_of(const LlamaConfig& config) {
  return {.type = "llama",
          .vocab_size = config.vocab_size,
          .context = config.context,
          .layers = config.layers,
          .dim = config.dim,
          .heads = config.heads,
          .kv_heads = config.kv_heads,
          .head_dim = config.head_dim,
          .ffn_dim = config.ffn_dim,
          .gated = true,
          .tied = config.tied,
          .eos_token = config.eos_token};
}

}  // namespace

LlamaBlock::LlamaBlock(const LlamaConfig& config, const RopeTable& rotations) {
  const auto weight = normal(0, config.initializer_range);
  // The residual stream adds up 2 * layers branches.
  const auto residual = nn::init::residual_normal(config.initializer_range, config.layers);
  const nn::RMSNormOptions norm{.eps = config.norm_eps};
  attention_norm_ = make<nn::RMSNorm>("attention_norm", config.dim, norm);
  attention_ = make<nn::MultiHeadAttention>(
      "attention", nn::MultiHeadAttentionOptions{.dim = config.dim,
                                                 .heads = config.heads,
                                                 .kv_heads = config.kv_heads,
                                                 .head_dim = config.head_dim,
                                                 .qkv_bias = false,
                                                 .out_bias = false,
                                                 .causal = true,
                                                 .dropout = config.attention_dropout,
                                                 .rope = rotations,
                                                 .qkv_init = weight,
                                                 .out_init = residual});
  mlp_norm_ = make<nn::RMSNorm>("mlp_norm", config.dim, norm);
  mlp_ = make<nn::GatedMLP>(
      "mlp", config.dim, config.ffn_dim,
      nn::GatedMLPOptions{.fused = true, .up_init = weight, .down_init = residual});
}

Tensor LlamaBlock::forward(const Tensor& x, nn::KVCache* cache) {
  const Tensor mixed = attention_(attention_norm_(x), nn::AttentionInputs{.cache = cache});
  const AddNorm middle = mlp_norm_->add(mixed, x);
  return middle.sum + mlp_(middle.normed);
}

Llama::Llama(const LlamaConfig& config) : config_(config), info_(info_of(config)) {
  const auto weight = normal(0, config.initializer_range);
  const RopeTable rotations =
      rope_table(config.context, config.head_dim, config.rope_theta, config.rope_scaling);
  token_embedding_ = make<nn::Embedding>("token_embedding", config.vocab_size, config.dim, weight);
  for (int64_t i = 0; i < config.layers; ++i)
    blocks_.emplace_back(make<LlamaBlock>("block" + std::to_string(i), config, rotations));
  norm_ = make<nn::RMSNorm>("norm", config.dim, nn::RMSNormOptions{.eps = config.norm_eps});
  head_weight_ = config.tied ? token_embedding_->weight()
                             : register_parameter("head", {config.vocab_size, config.dim}, weight);
}

Tensor Llama::hidden(const Tensor& ids, KVCaches* caches) {
  check_ids(ids, caches ? caches->front().length() : 0);
  Tensor x = token_embedding_(ids);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    nn::KVCache* cache = caches ? &(*caches)[i] : nullptr;
    x = run_layer(x, [this, i, cache](const Tensor& in) { return blocks_[i](in, cache); });
  }
  return norm_(x);
}

std::vector<WeightSlice> Llama::weight_slices() const {
  std::vector<WeightSlice> slices = {{"model.embed_tokens.weight", "token_embedding.weight"},
                                     {"model.norm.weight", "norm.weight"}};
  const int64_t inner = config_.heads * config_.head_dim;
  const int64_t kv_inner = config_.kv_heads * config_.head_dim;
  for (int64_t i = 0; i < config_.layers; ++i) {
    const std::string file = "model.layers." + std::to_string(i) + ".";
    const std::string block = "block" + std::to_string(i) + ".";
    const auto add = [&](const std::string& name, const std::string& ours, int64_t first_row = 0,
                         int64_t rows = -1) {
      slices.push_back({file + name + ".weight", block + ours + ".weight", false, first_row, rows});
    };
    add("input_layernorm", "attention_norm");
    add("self_attn.q_proj", "attention.qkv", 0, inner);
    add("self_attn.k_proj", "attention.qkv", inner, kv_inner);
    add("self_attn.v_proj", "attention.qkv", inner + kv_inner, kv_inner);
    add("self_attn.o_proj", "attention.out");
    add("post_attention_layernorm", "mlp_norm");
    add("mlp.gate_proj", "mlp.gate_up", 0, config_.ffn_dim);
    add("mlp.up_proj", "mlp.gate_up", config_.ffn_dim, config_.ffn_dim);
    add("mlp.down_proj", "mlp.down");
  }
  if (!config_.tied) slices.push_back({"lm_head.weight", "head"});
  return slices;
}

}  // namespace plinth
