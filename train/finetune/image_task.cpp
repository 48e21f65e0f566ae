#include "train/finetune/image_task.h"

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loss.h"
#include "core/ops/reduce.h"
#include "data/images/augment.h"
#include "data/images/image_dataset.h"
#include "data/images/rand_augment.h"
#include "models/vit_mae/vit_mae.h"
#include "train/finetune/class_scores.h"
#include "train/finetune/has_weights.h"
#include "train/finetune/vision_task.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

ImageDataset open_images(const fs::path& file) {
  return fs::is_directory(file) ? ImageDataset::from_folder(file) : ImageDataset::from_csv(file);
}

VisionTask::Sizes sizes_of(const ViTConfig& config) {
  return {config.layers, config.channels, config.image_size};
}

class ImageTask;

// Batches are {pixels} and, with labels, {labels}; in training, where images are mixed, also
// {other labels, share}.
class ImageData final : public TaskData {
 public:
  ImageData(const ImageTask& task, const std::vector<fs::path>& files);
  ImageData(const ImageTask& task, std::span<const TaskInput> inputs);

  int64_t size() const override { return images_->size(); }
  Batch batch(std::span<const int64_t> samples, int64_t width) const override;
  Batch training_batch(std::span<const SampleKey> keys, int64_t width) const override;
  std::vector<TaskScore> score(const TaskOutputs& outputs) const override;
  std::vector<std::string> predictions(const TaskOutputs& outputs) const override;
  std::string faults() const override { return faults_; }

 private:
  using Transform = std::function<Image(const Image&, int64_t place)>;
  void leave_out_bad_files(std::vector<ImageSample> samples);
  // Pixels, and labels if there are.
  Batch read(std::span<const int64_t> samples, const Transform& transform) const;

  const ImageTask& task_;
  bool is_labelled_;
  std::optional<ImageDataset> images_;
  std::string faults_;
};

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
  std::vector<std::string> score_names() const override { return class_score_names(); }
  std::unique_ptr<TaskData> read(const std::vector<fs::path>& files) const override {
    return std::make_unique<ImageData>(*this, files);
  }
  std::unique_ptr<TaskData> inputs(std::span<const TaskInput> inputs) const override {
    return std::make_unique<ImageData>(*this, inputs);
  }

  Tensor outputs(const Batch& batch) override { return vit().forward(batch[0].to(device())); }
  Tensor loss(const Batch& batch, Tensor* outputs) override;

  const Labels& labels() const { return labels_; }

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

ImageData::ImageData(const ImageTask& task, const std::vector<fs::path>& files)
    : task_(task), is_labelled_(true) {
  std::vector<ImageSample> samples;
  for (const fs::path& file : files) {
    const ImageDataset data = open_images(file);
    for (int64_t i = 0; i < data.size(); ++i) {
      ImageSample sample = data.sample(i);
      const std::string& name = data.classes()[static_cast<size_t>(sample.label)];
      const std::optional<int64_t> label = task.labels().find(name);
      check(label.has_value(), ErrorKind::Format, file.string(), "has the label ", name,
            ", which the model has not");
      sample.label = *label;
      samples.push_back(std::move(sample));
    }
  }
  leave_out_bad_files(std::move(samples));
}

ImageData::ImageData(const ImageTask& task, std::span<const TaskInput> inputs)
    : task_(task), is_labelled_(false) {
  std::vector<ImageSample> samples;
  for (const TaskInput& input : inputs) samples.push_back({image_of(input, kImageTask), 0});
  images_.emplace(std::move(samples), task.labels().names());
}

void ImageData::leave_out_bad_files(std::vector<ImageSample> samples) {
  std::vector<fs::path> paths;
  paths.reserve(samples.size());
  for (const ImageSample& sample : samples) paths.push_back(sample.path);
  BadFiles bad;
  std::vector<ImageSample> kept;
  for (const int64_t i : usable_images(paths, {}, bad))
    kept.push_back(std::move(samples[static_cast<size_t>(i)]));
  images_.emplace(std::move(kept), task_.labels().names());
  faults_ = bad.report(std::ssize(samples));
}

// `transform` is told an image's place among them: where one epoch ends and the next begins, a
// sample may come twice.
Batch ImageData::read(std::span<const int64_t> samples, const Transform& transform) const {
  std::vector<fs::path> paths;
  std::vector<int64_t> labels;
  for (const int64_t sample : samples) {
    paths.push_back(images_->sample(sample).path);
    labels.push_back(images_->sample(sample).label);
  }
  Batch batch = {task_.pixels_of(read_whole_images(paths, transform))};
  if (is_labelled_) batch.push_back(from_values(labels, {std::ssize(labels)}));
  return batch;
}

Batch ImageData::batch(std::span<const int64_t> samples, int64_t) const {
  return read(samples, [&](const Image& image, int64_t) { return task_.resized(image); });
}

Batch ImageData::training_batch(std::span<const SampleKey> keys, int64_t) const {
  const TaskSettings& settings = task_.settings();
  Batch batch = read(samples_of(keys), [&](const Image& image, int64_t i) {
    const SampleKey& key = keys[static_cast<size_t>(i)];
    Image changed = task_.changed(image, {image.height, image.width, key, settings});
    if (settings.rand_augment == 0) return changed;
    return rand_augment(changed, key, {.count = static_cast<int>(settings.rand_augment)});
  });
  if (settings.mixup == 0 && settings.cutmix == 0) return batch;
  const MixedBatch mixed = settings.mixup > 0 ? mixup(batch[0], batch[1], keys, settings.mixup)
                                              : cutmix(batch[0], batch[1], keys, settings.cutmix);
  return {mixed.pixels, mixed.labels, mixed.other_labels, mixed.share};
}

std::vector<TaskScore> ImageData::score(const TaskOutputs& outputs) const {
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < size(); ++i) labels.push_back(images_->sample(i).label);
  return class_scores(outputs, labels);
}

std::vector<std::string> ImageData::predictions(const TaskOutputs& outputs) const {
  return class_predictions(outputs, task_.labels());
}

// The classes of all files.
std::vector<std::string> labels_of(const std::vector<fs::path>& files) {
  std::vector<std::string> names;
  for (const fs::path& file : files) {
    const ImageDataset data = open_images(file);
    for (const std::string& name : data.classes()) {
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
  }
  return names;
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
std::unique_ptr<ViT> model_for(const fs::path& directory, std::vector<std::string> labels,
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
      settings.labels.empty() ? labels_of(train) : settings.labels;
  check(labels.size() >= 2, ErrorKind::Config, "task.labels", "got ", labels.size(),
        settings.labels.empty() ? " in the training data" : "", ", takes 2 or more");
  std::unique_ptr<ViT> model = model_for(directory, labels, seed, tell);
  return std::make_unique<ImageTask>(settings, std::move(model), directory);
}

}  // namespace plinth
