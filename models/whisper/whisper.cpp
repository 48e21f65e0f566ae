#include "models/whisper/whisper.h"

#include <cmath>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"

namespace plinth {

namespace {

constexpr std::string_view kWhisper = "whisper";

EncoderDecoderInfo info_of(const WhisperConfig& config) {
  return {.type = kWhisper,
          .vocab_size = config.vocab_size,
          .context = config.target_positions,
          .encoder_layers = config.encoder_layers,
          .decoder_layers = config.decoder_layers,
          .dim = config.dim,
          .heads = config.decoder_heads,
          .head_dim = config.dim / config.decoder_heads,
          .tied = config.tied,
          .start_token = config.start_token,
          .pad_token = config.pad_token,
          .eos_tokens = config.eos_tokens};
}

nn::MultiHeadAttentionOptions attention_options(const WhisperConfig& config, int64_t heads,
                                                bool causal) {
  const auto weight = nn::init::normal(0, config.init_std);
  return {.dim = config.dim,
          .heads = heads,
          .fused_qkv = false,
          .k_bias = false,
          .causal = causal,
          .dropout = config.attention_dropout,
          .qkv_init = weight,
          .out_init = weight,
          .bias_init = nn::init::zeros()};
}

EncoderDecoderBlockOptions block_options(const WhisperConfig& config, bool decoder) {
  const auto weight = nn::init::normal(0, config.init_std);
  const nn::MLPOptions mlp{.gelu = config.gelu,
                           .dropout = config.dropout,
                           .hidden_dropout = config.activation_dropout,
                           .up_init = weight,
                           .down_init = weight,
                           .bias_init = nn::init::zeros()};
  const int64_t heads = decoder ? config.decoder_heads : config.encoder_heads;
  const int64_t dim = config.dim, ffn = decoder ? config.decoder_ffn_dim : config.encoder_ffn_dim;
  EncoderDecoderBlockOptions options{
      .attention = attention_options(config, heads, decoder),
      .norm = [dim] { return std::make_shared<nn::LayerNorm>(dim); },
      .mlp = [dim, ffn, mlp] { return std::make_shared<nn::MLP>(dim, ffn, mlp); },
      .dropout = config.dropout};
  if (decoder) options.cross_attention = attention_options(config, heads, false);
  return options;
}

// Row t: the sines of t by dim / 2 rates that fall from 1 to 1 / 10000, then the cosines.
Tensor sinusoids(int64_t positions, int64_t dim) {
  const int64_t half = dim / 2;
  std::vector<float> rows;
  for (int64_t t = 0; t < positions; ++t) {
    for (int64_t i = 0; i < dim; ++i) {
      const double rate =
          std::pow(10000.0, -static_cast<double>(i % half) / static_cast<double>(half - 1));
      const double angle = static_cast<double>(t) * rate;
      rows.push_back(static_cast<float>(i < half ? std::sin(angle) : std::cos(angle)));
    }
  }
  return from_values(rows, {positions, dim});
}

}  // namespace

WhisperEncoder::WhisperEncoder(const WhisperConfig& config) : gelu_(config.gelu) {
  const nn::ConvParameters conv{.weight_init = nn::init::normal(0, config.init_std),
                                .bias_init = nn::init::zeros()};
  conv1_ =
      make<nn::Conv1d>("conv1", config.mel_bins, config.dim, 3, Conv1dOptions{.padding = 1}, conv);
  conv2_ = make<nn::Conv1d>("conv2", config.dim, config.dim, 3,
                            Conv1dOptions{.stride = 2, .padding = 1}, conv);
  positions_ = register_buffer("positions", sinusoids(config.source_positions, config.dim));
  dropout_ = make<nn::Dropout>("dropout", config.dropout);
  blocks_ = make<EncoderDecoderStack>("blocks", config.encoder_layers,
                                      block_options(config, /*decoder=*/false));
  norm_ = make<nn::LayerNorm>("norm", config.dim);
}

Tensor WhisperEncoder::forward(const Tensor& features, bool checkpointing) {
  // The stem's GELU is the exact one whatever the blocks' is.
  const Tensor x = gelu(conv2_(gelu(conv1_(features)))).transpose(1, 2);
  return norm_(
      blocks_(dropout_(x + positions_), EncoderDecoderStackInputs{.checkpointing = checkpointing}));
}

void check_whisper_features(const Tensor& features, const WhisperConfig& config,
                            std::string_view subject) {
  check(features.dim() == 3 && features.size(1) == config.mel_bins &&
            features.size(2) == 2 * config.source_positions,
        ErrorKind::Shape, subject, "features have shape ", features.shape(), ", expected [batch, ",
        config.mel_bins, ", ", 2 * config.source_positions, "]");
  check(is_floating_point(features.dtype()), ErrorKind::DType, subject, "features are ",
        name(features.dtype()), ", takes floating-point ones");
}

WhisperDecoder::WhisperDecoder(const WhisperConfig& config) : pad_token_(config.pad_token) {
  const auto weight = nn::init::normal(0, config.init_std);
  token_embedding_ = make<nn::Embedding>("token_embedding", config.vocab_size, config.dim, weight);
  position_embedding_ =
      make<nn::Embedding>("position_embedding", config.target_positions, config.dim, weight);
  dropout_ = make<nn::Dropout>("dropout", config.dropout);
  blocks_ = make<EncoderDecoderStack>("blocks", config.decoder_layers,
                                      block_options(config, /*decoder=*/true));
  norm_ = make<nn::LayerNorm>("norm", config.dim);
}

Tensor WhisperDecoder::forward(const Tensor& ids, const EncoderDecoderStackInputs& inputs) {
  const int64_t before = inputs.caches ? inputs.caches->length() : 0;
  Tensor tokens = token_embedding_(ids);
  // What is read of padding is not trained, as with PyTorch's padding_idx.
  tokens = where(eq(ids, static_cast<double>(pad_token_)).unsqueeze(2), tokens.detach(), tokens);
  const Tensor positions = position_embedding_->rows({{before, ids.size(1)}});
  return norm_(blocks_(dropout_(tokens + positions), inputs));
}

Whisper::Whisper(const WhisperConfig& config) : config_(config), info_(info_of(config)) {
  encoder_ = make<WhisperEncoder>("encoder", config);
  decoder_ = make<WhisperDecoder>("decoder", config);
  head_weight_ = config.tied ? decoder_->token_weight()
                             : register_parameter("head", {config.vocab_size, config.dim},
                                                  nn::init::normal(0, config.init_std));
}

EncoderStates Whisper::encode(const Tensor& features, const Tensor& lengths) {
  check(!lengths.defined(), ErrorKind::Argument, kWhisper,
        "takes no lengths: what is behind a shorter sound is silence");
  check_whisper_features(features, config_, kWhisper);
  return {encoder_(features.to(head_weight_.dtype()), activation_checkpointing())};
}

Tensor Whisper::decode_ids(const Tensor& ids, const EncoderStates& source, DecoderCaches* caches) {
  return decoder_(
      ids, EncoderDecoderStackInputs{
               .source = source, .caches = caches, .checkpointing = activation_checkpointing()});
}

namespace {

// How one side's parameters lie in a Hugging Face file.
struct Slices {
  void add_weight(const std::string& file, const std::string& ours) {
    all.push_back({"model." + file + ".weight", ours});
  }
  void add(const std::string& file, const std::string& ours) {
    for (const char* kind : {".weight", ".bias"})
      all.push_back({"model." + file + kind, ours + kind});
  }
  void add_attention(const std::string& file, const std::string& ours) {
    add_weight(file + ".k_proj", ours + ".k.weight");
    for (const char* part : {"q", "v", "out"}) add(file + "." + part + "_proj", ours + "." + part);
  }
  void add_blocks(const std::string& stack, int64_t layers, bool decoder) {
    for (int64_t i = 0; i < layers; ++i) {
      const std::string file = stack + ".layers." + std::to_string(i) + ".";
      const std::string block = stack + ".blocks.block" + std::to_string(i) + ".";
      add_attention(file + "self_attn", block + "attention");
      add(file + "self_attn_layer_norm", block + "attention_norm");
      if (decoder) {
        add_attention(file + "encoder_attn", block + "cross_attention");
        add(file + "encoder_attn_layer_norm", block + "cross_norm");
      }
      add(file + "fc1", block + "mlp.up");
      add(file + "fc2", block + "mlp.down");
      add(file + "final_layer_norm", block + "mlp_norm");
    }
    add(stack + ".layer_norm", stack + ".norm");
  }

  std::vector<WeightSlice> all;
};

}  // namespace

std::vector<WeightSlice> whisper_encoder_slices(const WhisperConfig& config) {
  Slices slices;
  slices.add("encoder.conv1", "encoder.conv1");
  slices.add("encoder.conv2", "encoder.conv2");
  slices.add_weight("encoder.embed_positions", "encoder.positions");
  slices.add_blocks("encoder", config.encoder_layers, false);
  return slices.all;
}

std::vector<WeightSlice> Whisper::weight_slices() const {
  Slices slices{.all = whisper_encoder_slices(config_)};
  slices.add_weight("decoder.embed_tokens", "decoder.token_embedding.weight");
  slices.add_weight("decoder.embed_positions", "decoder.position_embedding.weight");
  slices.add_blocks("decoder", config_.decoder_layers, true);
  if (!config_.tied) slices.all.push_back({"proj_out.weight", "head"});
  return slices.all;
}

}  // namespace plinth
