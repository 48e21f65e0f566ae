#include "models/yolos/yolos.h"

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/activation.h"
#include "core/ops/elementwise.h"
#include "core/ops/views.h"
#include "models/vision/interpolation.h"
#include "models/vit/vit.h"

namespace plinth {

namespace {

constexpr std::string_view kYolos = "yolos";
constexpr const char* kPosition = "encoder.embedding.position";

// Positions [..., 1 + patches + tokens, dim] for a grid of patches of another size.
Tensor positions_on(const Tensor& positions, Size2d from, Size2d to) {
  if (from.height == to.height && from.width == to.width) return positions;
  const int64_t patches = from.height * from.width, behind = 1 + patches;
  const int64_t tokens = positions.size(-2) - behind;
  return cat({positions.narrow(-2, 0, 1), bicubic(positions.narrow(-2, 1, patches), from, to),
              positions.narrow(-2, behind, tokens)},
             -2);
}

}  // namespace

YolosEncoder::YolosEncoder(const YolosConfig& config) {
  const ViTConfig& vit = config.vit;
  const auto weight = nn::init::trunc_normal(0, vit.initializer_range, -2, 2);
  embedding_ = make<ImageEmbedding>("embedding",
                                    ImageEmbeddingOptions{.image_size = config.image_size,
                                                          .patch_size = vit.patch_size,
                                                          .channels = vit.channels,
                                                          .dim = vit.dim,
                                                          .more_tokens = config.detection_tokens,
                                                          .patch_init = weight,
                                                          .class_init = weight,
                                                          .more_init = weight,
                                                          .position_init = weight});
  dropout_ = make<nn::Dropout>("dropout", vit.hidden_dropout);
  blocks_ = make<PreNormStack>("blocks", vit.layers, vit_block_options(vit));
  norm_ = make<nn::LayerNorm>("norm", vit.dim, nn::LayerNormOptions{.eps = vit.norm_eps});
  if (!config.mid_positions || vit.layers < 2) return;
  const int64_t tokens = embedding_->position().size(0);
  mid_position_ = register_parameter("mid_position", {vit.layers - 1, 1, tokens, vit.dim}, weight);
}

Tensor YolosEncoder::forward(const Tensor& pixels, bool interpolate) {
  const Tensor x = dropout_(embedding_(pixels, interpolate));
  if (!mid_position_.defined()) return norm_(blocks_(x));
  const Size2d grid{pixels.size(2) / embedding_->patch_size(),
                    pixels.size(3) / embedding_->patch_size()};
  const Tensor positions = positions_on(mid_position_, embedding_->grid(), grid);
  return norm_(blocks_->forward(x, [&](const Tensor& y, int64_t block) {
    return block < positions.size(0) ? y + positions[block] : y;
  }));
}

YolosHead::YolosHead(int64_t dim, int64_t out) {
  for (size_t i = 0; i < layers_.size(); ++i)
    layers_[i] = make<nn::Linear>("layer" + std::to_string(i), dim,
                                  i + 1 < layers_.size() ? dim : out, nn::LinearOptions{});
}

Tensor YolosHead::forward(const Tensor& x) {
  return layers_[2](relu(layers_[1](relu(layers_[0](x)))));
}

Yolos::Yolos(const YolosConfig& config) : config_(config) {
  check(!config.vit.labels.empty(), ErrorKind::Argument, kYolos, "got no label, takes 1 or more");
  encoder_ = make<YolosEncoder>("encoder", config);
  classes_ = make<YolosHead>("classes", config.vit.dim, std::ssize(config.vit.labels) + 1);
  boxes_ = make<YolosHead>("boxes", config.vit.dim, 4);
}

SetPrediction Yolos::forward(const Tensor& pixels, bool interpolate) {
  const Tensor all = encoder_(pixels, interpolate);
  const int64_t tokens = config_.detection_tokens;
  const Tensor x = all.narrow(1, all.size(1) - tokens, tokens);
  return {classes_(x), sigmoid(boxes_(x))};
}

Tensor Yolos::loss(const Tensor& pixels, const SetTargets& targets, bool interpolate) {
  return set_loss(forward(pixels, interpolate), targets, config_.loss);
}

std::vector<std::pair<std::string, std::string>> Yolos::description() const {
  auto lines = describe_vit(config_.vit);
  lines[1].second = image_text(config_.image_size, config_.vit.channels, config_.vit.patch_size);
  lines.emplace_back("detections", std::to_string(config_.detection_tokens) + " an image");
  lines.emplace_back("labels", std::to_string(config_.vit.labels.size()));
  return lines;
}

std::vector<WeightSlice> Yolos::weight_slices() const {
  std::vector<WeightSlice> slices = vit_encoder_slices(config_.vit, "vit.", "encoder.");
  slices.push_back({.file_name = "vit.embeddings.detection_tokens",
                    .parameter = "encoder.embedding.more_tokens",
                    .leading_ones = 1});
  if (config_.mid_positions && config_.vit.layers > 1)
    slices.push_back({"vit.encoder.mid_position_embeddings", "encoder.mid_position"});
  for (const std::string kind : {".weight", ".bias"}) {
    for (const std::string layer : {"0", "1", "2"}) {
      slices.push_back(
          {"class_labels_classifier.layers." + layer + kind, "classes.layer" + layer + kind});
      slices.push_back({"bbox_predictor.layers." + layer + kind, "boxes.layer" + layer + kind});
    }
  }
  return slices;
}

std::unique_ptr<Yolos> make_detector(const nn::Module& pretrained, YolosConfig config,
                                     std::vector<std::string> labels, uint64_t seed) {
  config.vit.labels = std::move(labels);
  auto model = std::make_unique<Yolos>(config);
  model->reset_parameters(seed);
  nn::StateDict state = pretrained.state_dict();
  const NoGradGuard no_grad;
  const Tensor own = nn::find(model->state_dict(), kPosition);
  for (nn::NamedTensor& entry : state) {
    // The tokens that a classifier lacks have positions of their own.
    const int64_t known = own.size(0) - config.detection_tokens;
    if (entry.name == kPosition && entry.tensor.size(0) == known)
      entry.tensor = cat({entry.tensor, own.narrow(0, known, config.detection_tokens)
                                            .to(entry.tensor.dtype())
                                            .to(entry.tensor.device())});
  }
  load_encoder(*model, std::move(state));
  return model;
}

}  // namespace plinth
