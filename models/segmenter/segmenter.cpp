#include "models/segmenter/segmenter.h"

#include "core/error.h"
#include "core/ops/loss.h"
#include "models/vision/interpolation.h"

namespace plinth {

namespace {

constexpr std::string_view kSegmenter = "vit_segmenter";

}  // namespace

Segmenter::Segmenter(const SegmenterConfig& config) : config_(config) {
  const ViTConfig& vit = config.vit;
  check(vit.labels.size() >= 2, ErrorKind::Argument, kSegmenter, "got ", vit.labels.size(),
        " labels, takes 2 or more");
  check(vit.image_size % vit.patch_size == 0, ErrorKind::Argument, kSegmenter, "image_size is ",
        vit.image_size, ", takes a multiple of patch_size ", vit.patch_size);
  const auto weight = nn::init::trunc_normal(0, vit.initializer_range, -2, 2);
  encoder_ = make<ViTEncoder>("encoder", vit,
                              ViTEmbeddingOptions{.dropout = vit.hidden_dropout,
                                                  .patch_init = weight,
                                                  .class_init = weight,
                                                  .position_init = weight});
  head_ =
      make<nn::Linear>("head", vit.dim, std::ssize(vit.labels),
                       nn::LinearOptions{.weight_init = weight, .bias_init = nn::init::zeros()});
}

Tensor Segmenter::forward(const Tensor& pixels) {
  const int64_t grid = config_.vit.grid();
  const Tensor x = encoder_(pixels).narrow(1, 1, grid * grid);
  return head_(x).transpose(1, 2).reshape({pixels.size(0), head_->weight().size(0), grid, grid});
}

Tensor Segmenter::loss(const Tensor& pixels, const Tensor& masks) {
  return loss_of(forward(pixels), masks);
}

Tensor Segmenter::loss_of(const Tensor& logits, const Tensor& masks) const {
  const int64_t size = config_.vit.image_size;
  check(masks.shape() == Shape({logits.size(0), size, size}), ErrorKind::Shape, kSegmenter,
        "masks have shape ", masks.shape(), ", expected [", logits.size(0), ", ", size, ", ", size,
        "]");
  const Tensor pixels = bilinear(logits, size).permute({0, 2, 3, 1});
  return cross_entropy(pixels, masks, {.ignore_index = kIgnoredPixel});
}

std::vector<std::pair<std::string, std::string>> Segmenter::description() const {
  auto lines = describe_vit(config_.vit);
  lines.emplace_back("labels", std::to_string(config_.vit.labels.size()));
  return lines;
}

std::vector<WeightSlice> Segmenter::weight_slices() const {
  std::vector<WeightSlice> slices = vit_encoder_slices(config_.vit, "vit.", "encoder.");
  for (const std::string kind : {".weight", ".bias"})
    slices.push_back({"classifier" + kind, "head" + kind});
  return slices;
}

std::unique_ptr<Segmenter> make_segmenter(const nn::Module& pretrained, SegmenterConfig config,
                                          std::vector<std::string> labels, uint64_t seed) {
  config.vit.labels = std::move(labels);
  auto model = std::make_unique<Segmenter>(config);
  model->reset_parameters(seed);
  load_encoder(*model, pretrained.state_dict());
  return model;
}

}  // namespace plinth
