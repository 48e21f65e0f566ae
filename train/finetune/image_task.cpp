#include "train/finetune/image_task.h"

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loss.h"
#include "core/ops/reduce.h"
#include "models/vit_mae/vit_mae.h"
#include "train/finetune/class_scores.h"
#include "train/finetune/has_weights.h"
#include "train/finetune/image_data.h"
#include "train/finetune/vision_task.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

VisionTask::Sizes sizes_of(const ViTConfig& config) {
  return {config.layers, config.channels, config.image_size};
}

class ImageTask final : public VisionTask {
 public:
  ImageTask(const TaskSettings& settings, std::unique_ptr<ViT> model, const fs::path& directory)
      // Braces: the sizes are read before the model is handed on.
      : VisionTask{settings, kImageTask, sizes_of(model->config()), std::move(model), directory},
        labels_(vit().config().labels, "id2label") {
    check(settings.mixup == 0 || settings.cutmix == 0, ErrorKind::Config, "image.mixup", "got ",
          settings.mixup, " with image.cutmix ", settings.cutmix, ", takes 0 beside the other");
  }

  std::string title() const override {
    return detail::concat("vit, ", kImageTask, ", ", labels_.size(), " labels");
  }
  std::vector<std::string> score_names() const override {
    return class_score_names(labels_.size());
  }
  std::unique_ptr<TaskData> read(const std::vector<fs::path>& files) const override {
    return std::make_unique<ImageData>(*this, kImageTask, labels_, files);
  }
  std::unique_ptr<TaskData> inputs(std::span<const TaskInput> inputs) const override {
    return std::make_unique<ImageData>(*this, kImageTask, labels_, inputs);
  }

  Tensor outputs(const Batch& batch) override { return vit().forward(batch[0].to(device())); }
  Tensor loss(const Batch& batch, Tensor* outputs) override;

 private:
  ViT& vit() { return static_cast<ViT&>(model()); }

  Labels labels_;
};

Tensor ImageTask::loss(const Batch& batch, Tensor* outputs) {
  const Tensor logits = this->outputs(batch);
  if (outputs) *outputs = logits;
  if (batch.size() == 2) return cross_entropy(logits, batch[1].to(device()));
  const auto of = [&](const Tensor& labels, const Tensor& share) {
    return mean(cross_entropy(logits, labels.to(device()), {.reduction = Reduction::None}) * share);
  };
  const Tensor share = batch.at(3).to(device());
  return of(batch[1], share) + of(batch[2], 1 - share);
}

using Tell = std::function<void(const std::string&)>;

// What a directory without weights describes, with random ones.
std::unique_ptr<ViT> new_model(const ConfigJson& json, std::vector<std::string> labels,
                               uint64_t seed, const Tell& tell) {
  check(json.text("model_type", "") == "vit", ErrorKind::Config, "model.directory",
        "has a config.json of model_type ", json.text("model_type", ""),
        " and no weights, takes vit");
  ViTConfig config = ViTConfig::from_json(json, nullptr);
  config.labels = std::move(labels);
  config.pooler = false;
  tell("the directory has no weights: all begin at random");
  auto model = std::make_unique<ViT>(config);
  model->reset_parameters(seed);
  return model;
}

// A classifier of these labels: as it is, if the directory's has them all, else with a new head.
std::unique_ptr<ViT> classifier_for(const fs::path& directory, std::vector<std::string> labels,
                                    uint64_t seed, const Tell& tell) {
  const ConfigJson json = ConfigJson::read(directory / "config.json");
  check(is_image_model(json), ErrorKind::Config, "model.directory", directory.string(), " holds a ",
        json.text("model_type", ""), ", takes a vit or vit_mae");
  if (!has_weights(directory)) return new_model(json, std::move(labels), seed, tell);
  if (is_image_classifier(json)) {
    const Labels known(ViTConfig::from_json(json, nullptr).labels);
    const auto is_known = [&](const std::string& label) { return known.find(label).has_value(); };
    if (std::ranges::all_of(labels, is_known)) return load_image_model_as<ViT>(directory);
  }
  tell("the head begins with random weights");
  const std::unique_ptr<ImageModel> model = load_image_model(directory);
  if (const auto* vit = dynamic_cast<const ViT*>(model.get()))
    return make_classifier(*vit, vit->config(), std::move(labels), seed);
  const auto* mae = dynamic_cast<const ViTMae*>(model.get());
  check(mae != nullptr, ErrorKind::Config, "model.directory", directory.string(), " holds a ",
        model->type(), ", takes a vit or vit_mae");
  return make_classifier(*mae, mae->config().vit, std::move(labels), seed);
}

}  // namespace

bool is_image_classifier(const ConfigJson& json) {
  return json.text("model_type", "") == "vit" &&
         !ViTConfig::from_json(json, nullptr).labels.empty();
}

std::unique_ptr<FinetuneTask> load_image_task(const TaskSettings& settings,
                                              const fs::path& directory) {
  return std::make_unique<ImageTask>(settings, load_image_model_as<ViT>(directory), directory);
}

std::unique_ptr<FinetuneTask> make_image_task(const TaskSettings& settings,
                                              const fs::path& directory,
                                              const std::vector<fs::path>& train, uint64_t seed,
                                              const Tell& tell) {
  const std::vector<std::string> labels =
      settings.labels.empty() ? image_labels(train) : settings.labels;
  check(labels.size() >= 2, ErrorKind::Config, "task.labels", "got ", labels.size(),
        settings.labels.empty() ? " in the training data" : "", ", takes 2 or more");
  std::unique_ptr<ViT> model = classifier_for(directory, labels, seed, tell);
  return std::make_unique<ImageTask>(settings, std::move(model), directory);
}

}  // namespace plinth
