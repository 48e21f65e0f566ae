#include "models/llama/llama.h"

#include "core/ops/activation.h"
#include "core/ops/elementwise.h"
#include "core/ops/index.h"
#include "core/ops/matmul.h"
#include "core/ops/normalization.h"

namespace plinth {

namespace {

using nn::init::normal;
using nn::init::ones;

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

LlamaBlock::LlamaBlock(const LlamaConfig& config) : config_(config) {
  const int64_t dim = config.dim;
  const int64_t inner = config.heads * config.head_dim;
  const int64_t kv_inner = config.kv_heads * config.head_dim;
  const auto weight = normal(0, config.initializer_range);
  const auto residual = nn::init::residual_normal(config.initializer_range, config.layers);
  norm1_ = register_parameter("norm1", {dim}, ones());
  qkv_ = register_parameter("qkv", {inner + 2 * kv_inner, dim}, weight);
  output_ = register_parameter("output", {dim, inner}, residual);
  norm2_ = register_parameter("norm2", {dim}, ones());
  gate_up_ = register_parameter("gate_up", {2 * config.ffn_dim, dim}, weight);
  down_ = register_parameter("down", {dim, config.ffn_dim}, residual);
}

Tensor LlamaBlock::forward(const Tensor& x, const RopeTable& rotations, KVCache* cache) {
  const Tensor mixed = attention(rms_norm(x, norm1_, config_.norm_eps), rotations, cache);
  const AddNorm middle = add_rms_norm(mixed, x, norm2_, config_.norm_eps);
  return middle.sum + mlp(middle.normed);
}

Tensor LlamaBlock::attention(const Tensor& x, const RopeTable& rotations, KVCache* cache) const {
  const int64_t inner = config_.heads * config_.head_dim;
  const int64_t kv_inner = config_.kv_heads * config_.head_dim;
  const Tensors qkv = split_last(linear(x, qkv_), {inner, kv_inner, kv_inner});
  const auto heads = [this](const Tensor& t, int64_t count) {
    return t.reshape({t.size(0), t.size(1), count, config_.head_dim});
  };
  const int64_t before = cache ? cache->used() : 0;
  const Tensor q = rope(heads(qkv[0], config_.heads), rotations, before);
  const Tensor k = rope(heads(qkv[1], config_.kv_heads), rotations, before);
  const Tensor v = heads(qkv[2], config_.kv_heads);
  const double dropout = is_training() ? config_.attention_dropout : 0;
  return linear(attend(q, k, v, cache, dropout), output_);
}

Tensor LlamaBlock::mlp(const Tensor& x) const {
  const Tensors gate_up = split_last(linear(x, gate_up_), {config_.ffn_dim, config_.ffn_dim});
  return linear(swiglu(gate_up[0], gate_up[1]), down_);
}

Llama::Llama(const LlamaConfig& config) : config_(config), info_(info_of(config)) {
  const auto weight = normal(0, config.initializer_range);
  token_embedding_ = register_parameter("token_embedding", {config.vocab_size, config.dim}, weight);
  for (int64_t i = 0; i < config.layers; ++i)
    blocks_.emplace_back(make<LlamaBlock>("block" + std::to_string(i), config));
  norm_ = register_parameter("norm", {config.dim}, ones());
  head_weight_ = config.tied ? token_embedding_
                             : register_parameter("head", {config.vocab_size, config.dim}, weight);
}

Tensor Llama::hidden(const Tensor& ids, KVCaches* caches) {
  check_ids(ids, caches ? caches->front().used() : 0);
  Tensor x = embedding(token_embedding_, ids);
  prepare_rotations(x.dtype());
  for (size_t i = 0; i < blocks_.size(); ++i) {
    KVCache* cache = caches ? &(*caches)[i] : nullptr;
    x = run_layer(x,
                  [this, i, cache](const Tensor& in) { return blocks_[i](in, rotations_, cache); });
  }
  return rms_norm(x, norm_, config_.norm_eps);
}

void Llama::prepare_rotations(DType dtype) {
  const DType wanted = dtype == DType::Float64 ? DType::Float64 : DType::Float32;
  if (rotations_.cos.defined() && rotations_.cos.dtype() == wanted) return;
  rotations_ = rope_table(config_.context, config_.head_dim, config_.rope_theta,
                          config_.rope_scaling, wanted);
}

std::vector<WeightSlice> Llama::weight_slices() const {
  std::vector<WeightSlice> slices = {{"model.embed_tokens.weight", "token_embedding"},
                                     {"model.norm.weight", "norm"}};
  const int64_t inner = config_.heads * config_.head_dim;
  const int64_t kv_inner = config_.kv_heads * config_.head_dim;
  for (int64_t i = 0; i < config_.layers; ++i) {
    const std::string file = "model.layers." + std::to_string(i) + ".";
    const std::string block = "block" + std::to_string(i) + ".";
    const auto add = [&](const std::string& name, const std::string& ours, int64_t first_row = 0,
                         int64_t rows = -1) {
      slices.push_back({file + name + ".weight", block + ours, false, first_row, rows});
    };
    add("input_layernorm", "norm1");
    add("self_attn.q_proj", "qkv", 0, inner);
    add("self_attn.k_proj", "qkv", inner, kv_inner);
    add("self_attn.v_proj", "qkv", inner + kv_inner, kv_inner);
    add("self_attn.o_proj", "output");
    add("post_attention_layernorm", "norm2");
    add("mlp.gate_proj", "gate_up", 0, config_.ffn_dim);
    add("mlp.up_proj", "gate_up", config_.ffn_dim, config_.ffn_dim);
    add("mlp.down_proj", "down");
  }
  if (!config_.tied) slices.push_back({"lm_head.weight", "head"});
  return slices;
}

}  // namespace plinth
