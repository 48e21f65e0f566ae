#include "models/llama/llama.h"

#include "core/ops/elementwise.h"
#include "core/ops/rope.h"

namespace plinth {

namespace {

using nn::init::normal;

LanguageModelInfo info_of(const LlamaConfig& config) {
  const LlamaExperts experts = config.experts.value_or(LlamaExperts{.count = 0, .per_token = 0});
  const bool balances = config.experts && experts.adds_balance_loss;
  return {.type = config.experts ? "mixtral" : "llama",
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
          .eos_tokens = config.eos_tokens,
          .experts = experts.count,
          .experts_per_token = experts.per_token,
          .balance_coefficient = balances ? experts.balance_coefficient : 0};
}

}  // namespace

LlamaBlock::LlamaBlock(const LlamaConfig& config, const RopeTable& rotations) {
  const auto weight = normal(0, config.initializer_range);
  // The residual stream adds up 2 * layers branches.
  const auto residual = nn::init::residual_normal(config.initializer_range, config.layers);
  const auto norm = [&](bool feeds_products) {
    return nn::RMSNormOptions{.eps = config.norm_eps, .feeds_products = feeds_products};
  };
  attention_norm_ = make<nn::RMSNorm>("attention_norm", config.dim, norm(true));
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
  // Experts gather what is normed, and add its gradients, in float32.
  mlp_norm_ = make<nn::RMSNorm>("mlp_norm", config.dim, norm(!config.experts));
  if (config.experts) {
    experts_ = make<nn::MixtureOfExperts>(
        "experts", config.dim, config.ffn_dim,
        nn::MixtureOfExpertsOptions{.experts = config.experts->count,
                                    .experts_per_token = config.experts->per_token,
                                    .router_init = weight,
                                    .up_init = weight,
                                    .down_init = residual});
  } else {
    mlp_ = make<nn::GatedMLP>(
        "mlp", config.dim, config.ffn_dim,
        nn::GatedMLPOptions{.fused = true, .up_init = weight, .down_init = residual});
  }
}

nn::Residual LlamaBlock::forward(const nn::Residual& x, nn::KVCache* cache, Tensor* load) {
  const AddNorm first = attention_norm_->add(x);
  const Tensor mixed = attention_(first.normed, nn::AttentionInputs{.cache = cache});
  const AddNorm middle = mlp_norm_->add({first.sum, mixed});
  return {middle.sum, experts_ ? experts_(middle.normed, load) : mlp_(middle.normed)};
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

Tensor Llama::embed_ids(const Tensor& ids, int64_t /*before*/) {
  return token_embedding_(ids);
}

nn::Residual Llama::forward_block(int64_t i, const nn::Residual& x, nn::KVCache* cache,
                                  Tensor* load) {
  return blocks_.at(static_cast<size_t>(i))(x, cache, load);
}

Tensors Llama::last_parameters() const {
  Tensors parameters = norm_->parameters();
  parameters.push_back(head_weight_);
  return parameters;
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
    const auto add_mlp = [&](const std::string& ours, const std::string& gate,
                             const std::string& up, const std::string& down) {
      add(gate, ours + ".gate_up", 0, config_.ffn_dim);
      add(up, ours + ".gate_up", config_.ffn_dim, config_.ffn_dim);
      add(down, ours + ".down");
    };
    if (!config_.experts) {
      add_mlp("mlp", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj");
      continue;
    }
    add("block_sparse_moe.gate", "experts.router");
    for (int64_t e = 0; e < config_.experts->count; ++e) {
      const std::string theirs = "block_sparse_moe.experts." + std::to_string(e);
      add_mlp("experts.expert" + std::to_string(e), theirs + ".w1", theirs + ".w3", theirs + ".w2");
    }
  }
  if (!config_.tied) slices.push_back({"lm_head.weight", "head"});
  return slices;
}

}  // namespace plinth
