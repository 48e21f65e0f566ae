#include "models/bert/bert.h"

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/loss.h"
#include "core/ops/views.h"
#include "nn/absent.h"

namespace plinth {

namespace {

constexpr std::string_view kBert = "bert";

LanguageModelInfo info_of(const BertConfig& config) {
  return {.type = kBert,
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
          .causal = false,
          .eos_tokens = config.eos_tokens};
}

nn::LinearOptions linear_options(const BertConfig& config) {
  return {.weight_init = nn::init::normal(0, config.initializer_range),
          .bias_init = nn::init::zeros()};
}

void check_inputs(const Tensor& ids, const BertInputs& inputs) {
  if (inputs.segments.defined())
    check(inputs.segments.shape() == ids.shape(), ErrorKind::Shape, kBert, "segments have shape ",
          inputs.segments.shape(), ", expected that of ids, ", ids.shape());
  if (inputs.lengths.defined())
    check(inputs.lengths.shape() == Shape{ids.size(0)}, ErrorKind::Shape, kBert,
          "lengths have shape ", inputs.lengths.shape(), ", expected [", ids.size(0), "]");
}

}  // namespace

BertBlock::BertBlock(const BertConfig& config) {
  const auto weight = nn::init::normal(0, config.initializer_range);
  const nn::LayerNormOptions norm{.eps = config.norm_eps};
  attention_ = make<nn::MultiHeadAttention>(
      "attention", nn::MultiHeadAttentionOptions{.dim = config.dim,
                                                 .heads = config.heads,
                                                 .dropout = config.attention_dropout,
                                                 .qkv_init = weight,
                                                 .out_init = weight,
                                                 .bias_init = nn::init::zeros()});
  dropout_ = make<nn::Dropout>("dropout", config.hidden_dropout);
  attention_norm_ = make<nn::LayerNorm>("attention_norm", config.dim, norm);
  mlp_ = make<nn::MLP>("mlp", config.dim, config.ffn_dim,
                       nn::MLPOptions{.gelu = config.gelu,
                                      .dropout = config.hidden_dropout,
                                      .up_init = weight,
                                      .down_init = weight,
                                      .bias_init = nn::init::zeros()});
  mlp_norm_ = make<nn::LayerNorm>("mlp_norm", config.dim, norm);
}

Tensor BertBlock::forward(const Tensor& x, const Tensor& lengths) {
  const Tensor mixed = dropout_(attention_(x, nn::AttentionInputs{.kv_lengths = lengths}));
  const Tensor middle = attention_norm_->add({x, mixed}).normed;
  return mlp_norm_->add({middle, mlp_(middle)}).normed;
}

BertTransform::BertTransform(const BertConfig& config) : gelu_(config.gelu) {
  dense_ = make<nn::Linear>("dense", config.dim, config.dim, linear_options(config));
  norm_ = make<nn::LayerNorm>("norm", config.dim, nn::LayerNormOptions{.eps = config.norm_eps});
}

Tensor BertTransform::forward(const Tensor& x) {
  return norm_(gelu(dense_(x), gelu_));
}

Bert::Bert(const BertConfig& config) : config_(config), info_(info_of(config)) {
  const auto weight = nn::init::normal(0, config.initializer_range);
  const auto embedding = [&](const std::string& name, int64_t count) {
    return make<nn::Embedding>(name, count, config.dim, weight);
  };
  token_embedding_ = embedding("token_embedding", config.vocab_size);
  position_embedding_ = embedding("position_embedding", config.context);
  segment_embedding_ = embedding("segment_embedding", config.segments);
  embedding_norm_ = make<nn::LayerNorm>("embedding_norm", config.dim,
                                        nn::LayerNormOptions{.eps = config.norm_eps});
  dropout_ = make<nn::Dropout>("dropout", config.hidden_dropout);
  for (int64_t i = 0; i < config.layers; ++i)
    blocks_.emplace_back(make<BertBlock>("block" + std::to_string(i), config));
  const BertParts& parts = config.parts;
  if (parts.pooler)
    pooler_ = make<nn::Linear>("pooler", config.dim, config.dim, linear_options(config));
  if (parts.next_sentence)
    next_sentence_ = make<nn::Linear>("next_sentence", config.dim, 2, linear_options(config));
  if (parts.masked_lm) {
    transform_ = make<BertTransform>("transform", config);
    head_bias_ = register_parameter("head_bias", {config.vocab_size}, nn::init::zeros());
  }
  head_weight_ = config.tied || !parts.masked_lm
                     ? token_embedding_->weight()
                     : register_parameter("head", {config.vocab_size, config.dim}, weight);
}

Tensor Bert::embed_tokens(const Tensor& tokens, const Tensor& segments) {
  const Tensor positions = position_embedding_->rows(runs(tokens.size(1)));
  return dropout_(embedding_norm_(tokens + (positions + segments)));
}

Tensor Bert::embed_ids(const Tensor& ids, int64_t before) {
  check(before == 0, ErrorKind::Argument, kBert, "got ids that stand after ", before,
        " others; takes whole sequences, whose tokens all see each other");
  return embed_tokens(token_embedding_(ids), segment_embedding_->rows({{0, 1}}));
}

nn::Residual Bert::forward_block(int64_t i, const nn::Residual& x, nn::KVCache* cache,
                                 Tensor* /*load*/) {
  check(!cache, ErrorKind::Argument, kBert,
        "got a cache, takes none: a token sees those behind it");
  return blocks_.at(static_cast<size_t>(i))(x.sum(), Tensor());
}

Tensor Bert::encode(const Tensor& ids, const BertInputs& inputs) {
  check_ids(ids, 0);
  check_inputs(ids, inputs);
  Tensor tokens = token_embedding_(ids);
  // The embedding of padding is not trained, as with PyTorch's padding_idx.
  if (inputs.lengths.defined() && config_.pad_token) {
    const Tensor is_padding = eq(ids, static_cast<double>(*config_.pad_token)).unsqueeze(2);
    tokens = where(is_padding, tokens.detach(), tokens);
  }
  Tensor x = embed_tokens(tokens, inputs.segments.defined() ? segment_embedding_(inputs.segments)
                                                            : segment_embedding_->rows({{0, 1}}));
  for (const nn::Handle<BertBlock>& block : blocks_) {
    const auto run = [block, lengths = inputs.lengths](const Tensors& in) {
      return block(in[0], lengths);
    };
    x = activation_checkpointing() ? checkpoint(run, {x}) : run({x});
  }
  return x;
}

Tensor Bert::pool(const Tensor& x) {
  check(pooler_ != nullptr, ErrorKind::Argument, kBert, "has no pooler: its checkpoint held none");
  return tanh(pooler_(x.select(1, 0)));
}

Tensor Bert::next_sentence(const Tensor& pooled) {
  check(next_sentence_ != nullptr, ErrorKind::Argument, kBert,
        "has no next-sentence head: its checkpoint held none");
  return next_sentence_(pooled);
}

Tensor Bert::pretraining_loss(const Tensor& ids, const BertInputs& inputs, const Tensor& targets,
                              const Tensor& labels) {
  const Tensor x = encode(ids, inputs);
  return loss_of_hidden(finish(x), targets) + cross_entropy(next_sentence(pool(x)), labels);
}

Tensor Bert::finish(const Tensor& x) {
  check(transform_ != nullptr, ErrorKind::Argument, kBert,
        "has no masked-LM head: its checkpoint held none");
  return transform_(x);
}

Tensors Bert::last_parameters() const {
  if (!transform_) return {};
  Tensors parameters = transform_->parameters();
  parameters.push_back(head_bias_);
  parameters.push_back(head_weight_);
  return parameters;
}

// The pooler's gradient comes from the next sentence alone.
std::unique_ptr<LanguageModel> Bert::trained_parts() const {
  if (!pooler_) return nullptr;
  BertConfig config = config_;
  config.parts = {.masked_lm = config_.parts.masked_lm};
  const nn::SkipInit skip;
  auto model = std::make_unique<Bert>(config);
  model->to(head_weight_.dtype());
  if (!nn::is_absent(head_weight_)) model->load_state_dict(state_dict(), /*strict=*/false);
  return model;
}

std::vector<WeightSlice> Bert::encoder_slices(const std::string& prefix,
                                              const std::string& path) const {
  std::vector<WeightSlice> slices;
  const auto add = [&](const std::string& file, const std::string& ours, int64_t row = 0,
                       int64_t rows = -1) {
    for (const char* kind : {".weight", ".bias"})
      slices.push_back({prefix + file + kind, path + ours + kind, false, row, rows});
  };
  const auto add_table = [&](const std::string& file, const std::string& ours) {
    slices.push_back({prefix + "embeddings." + file + ".weight", path + ours + ".weight"});
  };
  add_table("word_embeddings", "token_embedding");
  add_table("position_embeddings", "position_embedding");
  add_table("token_type_embeddings", "segment_embedding");
  add("embeddings.LayerNorm", "embedding_norm");
  for (int64_t i = 0; i < config_.layers; ++i) {
    const std::string file = "encoder.layer." + std::to_string(i) + ".";
    const std::string block = "block" + std::to_string(i) + ".";
    int64_t row = 0;
    for (const char* part : {"query", "key", "value"}) {
      add(file + "attention.self." + part, block + "attention.qkv", row, config_.dim);
      row += config_.dim;
    }
    add(file + "attention.output.dense", block + "attention.out");
    add(file + "attention.output.LayerNorm", block + "attention_norm");
    add(file + "intermediate.dense", block + "mlp.up");
    add(file + "output.dense", block + "mlp.down");
    add(file + "output.LayerNorm", block + "mlp_norm");
  }
  if (pooler_) add("pooler.dense", "pooler");
  return slices;
}

// A file of the encoder alone has no prefix.
std::vector<WeightSlice> Bert::weight_slices() const {
  std::vector<WeightSlice> slices = encoder_slices(transform_ ? "bert." : "", "");
  const auto add = [&](const std::string& file, const std::string& ours) {
    for (const char* kind : {".weight", ".bias"}) slices.push_back({file + kind, ours + kind});
  };
  if (next_sentence_) add("cls.seq_relationship", "next_sentence");
  if (!transform_) return slices;
  add("cls.predictions.transform.dense", "transform.dense");
  add("cls.predictions.transform.LayerNorm", "transform.norm");
  slices.push_back({"cls.predictions.bias", "head_bias"});
  if (!config_.tied) {
    slices.push_back({"cls.predictions.decoder.weight", "head"});
    // Of the two biases that an untied file has, transformers adds this one.
    slices.push_back({"cls.predictions.decoder.bias", "head_bias"});
  }
  return slices;
}

}  // namespace plinth
