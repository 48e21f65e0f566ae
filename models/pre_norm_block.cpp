#include "models/pre_norm_block.h"

#include <string>

#include "core/autograd.h"
#include "core/ops/elementwise.h"

namespace plinth {

PreNormBlock::PreNormBlock(const PreNormBlockOptions& options) {
  const nn::LayerNormOptions norm{.eps = options.norm_eps, .feeds_products = true};
  attention_norm_ = make<nn::LayerNorm>("attention_norm", options.dim, norm);
  attention_ = make<nn::MultiHeadAttention>(
      "attention", nn::MultiHeadAttentionOptions{.dim = options.dim,
                                                 .heads = options.heads,
                                                 .qkv_bias = options.qkv_bias,
                                                 .causal = options.causal,
                                                 .dropout = options.attention_dropout,
                                                 .qkv_init = options.qkv_init,
                                                 .out_init = options.out_init,
                                                 .bias_init = nn::init::zeros()});
  dropout_ = make<nn::Dropout>("dropout", options.dropout);
  mlp_norm_ = make<nn::LayerNorm>("mlp_norm", options.dim, norm);
  mlp_ = make<nn::MLP>("mlp", options.dim, options.ffn_dim,
                       nn::MLPOptions{.gelu = options.gelu,
                                      .dropout = options.dropout,
                                      .up_init = options.up_init,
                                      .down_init = options.down_init,
                                      .bias_init = nn::init::zeros()});
}

nn::Residual PreNormBlock::forward(const nn::Residual& x, const nn::AttentionInputs& inputs) {
  const AddNorm first = attention_norm_->add(x);
  const Tensor mixed = dropout_(attention_(first.normed, inputs));
  const Tensor asking = inputs.queries > 0 ? first.sum.narrow(1, 0, inputs.queries) : first.sum;
  const AddNorm middle = mlp_norm_->add({asking, mixed});
  return {middle.sum, mlp_(middle.normed)};
}

PreNormStack::PreNormStack(int64_t layers, const PreNormBlockOptions& options) {
  for (int64_t i = 0; i < layers; ++i)
    blocks_.emplace_back(make<PreNormBlock>("block" + std::to_string(i), options));
}

nn::Residual PreNormStack::run(const nn::Handle<PreNormBlock>& block, const nn::Residual& x,
                               int64_t queries) const {
  const nn::AttentionInputs inputs{.queries = queries};
  if (!checkpointing_) return block(x, inputs);
  return checkpoint([block, inputs](const Tensors& in) { return block(in[0], inputs).sum(); },
                    {x.sum()});
}

Tensor PreNormStack::run_all(const Tensor& x, int64_t queries) const {
  nn::Residual y = x;
  for (const nn::Handle<PreNormBlock>& block : blocks_)
    y = run(block, y, block == blocks_.back() ? queries : 0);
  return y.sum();
}

Tensor PreNormStack::forward(const Tensor& x) {
  return run_all(x, 0);
}

Tensor PreNormStack::forward(const Tensor& x,
                             const std::function<Tensor(const Tensor&, int64_t)>& change) {
  Tensor y = x;
  int64_t i = 0;
  for (const nn::Handle<PreNormBlock>& block : blocks_) y = change(run(block, y).sum(), i++);
  return y;
}

Tensor PreNormStack::first_tokens(const Tensor& x, int64_t count) {
  return blocks_.empty() ? x.narrow(1, 0, count) : run_all(x, count);
}

}  // namespace plinth
