#include "models/vit/vit.h"

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/loss.h"

namespace plinth {

namespace {

constexpr std::string_view kViT = "vit";

// As transformers and the original draw weights: normal, cut off at two.
nn::Initializer truncated_normal(double stddev) {
  return nn::init::trunc_normal(0, stddev, -2, 2);
}

}  // namespace

PreNormBlockOptions vit_block_options(const ViTConfig& config) {
  const auto weight = truncated_normal(config.initializer_range);
  return {.dim = config.dim,
          .heads = config.heads,
          .ffn_dim = config.ffn_dim,
          .qkv_bias = config.qkv_bias,
          .gelu = config.gelu,
          .norm_eps = config.norm_eps,
          .dropout = config.hidden_dropout,
          .attention_dropout = config.attention_dropout,
          .qkv_init = weight,
          .out_init = weight,
          .up_init = weight,
          .down_init = weight};
}

ViTEncoder::ViTEncoder(const ViTConfig& config, const ViTEmbeddingOptions& options) {
  embedding_ = make<ImageEmbedding>(
      "embedding", ImageEmbeddingOptions{.image_size = config.image_size,
                                         .patch_size = config.patch_size,
                                         .channels = config.channels,
                                         .dim = config.dim,
                                         .patch_init = options.patch_init,
                                         .class_init = options.class_init,
                                         .position_init = options.position_init,
                                         .fixed_positions = options.fixed_positions});
  dropout_ = make<nn::Dropout>("dropout", options.dropout);
  blocks_ = make<PreNormStack>("blocks", config.layers, vit_block_options(config));
  norm_ = make<nn::LayerNorm>("norm", config.dim, nn::LayerNormOptions{.eps = config.norm_eps});
}

Tensor ViTEncoder::forward(const Tensor& pixels, bool interpolate) {
  return encode(embedding_->patches(pixels, interpolate));
}

Tensor ViTEncoder::encode(const Tensor& patches) {
  return norm_(blocks_(dropout_(embedding_->with_tokens(patches))));
}

Tensor ViTEncoder::class_token(const Tensor& pixels, bool interpolate) {
  const Tensor x = dropout_(embedding_->with_tokens(embedding_->patches(pixels, interpolate)));
  return norm_(blocks_->first_tokens(x, 1)).select(1, 0);
}

ViT::ViT(const ViTConfig& config) : config_(config) {
  check(config.labels.size() != 1, ErrorKind::Argument, kViT,
        "got 1 label, takes none or 2 or more");
  const nn::LinearOptions linear{.weight_init = truncated_normal(config.initializer_range),
                                 .bias_init = nn::init::zeros()};
  const auto weight = truncated_normal(config.initializer_range);
  encoder_ = make<ViTEncoder>("encoder", config,
                              ViTEmbeddingOptions{.dropout = config.hidden_dropout,
                                                  .patch_init = weight,
                                                  .class_init = weight,
                                                  .position_init = weight});
  if (config.pooler) pooler_ = make<nn::Linear>("pooler", config.dim, config.pooler_dim, linear);
  if (!config.labels.empty())
    head_ = make<nn::Linear>("head", config.dim, std::ssize(config.labels), linear);
}

Tensor ViT::encode(const Tensor& pixels, bool interpolate) {
  return encoder_(pixels, interpolate);
}

Tensor ViT::pool(const Tensor& x) {
  check(pooler_ != nullptr, ErrorKind::Argument, kViT, "has no pooler: its checkpoint held none");
  return tanh(pooler_(x.select(1, 0)));
}

Tensor ViT::forward(const Tensor& pixels, bool interpolate) {
  check(head_ != nullptr, ErrorKind::Argument, kViT, "has no classifier: its config.json has none");
  return head_(encoder_->class_token(pixels, interpolate));
}

Tensor ViT::loss(const Tensor& pixels, const Tensor& targets, bool interpolate) {
  check(pixels.dim() == 4 && targets.shape() == Shape{pixels.size(0)}, ErrorKind::Shape, kViT,
        "targets have shape ", targets.shape(), ", expected one for each image of pixels, ",
        pixels.shape());
  return cross_entropy(forward(pixels, interpolate), targets);
}

std::vector<std::pair<std::string, std::string>> describe_vit(const ViTConfig& config) {
  return {{"layers", std::to_string(config.layers) + " of width " + std::to_string(config.dim) +
                         ", " + std::to_string(config.heads) + " heads of " +
                         std::to_string(config.dim / config.heads)},
          {"image", image_text(config.image_size, config.channels, config.patch_size)}};
}

std::vector<std::pair<std::string, std::string>> ViT::description() const {
  auto lines = describe_vit(config_);
  if (head_) lines.emplace_back("labels", std::to_string(config_.labels.size()));
  if (pooler_) lines.emplace_back("pooler", "of width " + std::to_string(config_.pooler_dim));
  return lines;
}

std::vector<WeightSlice> vit_block_slices(int64_t layers, int64_t dim, bool qkv_bias,
                                          const std::string& prefix, const std::string& path) {
  std::vector<WeightSlice> slices;
  for (int64_t i = 0; i < layers; ++i) {
    const std::string file = prefix + std::to_string(i) + ".";
    const std::string block = path + "block" + std::to_string(i) + ".";
    for (const std::string kind : {".weight", ".bias"}) {
      int64_t row = 0;
      for (const std::string part : {"query", "key", "value"}) {
        if (qkv_bias || kind == ".weight")
          slices.push_back({file + "attention.attention." + part + kind,
                            block + "attention.qkv" + kind, false, row, dim});
        row += dim;
      }
      slices.push_back({file + "attention.output.dense" + kind, block + "attention.out" + kind});
      slices.push_back({file + "layernorm_before" + kind, block + "attention_norm" + kind});
      slices.push_back({file + "layernorm_after" + kind, block + "mlp_norm" + kind});
      slices.push_back({file + "intermediate.dense" + kind, block + "mlp.up" + kind});
      slices.push_back({file + "output.dense" + kind, block + "mlp.down" + kind});
    }
  }
  return slices;
}

std::vector<WeightSlice> vit_encoder_slices(const ViTConfig& config, const std::string& prefix,
                                            const std::string& path) {
  std::vector<WeightSlice> slices = vit_block_slices(config.layers, config.dim, config.qkv_bias,
                                                     prefix + "encoder.layer.", path + "blocks.");
  slices.push_back({.file_name = prefix + "embeddings.cls_token",
                    .parameter = path + "embedding.class_token",
                    .leading_ones = 2});
  slices.push_back({.file_name = prefix + "embeddings.position_embeddings",
                    .parameter = path + "embedding.position",
                    .leading_ones = 1});
  for (const std::string kind : {".weight", ".bias"}) {
    slices.push_back({prefix + "embeddings.patch_embeddings.projection" + kind,
                      path + "embedding.patches" + kind});
    slices.push_back({prefix + "layernorm" + kind, path + "norm" + kind});
  }
  return slices;
}

// A file of the encoder alone has no prefix.
std::vector<WeightSlice> ViT::weight_slices() const {
  std::vector<WeightSlice> slices = vit_encoder_slices(config_, head_ ? "vit." : "", "encoder.");
  for (const std::string kind : {".weight", ".bias"}) {
    if (head_) slices.push_back({"classifier" + kind, "head" + kind});
    if (pooler_) slices.push_back({"pooler.dense" + kind, "pooler" + kind});
  }
  return slices;
}

void load_encoder(nn::Module& model, nn::StateDict pretrained) {
  model.to(pretrained.front().tensor.dtype());
  model.to(pretrained.front().tensor.device());
  std::erase_if(pretrained, [](const auto& entry) { return !entry.name.starts_with("encoder."); });
  model.load_state_dict(pretrained, /*strict=*/false);
}

std::unique_ptr<ViT> make_classifier(const nn::Module& pretrained, ViTConfig config,
                                     std::vector<std::string> labels, uint64_t seed) {
  check(labels.size() >= 2, ErrorKind::Argument, kViT, "got ", labels.size(),
        " labels, takes 2 or more");
  config.labels = std::move(labels);
  config.pooler = false;
  auto model = std::make_unique<ViT>(config);
  model->reset_parameters(seed);
  load_encoder(*model, pretrained.state_dict());
  return model;
}

}  // namespace plinth
