// The masked autoencoder's pretraining.

#include <optional>

#include "core/error.h"
#include "core/ops/views.h"
#include "models/vit_mae/vit_mae.h"
#include "train/logging/format.h"
#include "train/pretrain/image_samples.h"
#include "train/pretrain/new_model.h"
#include "train/pretrain/objective_kinds.h"
#include "train/sample_batches.h"

namespace plinth {
namespace {

using Tell = std::function<void(const std::string&)>;

std::unique_ptr<ViTMae> mae_of(const PretrainConfig& config, const Tell& tell) {
  auto model = first_model(
      config, tell,
      [](const std::filesystem::path& directory) { return load_image_model_as<ViTMae>(directory); },
      [](const ConfigJson& json) {
        return std::make_unique<ViTMae>(ViTMaeConfig::from_json(json));
      });
  check(model != nullptr, ErrorKind::Config, "model.config",
        "is missing; vit_mae takes a config.json, as transformers' ViTMAEConfig writes it");
  check(model->config().vit.channels == 3, ErrorKind::Config, "model.config",
        "has images of num_channels ", model->config().vit.channels, ", takes 3");
  return model;
}

// Micro-batches are {pixels [images, 3, side, side], kept, restored} of the mask.
class MaeObjective final : public Objective {
 public:
  MaeObjective(const PretrainConfig& config, const Tell& tell)
      : model_(mae_of(config, tell)),
        shape_{.preprocessing = ImagePreprocessing::of(folder_beside(config, tell),
                                                       model_->config().vit.image_size),
               .min_crop_area = config.image.min_crop_area,
               .flip = config.image.flip},
        train_(config, config.data.train, "data.train", false, shape_.preprocessing, tell) {
    if (!config.data.validation.empty())
      held_out_.emplace(config, config.data.validation, "data.validation", false,
                        shape_.preprocessing, tell);
  }

  nn::Module& model() override { return *model_; }
  std::string type() const override { return "vit_mae"; }
  std::string data_text() const override {
    return detail::concat(format_count(static_cast<double>(train_.size())), " training images, ",
                          model_->config().kept(), " of ", model_->config().patches(),
                          " patches of each are seen");
  }

  std::unique_ptr<BatchSource> batches(Split split, const LoaderOptions& options) const override {
    const bool trains = split == Split::Training;
    const ImageSamples& images = trains ? train_ : *held_out_;
    ImageShape shape = shape_;
    if (!trains) shape.min_crop_area = 1, shape.flip = false;
    const auto make = [this, &images, shape](std::span<const SampleKey> keys) {
      const MaeMask mask = mask_of(keys);
      return Batch{images.pixels(keys, shape), mask.kept, mask.restored};
    };
    return std::make_unique<SampleBatches>(
        NumberedSamples{images.size(), images.fingerprint(), make}, options);
  }
  int64_t held_out_samples() const override { return held_out_ ? held_out_->size() : 0; }

  Tensor loss(const Batch& batch) override {
    const Device device = model_->parameters()[0].device();
    return model_->loss(batch[0].to(device), {batch.at(1).to(device), batch.at(2).to(device)});
  }
  void set_activation_checkpointing(bool on) override { model_->set_activation_checkpointing(on); }
  std::vector<WeightSlice> weight_slices() const override { return model_->weight_slices(); }
  std::map<std::string, std::string> texts() const override {
    return {{"config.json", model_->config_json(model_->parameters()[0].dtype())},
            {kPreprocessingFile, shape_.preprocessing.to_json()}};
  }

 private:
  MaeMask mask_of(std::span<const SampleKey> keys) const {
    Tensors noise;
    for (const SampleKey& key : keys)
      noise.push_back(
          mae_noise(key.seed, key.epoch, std::span(&key.sample, 1), model_->config().patches()));
    return mae_mask(cat(noise, 0), model_->config().kept());
  }

  std::unique_ptr<ViTMae> model_;
  ImageShape shape_;
  ImageSamples train_;
  std::optional<ImageSamples> held_out_;
};

}  // namespace

std::unique_ptr<Objective> make_mae_objective(const PretrainConfig& config, const Tell& tell) {
  return std::make_unique<MaeObjective>(config, tell);
}

}  // namespace plinth
