#include "train/finetune/image_task.h"

#include <algorithm>
#include <optional>
#include <set>

#include "core/error.h"
#include "core/io/file.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loss.h"
#include "core/ops/reduce.h"
#include "data/images/augment.h"
#include "data/images/image_dataset.h"
#include "data/images/preprocessing.h"
#include "data/images/rand_augment.h"
#include "models/vit_mae/vit_mae.h"
#include "train/finetune/block_number.h"
#include "train/finetune/class_scores.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

std::vector<int64_t> samples_of(std::span<const SampleKey> keys) {
  std::vector<int64_t> samples;
  for (const SampleKey& key : keys) samples.push_back(key.sample);
  return samples;
}

ImageDataset open_images(const fs::path& file) {
  return fs::is_directory(file) ? ImageDataset::from_folder(file) : ImageDataset::from_csv(file);
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
  using Transform = std::function<Image(const Image&, int64_t)>;
  void leave_out_bad_files(std::vector<ImageSample> samples);
  ImageBatch read(std::span<const int64_t> samples, const Transform& transform) const;

  const ImageTask& task_;
  bool is_labelled_;
  std::optional<ImageDataset> images_;
  std::string faults_;
};

class ImageTask final : public FinetuneTask {
 public:
  ImageTask(const TaskSettings& settings, std::unique_ptr<ViT> model, const fs::path& preprocessing)
      : settings_(settings),
        model_(std::move(model)),
        preprocessing_(ImagePreprocessing::of(preprocessing)),
        labels_(model_->config().labels, "id2label") {
    check(model_->config().channels == 3, ErrorKind::Config, "model.directory", "takes images of ",
          model_->config().channels, " channels, takes a model of 3");
    check(settings.class_weights.empty(), ErrorKind::Config, "task.class_weights", "got ",
          settings.class_weights.size(), " numbers, takes none for images");
    check(settings.mixup == 0 || settings.cutmix == 0, ErrorKind::Config, "image.mixup", "got ",
          settings.mixup, " with image.cutmix ", settings.cutmix, ", takes 0 beside the other");
  }

  nn::Module& model() override { return *model_; }
  std::string title() const override {
    return detail::concat("vit, ", kImageTask, ", ", labels_.size(), " labels");
  }
  int64_t width() const override { return 0; }
  std::vector<std::string> score_names() const override { return class_score_names(); }
  std::unique_ptr<TaskData> read(const std::vector<fs::path>& files) const override {
    return std::make_unique<ImageData>(*this, files);
  }
  std::unique_ptr<TaskData> inputs(std::span<const TaskInput> inputs) const override {
    return std::make_unique<ImageData>(*this, inputs);
  }

  Tensor outputs(const Batch& batch) override { return model_->forward(batch[0].to(device())); }
  Tensor loss(const Batch& batch, Tensor* outputs) override;

  int64_t depths() const override { return model_->config().layers + 2; }
  int64_t depth_of(std::string_view parameter) const override;
  bool is_trunk(std::string_view parameter) const override {
    return parameter.starts_with("encoder.");
  }

  std::vector<WeightSlice> weight_slices() const override { return model_->weight_slices(); }
  std::map<std::string, std::string> texts() const override {
    return {{"config.json", model_->config_json(model_->parameters()[0].dtype())},
            {kPreprocessingFile, preprocessing_.to_json(model_->config().image_size)}};
  }
  void save(const fs::path& directory) const override {
    save_image_model(*model_, directory);
    write_file_atomically(directory / kPreprocessingFile,
                          preprocessing_.to_json(model_->config().image_size));
  }

  const TaskSettings& settings() const { return settings_; }
  const ImagePreprocessing& preprocessing() const { return preprocessing_; }
  const Labels& labels() const { return labels_; }
  int64_t image_size() const { return model_->config().image_size; }

 private:
  Device device() const { return model_->parameters()[0].device(); }

  TaskSettings settings_;
  std::unique_ptr<ViT> model_;
  ImagePreprocessing preprocessing_;
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

// The embeddings lie below the first block; the last norm goes with the last.
int64_t ImageTask::depth_of(std::string_view parameter) const {
  if (!is_trunk(parameter)) return depths() - 1;
  if (parameter.starts_with("encoder.norm.")) return depths() - 2;
  const std::optional<int64_t> block = block_number(parameter, "encoder.blocks.block");
  return block ? *block + 1 : 0;
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
  for (const TaskInput& input : inputs) {
    check(input.words.empty() && input.second.empty(), ErrorKind::Argument, kImageTask,
          "got words or a second text, takes the path of an image");
    samples.push_back({input.text, 0});
  }
  images_.emplace(std::move(samples), task.labels().names());
}

// All are decoded once, so that what is trained on and scored is known before.
void ImageData::leave_out_bad_files(std::vector<ImageSample> samples) {
  const ImageDataset all(samples, task_.labels().names());
  BadFiles bad;
  constexpr int64_t kAtOnce = 1024;
  std::set<int64_t> good;
  for (int64_t first = 0; first < all.size(); first += kAtOnce) {
    std::vector<int64_t> some;
    for (int64_t i = first; i < std::min(all.size(), first + kAtOnce); ++i) some.push_back(i);
    const ImageBatch read = read_images(
        all, some, [](const Image&, int64_t) { return Image(1, 1); }, bad);
    good.insert(read.samples.begin(), read.samples.end());
  }
  std::vector<ImageSample> kept;
  kept.reserve(good.size());
  for (const int64_t i : good) kept.push_back(std::move(samples[static_cast<size_t>(i)]));
  images_.emplace(std::move(kept), task_.labels().names());
  faults_ = bad.report(all.size());
}

// `transform` is told an image's place among them: where one epoch ends and the next begins, a
// sample may come twice.
ImageBatch ImageData::read(std::span<const int64_t> samples, const Transform& transform) const {
  std::vector<ImageSample> chosen;
  std::vector<int64_t> places;
  for (const int64_t sample : samples) {
    places.push_back(std::ssize(chosen));
    chosen.push_back(images_->sample(sample));
  }
  BadFiles bad;
  ImageBatch batch =
      read_images(ImageDataset(std::move(chosen), images_->classes()), places, transform, bad);
  for (const auto& [path, fault] : bad.faults()) throw Error(ErrorKind::Format, path, fault);
  return batch;
}

Batch ImageData::batch(std::span<const int64_t> samples, int64_t) const {
  const int64_t side = task_.image_size();
  const ImageBatch read = this->read(samples, [&](const Image& image, int64_t) {
    return resized(image, side, side, task_.preprocessing().filter);
  });
  Batch batch = {to_tensor(read.images, task_.preprocessing().normalization)};
  if (is_labelled_) batch.push_back(read.labels);
  return batch;
}

Batch ImageData::training_batch(std::span<const SampleKey> keys, int64_t) const {
  const TaskSettings& settings = task_.settings();
  const int64_t side = task_.image_size();
  const ResizeFilter filter = task_.preprocessing().filter;
  const ImageBatch read = this->read(samples_of(keys), [&](const Image& image, int64_t i) {
    const SampleKey& key = keys[static_cast<size_t>(i)];
    Image changed =
        settings.min_crop_area < 1
            ? random_resized_crop(image, side, side, key,
                                  {.min_area = settings.min_crop_area, .filter = filter})
            : resized(image, side, side, filter);
    if (settings.flip) changed = random_flip(changed, key);
    if (settings.rand_augment == 0) return changed;
    return rand_augment(changed, key, {.count = static_cast<int>(settings.rand_augment)});
  });
  const Tensor pixels = to_tensor(read.images, task_.preprocessing().normalization);
  if (settings.mixup == 0 && settings.cutmix == 0) return {pixels, read.labels};
  const MixedBatch mixed = settings.mixup > 0 ? mixup(pixels, read.labels, keys, settings.mixup)
                                              : cutmix(pixels, read.labels, keys, settings.cutmix);
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
  const bool has_weights = fs::exists(directory / "model.safetensors") ||
                           fs::exists(directory / "model.safetensors.index.json");
  if (!has_weights) return new_model(json, std::move(labels), seed, tell);
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
