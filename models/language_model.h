#pragma once

// What every model of tokens in the zoo is to the rest: token ids in, logits or a loss out.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"
#include "models/weight_map.h"
#include "nn/layers.h"
#include "nn/module.h"

namespace plinth {

// The sizes that the rest of the program asks about.
struct LanguageModelInfo {
  std::string_view type;  // config.json's model_type
  int64_t vocab_size = 0;
  int64_t context = 0;  // the most positions
  int64_t layers = 0;
  int64_t dim = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t ffn_dim = 0;  // of an expert, where there are experts
  bool gated = false;   // an MLP of three matrices
  bool tied = false;
  // A token sees itself and those before it, and predicts the next. Else it sees all, and what is
  // predicted are tokens that were masked.
  bool causal = true;
  std::vector<int64_t> eos_tokens;  // any of them ends a text
  int64_t experts = 0;              // of each block; 0: an MLP in their place
  int64_t experts_per_token = 0;
  // What the load-balancing loss (nn/layers/mixture_of_experts.h) counts in training; 0: nothing.
  double balance_coefficient = 0;
};

// The keys and values of each layer, for generating a token at a time.
using KVCaches = std::vector<nn::KVCache>;

// What a rank has of a model that ranks share, besides what its layers know.
struct LanguageModelShare {
  nn::SequencePart part = {};  // of the stream between the layers
  // The sum of the losses of x [batch, time, dim], hidden()'s, by the head's weight as it lies
  // here, for targets [batch, time]; and the logits. Empty: the head is whole, and so is x.
  std::function<Tensor(const Tensor& x, const Tensor& weight, const Tensor& targets)> loss = {};
  std::function<Tensor(const Tensor& x, const Tensor& weight)> logits = {};
  nn::TensorMap total =
      {};  // a number of each context-parallel rank to their sum; empty: there is one
  nn::TensorMap load = {};  // of experts, of a rank's tokens, to that of all tokens
};

class LanguageModel : public nn::Module {
 public:
  virtual const LanguageModelInfo& info() const = 0;

  // The last layer's output after its norm, [batch, time, dim], for ids int64 [batch, time]; of a
  // shared model, its part for the tokens of a context-parallel rank. With
  // caches, ids stand after what the caches hold, and are added to them. Throws Error(Shape) if
  // time exceeds the context, Error(Argument) for an id outside the vocabulary, or for caches that
  // are not one for each layer.
  Tensor hidden(const Tensor& ids, KVCaches* caches = nullptr);

  // ---- what hidden() is made of, for who cuts the model ----
  // The ids that hidden() and embed() take, of whole sequences: of a shared model those of this
  // rank's tokens.
  Tensor own_ids(const Tensor& ids) const;
  // The first block's input, of ids that stand after `before` others. Throws what hidden() does.
  Tensor embed(const Tensor& ids, int64_t before = 0);
  // Block i of info().layers, from x [batch, time, dim] to the same, under activation checkpointing
  // if that is on. `loads`, if given, gets what load_balancing_loss() takes of a block of experts.
  // Throws Error(Argument) for a block that there is not.
  nn::Residual run_block(int64_t i, const nn::Residual& x, nn::KVCache* cache = nullptr,
                         Tensors* loads = nullptr);
  // The last block's output after the model's last norm.
  virtual Tensor finish(const Tensor& x) = 0;
  // The module of block i.
  virtual nn::Module& block(int64_t i) = 0;
  // The parameters of finish() and head(), in place of the first stage's.
  virtual Tensors last_parameters() const = 0;

  // The output projection, [vocab_size, dim]: the token embedding itself where they are tied.
  virtual const Tensor& head_weight() const = 0;
  // What it adds, [vocab_size]; undefined: nothing.
  virtual Tensor head_bias() const { return {}; }
  // A model of the parts that loss() reaches, with copies of their values, where there are others;
  // null: there are none.
  virtual std::unique_ptr<LanguageModel> trained_parts() const { return nullptr; }
  // The text of config.json for weights of this dtype.
  virtual std::string config_json(DType dtype) const = 0;
  // How the parameters lie in a Hugging Face file.
  virtual std::vector<WeightSlice> weight_slices() const = 0;

  // Where its weights are, and its inputs must be.
  Device device() const { return head_weight().device(); }
  // Logits [..., vocab_size] of hidden(): x [..., dim].
  Tensor head(const Tensor& x) const;
  // Logits [batch, time, vocab_size].
  Tensor forward(const Tensor& ids, KVCaches* caches = nullptr);
  // Mean cross-entropy over the targets [batch, time] that are not -100, without the logits in
  // memory: a scalar. In training mode with the load-balancing loss of its experts, if it has one.
  // Of a shared model all ranks give whole sequences, and get the same.
  Tensor loss(const Tensor& ids, const Tensor& targets);
  // That of hidden() alone: x [batch, time, dim], of a shared model its part.
  Tensor loss_of_hidden(const Tensor& x, const Tensor& targets) const;
  // The load-balancing loss, as training counts it, of what run_block() gave.
  Tensor balance_loss(const Tensors& loads) const;
  // Empty caches for `batch` rows of up to `length` positions. Throws Error(Argument) unless the
  // model is causal.
  KVCaches make_caches(int64_t batch, int64_t length) const;

  // From now on this is a rank's share. The layers and parameters are told by the caller.
  void share(LanguageModelShare share) { share_.emplace(std::move(share)); }
  bool is_shared() const { return share_.has_value(); }

  // Runs each layer's forward pass again in backward rather than keep what it computed.
  void set_activation_checkpointing(bool on) { checkpointing_ = on; }
  bool activation_checkpointing() const { return checkpointing_; }

  // Operations of a training step for each token of sequences of `time` tokens, what the causal
  // mask skips left out (nn/flops.h).
  double training_flops_per_token(int64_t time) const;

 protected:
  // embed() and run_block() of a family, for arguments that are checked. A block of experts sets
  // `load`, if it is given.
  virtual Tensor embed_ids(const Tensor& ids, int64_t before) = 0;
  virtual nn::Residual forward_block(int64_t i, const nn::Residual& x, nn::KVCache* cache,
                                     Tensor* load) = 0;
  // Where `tokens` tokens of the stream stand in their sequences.
  std::vector<nn::TokenRun> runs(int64_t tokens) const;
  // Throws what embed() does for the shape of ids.
  void check_ids(const Tensor& ids, int64_t cached) const;

 private:
  // The head as one matrix [vocab_size, more than dim], and x [..., dim] that goes with it, where
  // there is a bias: it is a column of the matrix, and x has a 1 there.
  struct HeadOperands {
    Tensor x, weight;
  };
  HeadOperands head_operands(const Tensor& x) const;
  Tensor run_blocks(const Tensor& ids, KVCaches* caches, Tensors* loads);
  Tensor own_tokens(const Tensor& x, int64_t filler) const;

  bool checkpointing_ = false;
  std::optional<LanguageModelShare> share_;
};

}  // namespace plinth
