#pragma once

// Images that each have one of several labels: folders, or tables of paths and labels.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/images/image_dataset.h"
#include "data/tasks/labels.h"
#include "train/finetune/vision_task.h"

namespace plinth {

// Batches are {pixels} and, with labels, {labels}; in training, where images are mixed, also
// {other labels, share}.
class ImageData final : public TaskData {
 public:
  // Samples of these labels, for the task `name`. Throws Error(Format) naming the file for another
  // label, and what reading files throws.
  ImageData(const VisionTask& task, std::string_view name, Labels labels,
            const std::vector<std::filesystem::path>& files);
  ImageData(const VisionTask& task, std::string_view name, Labels labels,
            std::span<const TaskInput> inputs);

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

  const VisionTask& task_;
  Labels labels_;
  bool is_labelled_;
  std::optional<ImageDataset> images_;
  std::string faults_;
};

// The labels of all files.
std::vector<std::string> image_labels(const std::vector<std::filesystem::path>& files);

}  // namespace plinth
