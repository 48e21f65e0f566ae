#include "train/finetune/image_data.h"

#include <algorithm>

#include "core/error.h"
#include "core/ops/factories.h"
#include "data/images/augment.h"
#include "data/images/rand_augment.h"
#include "train/finetune/class_scores.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

ImageDataset open_images(const fs::path& file) {
  return fs::is_directory(file) ? ImageDataset::from_folder(file) : ImageDataset::from_csv(file);
}

}  // namespace

ImageData::ImageData(const VisionTask& task, std::string_view, Labels labels,
                     const std::vector<fs::path>& files)
    : task_(task), labels_(std::move(labels)), is_labelled_(true) {
  std::vector<ImageSample> samples;
  for (const fs::path& file : files) {
    const ImageDataset data = open_images(file);
    for (int64_t i = 0; i < data.size(); ++i) {
      ImageSample sample = data.sample(i);
      const std::string& label_name = data.classes()[static_cast<size_t>(sample.label)];
      const std::optional<int64_t> label = labels_.find(label_name);
      check(label.has_value(), ErrorKind::Format, file.string(), "has the label ", label_name,
            ", which the model has not");
      sample.label = *label;
      samples.push_back(std::move(sample));
    }
  }
  leave_out_bad_files(std::move(samples));
}

ImageData::ImageData(const VisionTask& task, std::string_view name, Labels labels,
                     std::span<const TaskInput> inputs)
    : task_(task), labels_(std::move(labels)), is_labelled_(false) {
  std::vector<ImageSample> samples;
  for (const TaskInput& input : inputs) samples.push_back({image_of(input, name), 0});
  images_.emplace(std::move(samples), labels_.names());
}

void ImageData::leave_out_bad_files(std::vector<ImageSample> samples) {
  std::vector<fs::path> paths;
  paths.reserve(samples.size());
  for (const ImageSample& sample : samples) paths.push_back(sample.path);
  BadFiles bad;
  std::vector<ImageSample> kept;
  const auto inspect = [&](const Image& image, int64_t place) {
    task_.check_usable(image, paths[static_cast<size_t>(place)]);
  };
  for (const int64_t i : usable_images(paths, inspect, bad))
    kept.push_back(std::move(samples[static_cast<size_t>(i)]));
  images_.emplace(std::move(kept), labels_.names());
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
  return read(samples, [&](const Image& image, int64_t place) {
    // Those to predict from were not looked at before.
    task_.check_usable(image, images_->sample(samples[static_cast<size_t>(place)]).path);
    return task_.prepared(image);
  });
}

Batch ImageData::training_batch(std::span<const SampleKey> keys, int64_t) const {
  const TaskSettings& settings = task_.settings();
  Batch batch = read(samples_of(keys), [&](const Image& image, int64_t i) {
    const SampleKey& key = keys[static_cast<size_t>(i)];
    Image changed = task_.changed(image, task_.change_of(image.height, image.width, key));
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
  return class_predictions(outputs, labels_);
}

std::vector<std::string> image_labels(const std::vector<fs::path>& files) {
  std::vector<std::string> names;
  for (const fs::path& file : files) {
    const ImageDataset data = open_images(file);
    for (const std::string& name : data.classes()) {
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

}  // namespace plinth
