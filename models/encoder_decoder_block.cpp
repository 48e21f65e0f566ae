#include "models/encoder_decoder_block.h"

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/elementwise.h"

namespace plinth {

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

Tensor EncoderDecoderBlock::forward(const Tensor& x, const nn::AttentionInputs& self,
                                    const nn::AttentionInputs& cross) {
  check(cross.context.defined() == (cross_attention_ != nullptr), ErrorKind::Argument,
        "EncoderDecoderBlock",
        cross_attention_ ? "has cross-attention, and needs a context"
                         : "has no cross-attention, and takes no context");
  Tensor y = x + dropout_(attention_(attention_norm_(x), self));
  if (cross_attention_) y = y + dropout_(cross_attention_(cross_norm_(y), cross));
  return y + mlp_(mlp_norm_(y));
}

EncoderDecoderStack::EncoderDecoderStack(int64_t layers,
                                         const EncoderDecoderBlockOptions& options) {
  for (int64_t i = 0; i < layers; ++i)
    blocks_.emplace_back(make<EncoderDecoderBlock>("block" + std::to_string(i), options));
}

Tensor EncoderDecoderStack::forward(const Tensor& x, const EncoderDecoderStackInputs& inputs) {
  // What takes gradients goes through checkpoint()'s inputs; absent ones stay out.
  const bool has_bias = inputs.bias.defined(), has_source = inputs.source.states.defined();
  Tensor y = x;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    nn::KVCache* self_cache = inputs.caches ? &inputs.caches->self[i] : nullptr;
    nn::KVCache* cross_cache = inputs.caches ? &inputs.caches->cross[i] : nullptr;
    const auto run = [=, block = blocks_[i], lengths = inputs.lengths,
                      source_lengths = inputs.source.lengths](const Tensors& in) {
      const nn::AttentionInputs self{
          .cache = self_cache, .kv_lengths = lengths, .bias = has_bias ? in.back() : Tensor()};
      if (!has_source) return block(in[0], self);
      const nn::AttentionInputs cross{
          .context = in[1], .cache = cross_cache, .kv_lengths = source_lengths};
      return block(in[0], self, cross);
    };
    Tensors in = {y};
    if (has_source) in.push_back(inputs.source.states);
    if (has_bias) in.push_back(inputs.bias);
    y = inputs.checkpointing ? checkpoint(run, in) : run(in);
  }
  return y;
}

}  // namespace plinth
