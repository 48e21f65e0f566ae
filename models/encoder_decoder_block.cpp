#include "models/encoder_decoder_block.h"

#include <utility>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/elementwise.h"

namespace plinth {
namespace {

nn::Residual run(const nn::Handle<EncoderDecoderBlock>& block, size_t i, const nn::Residual& x,
                 const EncoderDecoderStackInputs& inputs) {
  const nn::AttentionInputs self{.cache = inputs.caches ? &inputs.caches->self[i] : nullptr,
                                 .kv_lengths = inputs.lengths,
                                 .bias = inputs.bias};
  if (!inputs.source.states.defined()) return block(x, self);
  const nn::AttentionInputs cross{.context = inputs.source.states,
                                  .cache = inputs.caches ? &inputs.caches->cross[i] : nullptr,
                                  .kv_lengths = inputs.source.lengths};
  return block(x, self, cross);
}

// What takes gradients goes through checkpoint()'s inputs; absent ones stay out.
Tensor run_checkpointed(const nn::Handle<EncoderDecoderBlock>& block, size_t i, const Tensor& x,
                        const EncoderDecoderStackInputs& inputs) {
  EncoderDecoderStackInputs others = inputs;
  const Tensor states = std::exchange(others.source.states, {});
  const Tensor bias = std::exchange(others.bias, {});
  Tensors in = {x};
  if (states.defined()) in.push_back(states);
  if (bias.defined()) in.push_back(bias);
  const auto forward = [block, i, others, has_states = states.defined(),
                        has_bias = bias.defined()](const Tensors& given) {
    EncoderDecoderStackInputs all = others;
    if (has_states) all.source.states = given[1];
    if (has_bias) all.bias = given.back();
    return run(block, i, given[0], all).sum();
  };
  return checkpoint(forward, in);
}

}  // namespace

EncoderDecoderBlock::EncoderDecoderBlock(const EncoderDecoderBlockOptions& options) {
  attention_norm_ = register_module("attention_norm", options.norm());
  attention_ = make<nn::MultiHeadAttention>("attention", options.attention);
  if (options.cross_attention) {
    cross_norm_ = register_module("cross_norm", options.norm());
    cross_attention_ = make<nn::MultiHeadAttention>("cross_attention", *options.cross_attention);
  }
  mlp_norm_ = register_module("mlp_norm", options.norm());
  mlp_ = register_module("mlp", options.mlp());
  dropout_ = make<nn::Dropout>("dropout", options.dropout);
}

nn::Residual EncoderDecoderBlock::forward(const nn::Residual& x, const nn::AttentionInputs& self,
                                          const nn::AttentionInputs& cross) {
  check(cross.context.defined() == (cross_attention_ != nullptr), ErrorKind::Argument,
        "EncoderDecoderBlock",
        cross_attention_ ? "has cross-attention, and needs a context"
                         : "has no cross-attention, and takes no context");
  AddNorm at = attention_norm_->add(x);
  Tensor mixed = dropout_(attention_(at.normed, self));
  if (cross_attention_) {
    at = cross_norm_->add({at.sum, mixed});
    mixed = dropout_(cross_attention_(at.normed, cross));
  }
  at = mlp_norm_->add({at.sum, mixed});
  return {at.sum, mlp_(at.normed)};
}

EncoderDecoderStack::EncoderDecoderStack(int64_t layers,
                                         const EncoderDecoderBlockOptions& options) {
  for (int64_t i = 0; i < layers; ++i)
    blocks_.emplace_back(make<EncoderDecoderBlock>("block" + std::to_string(i), options));
}

Tensor EncoderDecoderStack::forward(const Tensor& x, const EncoderDecoderStackInputs& inputs) {
  nn::Residual y = x;
  for (size_t i = 0; i < blocks_.size(); ++i)
    y = inputs.checkpointing ? run_checkpointed(blocks_[i], i, y.sum(), inputs)
                             : run(blocks_[i], i, y, inputs);
  return y.sum();
}

}  // namespace plinth
