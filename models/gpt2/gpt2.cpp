#include "models/gpt2/gpt2.h"

#include "core/ops/activation.h"
#include "core/ops/dropout.h"
#include "core/ops/elementwise.h"
#include "core/ops/index.h"
#include "core/ops/matmul.h"
#include "core/ops/normalization.h"

namespace plinth {

namespace {

using nn::init::normal;
using nn::init::ones;
using nn::init::zeros;

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
          .eos_token = config.eos_token};
}

}  // namespace

Gpt2Block::Gpt2Block(const Gpt2Config& config) : config_(config) {
  const int64_t dim = config.dim;
  const auto weight = normal(0, config.initializer_range);
  // The residual stream adds up 2 * layers branches.
  const auto residual = nn::init::residual_normal(config.initializer_range, config.layers);
  norm1_weight_ = register_parameter("norm1_weight", {dim}, ones());
  norm1_bias_ = register_parameter("norm1_bias", {dim}, zeros());
  qkv_weight_ = register_parameter("qkv_weight", {3 * dim, dim}, weight);
  qkv_bias_ = register_parameter("qkv_bias", {3 * dim}, zeros());
  attention_weight_ = register_parameter("attention_weight", {dim, dim}, residual);
  attention_bias_ = register_parameter("attention_bias", {dim}, zeros());
  norm2_weight_ = register_parameter("norm2_weight", {dim}, ones());
  norm2_bias_ = register_parameter("norm2_bias", {dim}, zeros());
  up_weight_ = register_parameter("up_weight", {config.ffn_dim, dim}, weight);
  up_bias_ = register_parameter("up_bias", {config.ffn_dim}, zeros());
  down_weight_ = register_parameter("down_weight", {dim, config.ffn_dim}, residual);
  down_bias_ = register_parameter("down_bias", {dim}, zeros());
}

Tensor Gpt2Block::forward(const Tensor& x, KVCache* cache) {
  const Tensor mixed =
      attention(layer_norm(x, norm1_weight_, norm1_bias_, config_.norm_eps), cache);
  const AddNorm middle = add_layer_norm(mixed, x, norm2_weight_, norm2_bias_, config_.norm_eps);
  return middle.sum + mlp(middle.normed);
}

Tensor Gpt2Block::attention(const Tensor& x, KVCache* cache) const {
  const int64_t dim = config_.dim;
  const Tensors qkv = split_last(linear(x, qkv_weight_, qkv_bias_), {dim, dim, dim});
  const auto heads = [this](const Tensor& t) {
    return t.reshape({t.size(0), t.size(1), config_.heads, config_.dim / config_.heads});
  };
  const double attention_dropout = is_training() ? config_.attention_dropout : 0;
  const Tensor mixed =
      attend(heads(qkv[0]), heads(qkv[1]), heads(qkv[2]), cache, attention_dropout);
  const Tensor y = linear(mixed, attention_weight_, attention_bias_);
  return is_training() ? dropout(y, config_.residual_dropout) : y;
}

Tensor Gpt2Block::mlp(const Tensor& x) const {
  const Tensor y =
      linear(bias_gelu(linear(x, up_weight_), up_bias_, config_.gelu), down_weight_, down_bias_);
  return is_training() ? dropout(y, config_.residual_dropout) : y;
}

Gpt2::Gpt2(const Gpt2Config& config) : config_(config), info_(info_of(config)) {
  const auto weight = normal(0, config.initializer_range);
  token_embedding_ = register_parameter("token_embedding", {config.vocab_size, config.dim}, weight);
  position_embedding_ =
      register_parameter("position_embedding", {config.context, config.dim}, weight);
  for (int64_t i = 0; i < config.layers; ++i)
    blocks_.emplace_back(make<Gpt2Block>("block" + std::to_string(i), config));
  norm_weight_ = register_parameter("norm_weight", {config.dim}, ones());
  norm_bias_ = register_parameter("norm_bias", {config.dim}, zeros());
  head_weight_ = config.tied ? token_embedding_
                             : register_parameter("head", {config.vocab_size, config.dim}, weight);
}

Tensor Gpt2::hidden(const Tensor& ids, KVCaches* caches) {
  const int64_t before = caches ? caches->front().used() : 0;
  check_ids(ids, before);
  const Tensor positions = position_embedding_.narrow(0, before, ids.size(1));
  Tensor x = embedding(token_embedding_, ids) + positions;
  if (is_training()) x = dropout(x, config_.embedding_dropout);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    KVCache* cache = caches ? &(*caches)[i] : nullptr;
    x = run_layer(x, [this, i, cache](const Tensor& in) { return blocks_[i](in, cache); });
  }
  return layer_norm(x, norm_weight_, norm_bias_, config_.norm_eps);
}

// GPT-2's files hold the weights of its products as [in, out].
std::vector<WeightSlice> Gpt2::weight_slices() const {
  std::vector<WeightSlice> slices = {{"transformer.wte.weight", "token_embedding"},
                                     {"transformer.wpe.weight", "position_embedding"},
                                     {"transformer.ln_f.weight", "norm_weight"},
                                     {"transformer.ln_f.bias", "norm_bias"}};
  for (int64_t i = 0; i < config_.layers; ++i) {
    const std::string file = "transformer.h." + std::to_string(i) + ".";
    const std::string block = "block" + std::to_string(i) + ".";
    const auto add = [&](const std::string& name, const std::string& ours,
                         bool transposed = false) {
      slices.push_back({file + name + ".weight", block + ours + "_weight", transposed});
      slices.push_back({file + name + ".bias", block + ours + "_bias"});
    };
    add("ln_1", "norm1");
    add("attn.c_attn", "qkv", true);
    add("attn.c_proj", "attention", true);
    add("ln_2", "norm2");
    add("mlp.c_fc", "up", true);
    add("mlp.c_proj", "down", true);
  }
  if (!config_.tied) slices.push_back({"lm_head.weight", "head"});
  return slices;
}

}  // namespace plinth
