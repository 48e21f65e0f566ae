#include "models/t5/t5.h"

#include <cmath>

#include "core/error.h"
#include "core/ops/elementwise.h"

namespace plinth {

namespace {

EncoderDecoderInfo info_of(const T5Config& config) {
  return {.type = "t5",
          .vocab_size = config.vocab_size,
          .encoder_layers = config.encoder_layers,
          .decoder_layers = config.decoder_layers,
          .dim = config.dim,
          .heads = config.heads,
          .head_dim = config.head_dim,
          .tied = config.tied,
          .start_token = config.start_token,
          .pad_token = config.pad_token,
          .eos_tokens = config.eos_tokens};
}

// The paper's scheme: a product of unit variance for inputs of unit variance, and for scores that
// are not scaled.
nn::Initializer fan_in(const T5Config& config, int64_t in) {
  return nn::init::normal(0, config.initializer_factor / std::sqrt(static_cast<double>(in)));
}

nn::MultiHeadAttentionOptions attention_options(const T5Config& config, bool causal) {
  return {.dim = config.dim,
          .heads = config.heads,
          .head_dim = config.head_dim,
          .fused_qkv = false,
          .qkv_bias = false,
          .out_bias = false,
          .causal = causal,
          .scale = 1,
          .dropout = config.dropout,
          .qkv_init = fan_in(config, config.dim),
          .q_init = fan_in(config, config.dim * config.head_dim),
          .out_init = fan_in(config, config.heads * config.head_dim)};
}

std::shared_ptr<nn::Layer> make_mlp(const T5Config& config) {
  const auto up = fan_in(config, config.dim), down = fan_in(config, config.ffn_dim);
  if (config.gated)
    return std::make_shared<nn::GatedMLP>(config.dim, config.ffn_dim,
                                          nn::GatedMLPOptions{.gelu = GeluForm::Tanh,
                                                              .dropout = config.dropout,
                                                              .hidden_dropout = config.dropout,
                                                              .up_init = up,
                                                              .down_init = down});
  return std::make_shared<nn::MLP>(config.dim, config.ffn_dim,
                                   nn::MLPOptions{.activation = relu,
                                                  .bias = false,
                                                  .dropout = config.dropout,
                                                  .hidden_dropout = config.dropout,
                                                  .up_init = up,
                                                  .down_init = down});
}

EncoderDecoderBlockOptions block_options(const T5Config& config, bool decoder) {
  EncoderDecoderBlockOptions options{.attention = attention_options(config, decoder),
                                     .norm =
                                         [config] {
                                           return std::make_shared<nn::RMSNorm>(
                                               config.dim,
                                               nn::RMSNormOptions{.eps = config.norm_eps});
                                         },
                                     .mlp = [config] { return make_mlp(config); },
                                     .dropout = config.dropout};
  if (decoder) options.cross_attention = attention_options(config, false);
  return options;
}

}  // namespace

T5Stack::T5Stack(const T5Config& config, bool decoder) {
  position_bias_ = make<nn::RelativePositionBias>(
      "position_bias", nn::RelativePositionOptions{.heads = config.heads,
                                                   .buckets = config.buckets,
                                                   .max_distance = config.max_distance,
                                                   .bidirectional = !decoder,
                                                   .init = fan_in(config, config.dim)});
  const int64_t layers = decoder ? config.decoder_layers : config.encoder_layers;
  blocks_ = make<EncoderDecoderStack>("blocks", layers, block_options(config, decoder));
  norm_ = make<nn::RMSNorm>("norm", config.dim, nn::RMSNormOptions{.eps = config.norm_eps});
  dropout_ = make<nn::Dropout>("dropout", config.dropout);
}

Tensor T5Stack::forward(const Tensor& x, EncoderDecoderStackInputs inputs) {
  const int64_t before = inputs.caches ? inputs.caches->length() : 0, time = x.size(1);
  inputs.bias = position_bias_(time, before + time, before);
  return dropout_(norm_(blocks_(x, inputs)));
}

T5::T5(const T5Config& config) : config_(config), info_(info_of(config)) {
  const auto table = nn::init::normal(0, config.initializer_factor);
  token_embedding_ = make<nn::Embedding>("token_embedding", config.vocab_size, config.dim, table);
  dropout_ = make<nn::Dropout>("dropout", config.dropout);
  encoder_ = make<T5Stack>("encoder", config, /*decoder=*/false);
  decoder_ = make<T5Stack>("decoder", config, /*decoder=*/true);
  head_weight_ = config.tied ? token_embedding_->weight()
                             : register_parameter("head", {config.vocab_size, config.dim}, table);
}

EncoderStates T5::encode(const Tensor& source, const Tensor& lengths) {
  check_ids(source, "ids");
  check_lengths(lengths, source.size(0));
  const EncoderDecoderStackInputs inputs{.lengths = lengths,
                                         .checkpointing = activation_checkpointing()};
  return {encoder_(dropout_(token_embedding_(source)), inputs), lengths};
}

Tensor T5::decode_ids(const Tensor& ids, const EncoderStates& source, DecoderCaches* caches) {
  const EncoderDecoderStackInputs inputs{
      .source = source, .caches = caches, .checkpointing = activation_checkpointing()};
  const Tensor x = decoder_(dropout_(token_embedding_(ids)), inputs);
  return config_.scaled_head ? x * (1 / std::sqrt(static_cast<double>(config_.dim))) : x;
}

std::vector<WeightSlice> T5::weight_slices() const {
  std::vector<WeightSlice> slices = {{"shared.weight", "token_embedding.weight"}};
  const auto add = [&](const std::string& file, const std::string& ours) {
    slices.push_back({file + ".weight", ours + ".weight"});
  };
  const auto add_attention = [&](const std::string& file, const std::string& ours) {
    for (const char* part : {"q", "k", "v"}) add(file + "." + part, ours + "." + part);
    add(file + ".o", ours + ".out");
  };
  const auto add_stack = [&](const std::string& stack, int64_t layers, bool decoder) {
    add(stack + ".block.0.layer.0.SelfAttention.relative_attention_bias", stack + ".position_bias");
    for (int64_t i = 0; i < layers; ++i) {
      const std::string file = stack + ".block." + std::to_string(i) + ".layer.";
      const std::string block = stack + ".blocks.block" + std::to_string(i) + ".";
      add_attention(file + "0.SelfAttention", block + "attention");
      add(file + "0.layer_norm", block + "attention_norm");
      if (decoder) {
        add_attention(file + "1.EncDecAttention", block + "cross_attention");
        add(file + "1.layer_norm", block + "cross_norm");
      }
      const std::string last = file + (decoder ? "2" : "1"), dense = last + ".DenseReluDense.";
      if (config_.gated) {
        add(dense + "wi_0", block + "mlp.gate");
        add(dense + "wi_1", block + "mlp.up");
      } else {
        add(dense + "wi", block + "mlp.up");
      }
      add(dense + "wo", block + "mlp.down");
      add(last + ".layer_norm", block + "mlp_norm");
    }
    add(stack + ".final_layer_norm", stack + ".norm");
  };
  add_stack("encoder", config_.encoder_layers, false);
  add_stack("decoder", config_.decoder_layers, true);
  if (!config_.tied) slices.push_back({"lm_head.weight", "head"});
  return slices;
}

}  // namespace plinth
