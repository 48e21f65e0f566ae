#include "train/finetune/segmentation_task.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/json.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "data/images/encode.h"
#include "data/images/mask_dataset.h"
#include "data/tasks/labels.h"
#include "metrics/segmentation.h"
#include "models/segmenter/segmenter.h"
#include "models/vision/interpolation.h"
#include "train/finetune/has_weights.h"
#include "train/finetune/vision_task.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

using Tell = std::function<void(const std::string&)>;

// Batches are {pixels} and, with masks, {masks int64 [samples, height, width]}.
class SegmentationData final : public TaskData {
 public:
  SegmentationData(const VisionTask& task, const Labels& labels,
                   const std::vector<fs::path>& files);
  SegmentationData(const VisionTask& task, const Labels& labels, std::span<const TaskInput> inputs);

  int64_t size() const override { return std::ssize(images_); }
  Batch batch(std::span<const int64_t> samples, int64_t width) const override;
  Batch training_batch(std::span<const SampleKey> keys, int64_t width) const override;
  std::vector<TaskScore> score(const TaskOutputs& outputs) const override;
  std::vector<std::string> predictions(const TaskOutputs& outputs) const override;
  std::string picture(const TaskOutputs& outputs, int64_t example) const override {
    return encode_png(mask_of(outputs, example));
  }
  std::string faults() const override { return faults_; }

 private:
  struct Entry {
    MaskedImage files;
    int64_t height = 0, width = 0;
  };

  void inspect(const Image& image, Entry& entry) const;
  const Entry& entry(int64_t sample) const { return images_.at(static_cast<size_t>(sample)); }
  // Images and masks as they are, but of the model's size; or changed.
  Batch read(std::span<const int64_t> samples, std::span<const ImageChange> changes) const;
  Mask read_changed_mask(const Entry& entry, const ImageChange* change) const;
  // The likeliest label of each pixel of the image.
  Mask mask_of(const TaskOutputs& outputs, int64_t sample) const;

  const VisionTask& task_;
  const Labels& labels_;
  bool has_masks_;
  std::vector<Entry> images_;
  std::string faults_;
};

VisionTask::Sizes sizes_of(const SegmenterConfig& config) {
  return {config.vit.layers, config.vit.channels, config.vit.image_size};
}

class SegmentationTask final : public VisionTask {
 public:
  SegmentationTask(const TaskSettings& settings, std::unique_ptr<Segmenter> model,
                   const fs::path& directory)
      // Braces: the sizes are read before the model is handed on.
      : VisionTask{settings, kSegmentationTask, sizes_of(model->config()), std::move(model),
                   directory},
        labels_(segmenter().config().vit.labels, "id2label") {}

  std::string title() const override {
    return detail::concat("vit, ", kSegmentationTask, ", ", labels_.size(), " labels");
  }
  std::vector<std::string> score_names() const override { return {"miou", "pixel_accuracy"}; }
  std::unique_ptr<TaskData> read(const std::vector<fs::path>& files) const override {
    return std::make_unique<SegmentationData>(*this, labels_, files);
  }
  std::unique_ptr<TaskData> inputs(std::span<const TaskInput> inputs) const override {
    return std::make_unique<SegmentationData>(*this, labels_, inputs);
  }

  Tensor outputs(const Batch& batch) override { return segmenter().forward(batch[0].to(device())); }
  Tensor loss(const Batch& batch, Tensor* outputs) override {
    const Tensor logits = this->outputs(batch);
    if (outputs) *outputs = logits;
    return segmenter().loss_of(logits, batch.at(1).to(device()));
  }

 private:
  Segmenter& segmenter() { return static_cast<Segmenter&>(model()); }

  Labels labels_;
};

SegmentationData::SegmentationData(const VisionTask& task, const Labels& labels,
                                   const std::vector<fs::path>& files)
    : task_(task), labels_(labels), has_masks_(true) {
  std::vector<Entry> all;
  std::vector<fs::path> paths;
  for (const fs::path& file : files) {
    for (MaskedImage& pair : list_masked_images(file)) {
      paths.push_back(pair.image);
      all.push_back({.files = std::move(pair)});
    }
  }
  BadFiles bad;
  const auto look = [&](const Image& image, int64_t place) {
    inspect(image, all[static_cast<size_t>(place)]);
  };
  for (const int64_t i : usable_images(paths, look, bad))
    images_.push_back(std::move(all[static_cast<size_t>(i)]));
  faults_ = bad.report(std::ssize(paths));
}

void SegmentationData::inspect(const Image& image, Entry& entry) const {
  const Mask mask = read_mask(entry.files.mask);
  const std::string subject = entry.files.mask.string();
  check(mask.height == image.height && mask.width == image.width, ErrorKind::Format, subject, "is ",
        mask.height, " x ", mask.width, " pixels, its image ", image.height, " x ", image.width);
  for (const uint8_t value : mask.classes)
    check(value < labels_.size() || value == kIgnoredPixel, ErrorKind::Format, subject,
          "has the class ", int{value}, ", the model has ", labels_.size(), ", and 255 for none");
  entry.height = image.height;
  entry.width = image.width;
}

SegmentationData::SegmentationData(const VisionTask& task, const Labels& labels,
                                   std::span<const TaskInput> inputs)
    : task_(task), labels_(labels), has_masks_(false) {
  std::vector<fs::path> paths;
  for (const TaskInput& input : inputs) {
    paths.push_back(image_of(input, kSegmentationTask));
    images_.push_back({.files = {paths.back(), {}}});
  }
  read_whole_images(paths, [&](const Image& image, int64_t place) {
    Entry& entry = images_[static_cast<size_t>(place)];
    entry.height = image.height;
    entry.width = image.width;
    return Image(1, 1);
  });
}

Batch SegmentationData::batch(std::span<const int64_t> samples, int64_t) const {
  return read(samples, {});
}

Batch SegmentationData::training_batch(std::span<const SampleKey> keys, int64_t) const {
  std::vector<ImageChange> changes;
  changes.reserve(keys.size());
  for (const SampleKey& key : keys)
    changes.push_back(task_.change_of(entry(key.sample).height, entry(key.sample).width, key));
  return read(samples_of(keys), changes);
}

Batch SegmentationData::read(std::span<const int64_t> samples,
                             std::span<const ImageChange> changes) const {
  const Size2d size = task_.image_size();
  std::vector<fs::path> paths;
  for (const int64_t sample : samples) paths.push_back(entry(sample).files.image);
  std::vector<Mask> masks(samples.size());
  std::vector<Image> images = read_whole_images(paths, [&](const Image& image, int64_t place) {
    const auto i = static_cast<size_t>(place);
    const ImageChange* const change = changes.empty() ? nullptr : &changes[i];
    if (has_masks_) masks[i] = read_changed_mask(entry(samples[i]), change);
    return change ? task_.changed(image, *change) : task_.prepared(image);
  });
  Batch batch = {task_.pixels_of(images)};
  if (!has_masks_) return batch;
  std::vector<int64_t> classes;
  for (const Mask& mask : masks)
    classes.insert(classes.end(), mask.classes.begin(), mask.classes.end());
  batch.push_back(from_values(classes, {std::ssize(masks), size.height, size.width}));
  return batch;
}

Mask SegmentationData::read_changed_mask(const Entry& entry, const ImageChange* change) const {
  const Size2d size = task_.image_size();
  Mask mask = read_mask(entry.files.mask);
  if (change && change->part) {
    const PixelBox& part = *change->part;
    mask = cropped(mask, part.top, part.left, part.height, part.width);
  }
  mask = resized(mask, size.height, size.width);
  return change && change->mirrored ? flipped(mask) : mask;
}

Mask SegmentationData::mask_of(const TaskOutputs& outputs, int64_t sample) const {
  const std::vector<double>& output = outputs.at(static_cast<size_t>(sample));
  const Size2d size{entry(sample).height, entry(sample).width};
  const auto patches = std::ssize(output) / labels_.size();
  const auto side = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(patches))));
  const Tensor logits = from_values(output, {labels_.size(), side, side});
  Mask mask(size.height, size.width);
  const Tensor best = argmax(bilinear(logits, size), 0);
  std::copy_n(best.data<int64_t>(), best.numel(), mask.classes.begin());
  return mask;
}

std::vector<TaskScore> SegmentationData::score(const TaskOutputs& outputs) const {
  metrics::SegmentationCounter counter(labels_.size(), kIgnoredPixel);
  const auto wide = [](const Mask& mask) {
    return std::vector<int64_t>(mask.classes.begin(), mask.classes.end());
  };
  for (int64_t i = 0; i < size(); ++i)
    counter.add(wide(mask_of(outputs, i)), wide(read_mask(entry(i).files.mask)));
  const metrics::SegmentationScores scores = counter.scores();
  return {{"miou", scores.mean_iou}, {"pixel_accuracy", scores.pixel_accuracy}};
}

std::vector<std::string> SegmentationData::predictions(const TaskOutputs& outputs) const {
  std::vector<std::string> lines;
  for (int64_t i = 0; i < size(); ++i) {
    std::vector<int64_t> counts(static_cast<size_t>(labels_.size()), 0);
    const Mask mask = mask_of(outputs, i);
    for (const uint8_t label : mask.classes) ++counts[label];
    nlohmann::ordered_json line;
    line["image"] = entry(i).files.image.string();
    line["shares"] = nlohmann::json::object();
    for (size_t label = 0; label < counts.size(); ++label) {
      if (counts[label] > 0)
        line["shares"][labels_.name(static_cast<int64_t>(label))] =
            static_cast<double>(counts[label]) / static_cast<double>(mask.height * mask.width);
    }
    lines.push_back(json_text(line));
  }
  return lines;
}

// LABEL_0, LABEL_1, ... up to the highest class of all masks. One that cannot be read is named when
// examples are.
std::vector<std::string> labels_of(const std::vector<fs::path>& files) {
  std::vector<MaskedImage> all;
  for (const fs::path& file : files) {
    for (MaskedImage& pair : list_masked_images(file)) all.push_back(std::move(pair));
  }
  const int64_t count = count_classes(all, kIgnoredPixel);
  std::vector<std::string> names;
  for (int64_t i = 0; i < count; ++i) names.push_back("LABEL_" + std::to_string(i));
  return names;
}

// One of these labels: as it is, if the directory's has them, else with a new head.
std::unique_ptr<Segmenter> segmenter_for(const fs::path& directory, const TaskSettings& settings,
                                         std::vector<std::string> labels, uint64_t seed,
                                         const Tell& tell) {
  const ConfigJson json = ConfigJson::read(directory / "config.json");
  const std::string type = json.text("model_type", "");
  check(type == "vit_segmenter" || type == "vit" || type == "vit_mae", ErrorKind::Config,
        "model.directory", directory.string(), " holds a ", type,
        ", takes a vit_segmenter, vit or vit_mae");
  SegmenterConfig config = is_segmenter(json) ? SegmenterConfig::from_json(json)
                                              : SegmenterConfig{.vit = read_vit_sizes(json)};
  if (!has_weights(directory)) {
    tell("the directory has no weights: all begin at random");
    config.vit.labels = std::move(labels);
    auto model = std::make_unique<Segmenter>(config);
    model->reset_parameters(seed);
    return model;
  }
  const bool fits = settings.labels.empty() ? labels.size() <= config.vit.labels.size()
                                            : labels == config.vit.labels;
  if (is_segmenter(json) && fits) return load_image_model_as<Segmenter>(directory);
  tell("the head begins with random weights");
  return make_segmenter(*load_image_model(directory), config, std::move(labels), seed);
}

}  // namespace

bool is_segmenter(const ConfigJson& json) {
  return json.text("model_type", "") == "vit_segmenter";
}

std::unique_ptr<FinetuneTask> load_segmentation_task(const TaskSettings& settings,
                                                     const fs::path& directory) {
  return std::make_unique<SegmentationTask>(settings, load_image_model_as<Segmenter>(directory),
                                            directory);
}

std::unique_ptr<FinetuneTask> make_segmentation_task(const TaskSettings& settings,
                                                     const fs::path& directory,
                                                     const std::vector<fs::path>& train,
                                                     uint64_t seed, const Tell& tell) {
  const std::vector<std::string> labels =
      settings.labels.empty() ? labels_of(train) : settings.labels;
  check(labels.size() >= 2 && labels.size() <= kIgnoredPixel, ErrorKind::Config, "task.labels",
        "got ", labels.size(), settings.labels.empty() ? " in the training data" : "",
        ", takes 2 to ", kIgnoredPixel);
  std::unique_ptr<Segmenter> model = segmenter_for(directory, settings, labels, seed, tell);
  return std::make_unique<SegmentationTask>(settings, std::move(model), directory);
}

}  // namespace plinth
