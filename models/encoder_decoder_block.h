#pragma once

// The transformer block of the encoder-decoder families, and blocks one after the other.

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "models/encoder_decoder.h"
#include "nn/layers.h"
#include "nn/module.h"

namespace plinth {

// What a block is made of.
struct EncoderDecoderBlockOptions {
  nn::MultiHeadAttentionOptions attention;
  // Reads the encoder's states; none: an encoder's block.
  std::optional<nn::MultiHeadAttentionOptions> cross_attention = {};
  std::function<std::shared_ptr<nn::Norm>()> norm;  // makes that of each part
  std::function<std::shared_ptr<nn::Layer>()> mlp;
  double dropout = 0;  // of what attention gives, in training
};

// A block whose parts read a norm of the stream and add to it: x + attention(norm(x)), then in a
// decoder x + cross_attention(norm(x), context), and x + mlp(norm(x)), of which the last sum is
// left to who reads it.
class EncoderDecoderBlock final : public nn::ModuleOf<EncoderDecoderBlock> {
 public:
  explicit EncoderDecoderBlock(const EncoderDecoderBlockOptions& options);

  // x [batch, T, dim] to the same. Throws Error(Argument) where `cross` has a context and the block
  // no such part, or the other way round.
  nn::Residual forward(const nn::Residual& x, const nn::AttentionInputs& self = {},
                       const nn::AttentionInputs& cross = {});

 private:
  nn::Handle<nn::Norm> attention_norm_, cross_norm_, mlp_norm_;
  nn::Handle<nn::Layer> mlp_;
  nn::Handle<nn::MultiHeadAttention> attention_, cross_attention_;
  nn::Handle<nn::Dropout> dropout_;
};

// What blocks are given besides x.
struct EncoderDecoderStackInputs {
  Tensor lengths = {};         // int64 [batch], of an encoder: tokens from there on are padding
  Tensor bias = {};            // of self-attention's scores (nn/layers/attention.h)
  EncoderStates source = {};   // what a decoder reads
  DecoderCaches* caches = {};  // of a decoder: x stands after what they hold
  bool checkpointing = false;
};

// Blocks named "block0", "block1", ...: x [batch, T, dim] to the same.
class EncoderDecoderStack final : public nn::ModuleOf<EncoderDecoderStack> {
 public:
  EncoderDecoderStack(int64_t layers, const EncoderDecoderBlockOptions& options);
  Tensor forward(const Tensor& x, const EncoderDecoderStackInputs& inputs);

 private:
  std::vector<nn::Handle<EncoderDecoderBlock>> blocks_;
};

}  // namespace plinth
