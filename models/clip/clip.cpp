#include "models/clip/clip.h"

#include <cmath>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/index.h"
#include "core/ops/loss.h"
#include "core/ops/matmul.h"
#include "core/ops/reduce.h"
#include "core/ops/views.h"

namespace plinth {

namespace {

constexpr std::string_view kClip = "clip";

using nn::init::normal;

// Weights are drawn as wide as transformers draws them, which follows the paper's code.
PreNormBlockOptions block_options(const ClipTowerConfig& config, bool causal) {
  const double width = 1 / std::sqrt(static_cast<double>(config.dim));
  const double residual = width / std::sqrt(2 * static_cast<double>(config.layers));
  return {.dim = config.dim,
          .heads = config.heads,
          .ffn_dim = config.ffn_dim,
          .causal = causal,
          .gelu = config.gelu,
          .norm_eps = config.norm_eps,
          .attention_dropout = config.attention_dropout,
          .qkv_init = normal(0, residual),
          .out_init = normal(0, width),
          .up_init = normal(0, width / std::sqrt(2.0)),
          .down_init = normal(0, residual)};
}

std::shared_ptr<nn::Linear> projection(int64_t in, int64_t out) {
  const auto weight = normal(0, 1 / std::sqrt(static_cast<double>(in)));
  return std::make_shared<nn::Linear>(in, out,
                                      nn::LinearOptions{.bias = false, .weight_init = weight});
}

// Of length 1.
Tensor unit(const Tensor& x) {
  return x / norm(x, {-1}, true);
}

std::vector<WeightSlice> tower_slices(const ClipTowerConfig& config, const std::string& prefix,
                                      const std::string& path) {
  std::vector<WeightSlice> slices;
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string file = prefix + "encoder.layers." + std::to_string(i) + ".";
    const std::string block = path + "blocks.block" + std::to_string(i) + ".";
    for (const std::string kind : {".weight", ".bias"}) {
      int64_t row = 0;
      for (const std::string part : {"q", "k", "v"}) {
        slices.push_back({file + "self_attn." + part + "_proj" + kind,
                          block + "attention.qkv" + kind, false, row, config.dim});
        row += config.dim;
      }
      slices.push_back({file + "self_attn.out_proj" + kind, block + "attention.out" + kind});
      slices.push_back({file + "layer_norm1" + kind, block + "attention_norm" + kind});
      slices.push_back({file + "layer_norm2" + kind, block + "mlp_norm" + kind});
      slices.push_back({file + "mlp.fc1" + kind, block + "mlp.up" + kind});
      slices.push_back({file + "mlp.fc2" + kind, block + "mlp.down" + kind});
    }
  }
  return slices;
}

std::string tower_text(const ClipTowerConfig& config) {
  return std::to_string(config.layers) + " layers of width " + std::to_string(config.dim) + ", " +
         std::to_string(config.heads) + " heads of " + std::to_string(config.dim / config.heads);
}

}  // namespace

ClipTextTower::ClipTextTower(const ClipTextConfig& config) : config_(config) {
  token_embedding_ =
      make<nn::Embedding>("token_embedding", config.vocab_size, config.dim, normal(0, 0.02));
  position_embedding_ =
      make<nn::Embedding>("position_embedding", config.context, config.dim, normal(0, 0.02));
  blocks_ = make<PreNormStack>("blocks", config.layers, block_options(config, true));
  norm_ = make<nn::LayerNorm>("norm", config.dim, nn::LayerNormOptions{.eps = config.norm_eps});
}

Tensor ClipTextTower::forward(const Tensor& ids) {
  check(ids.dim() == 2 && ids.dtype() == DType::Int64 && ids.size(1) > 0 &&
            ids.size(1) <= config_.context,
        ErrorKind::Shape, kClip, "ids are ", name(ids.dtype()), " ", ids.shape(),
        ", expected int64 [texts, 1 to ", config_.context, " tokens]");
  const int64_t texts = ids.size(0), time = ids.size(1);
  const Tensor x = token_embedding_(ids) + position_embedding_->rows({{0, time}});
  const Tensor ends =
      config_.names_tokens()
          ? argmax(eq(ids, static_cast<double>(config_.eos_token)).to(ids.dtype()), 1)
          : argmax(ids, 1);
  const Tensor first = arange(0, static_cast<double>(texts), 1, {DType::Int64, ids.device()}) *
                       static_cast<double>(time);
  return index_select(norm_(blocks_(x)).flatten(0, 1), 0, first + ends);
}

ClipVisionTower::ClipVisionTower(const ClipVisionConfig& config) {
  const auto weight = normal(0, config.initializer_range);
  const double width = 1 / std::sqrt(static_cast<double>(config.dim));
  embedding_ =
      make<ImageEmbedding>("embedding", ImageEmbeddingOptions{.image_size = config.image_size,
                                                              .patch_size = config.patch_size,
                                                              .channels = config.channels,
                                                              .dim = config.dim,
                                                              .patch_bias = false,
                                                              .patch_init = weight,
                                                              .class_init = normal(0, width),
                                                              .position_init = weight});
  const nn::LayerNormOptions norm{.eps = config.norm_eps};
  first_norm_ = make<nn::LayerNorm>("first_norm", config.dim, norm);
  blocks_ = make<PreNormStack>("blocks", config.layers, block_options(config, false));
  norm_ = make<nn::LayerNorm>("norm", config.dim, norm);
}

Tensor ClipVisionTower::forward(const Tensor& pixels, bool interpolate) {
  const Tensor x = first_norm_(embedding_(pixels, interpolate));
  return norm_(blocks_->first_tokens(x, 1)).select(1, 0);
}

Clip::Clip(const ClipConfig& config) : config_(config) {
  text_ = make<ClipTextTower>("text", config.text);
  vision_ = make<ClipVisionTower>("vision", config.vision);
  text_projection_ =
      register_module("text_projection", projection(config.text.dim, config.projection_dim));
  vision_projection_ =
      register_module("vision_projection", projection(config.vision.dim, config.projection_dim));
  logit_scale_ = register_parameter("logit_scale", Shape{}, nn::init::constant(config.logit_scale));
}

Tensor Clip::image_features(const Tensor& pixels, bool interpolate) {
  return unit(vision_projection_(vision_(pixels, interpolate)));
}

Tensor Clip::text_features(const Tensor& ids) {
  return unit(text_projection_(text_(ids)));
}

Tensor Clip::similarity(const Tensor& images, const Tensor& texts) const {
  return matmul(images, texts.transpose(0, 1)) * exp(logit_scale_);
}

Tensor Clip::forward(const Tensor& pixels, const Tensor& ids) {
  return similarity(image_features(pixels), text_features(ids));
}

Tensor Clip::loss(const Tensor& pixels, const Tensor& ids) {
  check(pixels.dim() == 4 && ids.dim() == 2 && pixels.size(0) == ids.size(0), ErrorKind::Shape,
        kClip, "pixels have shape ", pixels.shape(), " and ids ", ids.shape(),
        ", expected one text for each image");
  const Tensor logits = forward(pixels, ids);
  const Tensor pairs =
      arange(0, static_cast<double>(ids.size(0)), 1, {DType::Int64, logits.device()});
  return (cross_entropy(logits, pairs) + cross_entropy(logits.transpose(0, 1), pairs)) * 0.5;
}

void Clip::limit_scale() {
  const NoGradGuard no_grad;
  logit_scale_.copy_(clamp(logit_scale_, -100, std::log(100.0)));
}

Tensor Clip::zero_shot_classes(const Tensors& prompts) {
  check(!prompts.empty(), ErrorKind::Argument, kClip,
        "got prompts of no class, takes at least one");
  Tensors classes;
  for (const Tensor& ids : prompts) classes.push_back(unit(mean(text_features(ids), {0})));
  return stack(classes);
}

void Clip::set_activation_checkpointing(bool on) {
  text_->blocks().set_activation_checkpointing(on);
  vision_->blocks().set_activation_checkpointing(on);
}

std::vector<std::pair<std::string, std::string>> Clip::description() const {
  const ClipVisionConfig& vision = config_.vision;
  return {{"images", tower_text(vision)},
          {"image", image_text(vision.image_size, vision.channels, vision.patch_size)},
          {"texts", tower_text(config_.text)},
          {"vocabulary", std::to_string(config_.text.vocab_size)},
          {"context", std::to_string(config_.text.context)},
          {"projection", "of width " + std::to_string(config_.projection_dim)}};
}

std::vector<WeightSlice> Clip::weight_slices() const {
  std::vector<WeightSlice> slices = tower_slices(config_.text, "text_model.", "text.");
  const auto add = [&](const std::string& file, const std::string& ours) {
    slices.push_back({file, ours});
  };
  for (WeightSlice& slice : tower_slices(config_.vision, "vision_model.", "vision."))
    slices.push_back(std::move(slice));
  for (const std::string kind : {".weight", ".bias"}) {
    add("text_model.final_layer_norm" + kind, "text.norm" + kind);
    add("vision_model.pre_layrnorm" + kind, "vision.first_norm" + kind);  // spelled so
    add("vision_model.post_layernorm" + kind, "vision.norm" + kind);
  }
  add("text_model.embeddings.token_embedding.weight", "text.token_embedding.weight");
  add("text_model.embeddings.position_embedding.weight", "text.position_embedding.weight");
  add("vision_model.embeddings.class_embedding", "vision.embedding.class_token");
  add("vision_model.embeddings.patch_embedding.weight", "vision.embedding.patches.weight");
  add("vision_model.embeddings.position_embedding.weight", "vision.embedding.position");
  add("text_projection.weight", "text_projection.weight");
  add("visual_projection.weight", "vision_projection.weight");
  add("logit_scale", "logit_scale");
  return slices;
}

}  // namespace plinth
