#pragma once

// Images with objects, as samples of a detector.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/images/boxes.h"
#include "data/tasks/coco.h"
#include "train/finetune/vision_task.h"

namespace plinth {

// Batches are {pixels} and, with objects, {labels int64 [samples, most], boxes [samples, most, 4]},
// as set_loss() takes them.
class DetectionData final : public TaskData {
 public:
  // Of files of COCO's JSON: their images lie in settings().image_folder, or beside the file. Those
  // that cannot be read or have another size than the file says are left out, as are entries that
  // read_coco() calls bad. Throws what that does, and Error(Format) for a category that is none of
  // the labels.
  DetectionData(const VisionTask& task, const std::vector<std::string>& labels,
                const std::vector<std::filesystem::path>& files);
  // Of images without objects. Throws Error(Io) or Error(Format) for one that cannot be
  // read.
  DetectionData(const VisionTask& task, const std::vector<std::string>& labels,
                std::span<const TaskInput> inputs);

  int64_t size() const override { return std::ssize(images_); }
  Batch batch(std::span<const int64_t> samples, int64_t width) const override;
  Batch training_batch(std::span<const SampleKey> keys, int64_t width) const override;
  std::vector<TaskScore> score(const TaskOutputs& outputs) const override;
  std::vector<std::string> predictions(const TaskOutputs& outputs) const override;
  std::string picture(const TaskOutputs& outputs, int64_t example) const override;
  std::string faults() const override { return faults_; }

  static std::vector<std::string> score_names();

 private:
  struct Entry {
    std::filesystem::path path;
    int64_t height = 0, width = 0;
    std::vector<CocoObject> objects;  // their categories are labels
  };
  // What a detection token found, in pixels of the image.
  struct Found {
    LabelledBox box;
    double score;
  };

  // What is to be found in an image, or in what is shown of it, so many pixels large.
  struct Target {
    int64_t height, width;
    std::vector<LabelledBox> boxes;
  };

  static std::vector<LabelledBox> learned_boxes(const Entry& entry);
  Batch joined_batch(std::span<const std::filesystem::path> paths, std::span<const Target> targets,
                     const std::function<Image(const Image&, int64_t)>& transform) const;
  std::vector<Found> found_in(const Entry& entry, const std::vector<double>& output) const;
  // Those above the threshold, the likeliest first.
  std::vector<Found> likely_in(const Entry& entry, const std::vector<double>& output) const;

  const VisionTask& task_;
  std::vector<std::string> labels_;
  bool has_objects_;
  std::vector<Entry> images_;
  std::string faults_;
};

// The names of the categories of all files, each once. Throws what read_coco() does.
std::vector<std::string> categories_of(const std::vector<std::filesystem::path>& files);

}  // namespace plinth
