#include "models/encoder_decoder_block.h"

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

}  // namespace plinth
