#pragma once

// What the tasks of images have in common: a model with a ViT's encoder, and samples that are files
// of images.

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/images/augment.h"
#include "data/images/image_dataset.h"
#include "data/images/preprocessing.h"
#include "models/vision/image_model.h"
#include "train/finetune/task.h"
#include "train/finetune/tasks.h"

namespace plinth {

class VisionTask : public FinetuneTask {
 public:
  struct Sizes {
    int64_t layers, channels;
    Size2d image;  // pixels that the model takes
  };
  // `name` is the task's, `processor` transformers' class that preprocesses for the model. Throws
  // Error(Config) for a model of other than 3 channels and for settings that do not fit the task,
  // Error(Format) for a preprocessor_config.json in `directory` that says what Plinth does not do.
  VisionTask(const TaskSettings& settings, std::string_view name, const Sizes& sizes,
             std::unique_ptr<ImageModel> model, const std::filesystem::path& directory,
             std::string_view processor = "ViTImageProcessor");

  nn::Module& model() override { return *model_; }
  int64_t width() const override { return 0; }
  bool takes_files() const override { return true; }

  int64_t depths() const override { return sizes_.layers + 2; }
  // The embeddings lie below the first block; the last norm goes with the last.
  int64_t depth_of(std::string_view parameter) const override;
  bool is_trunk(std::string_view parameter) const override {
    return parameter.starts_with("encoder.");
  }

  std::vector<WeightSlice> weight_slices() const override { return model_->weight_slices(); }
  std::map<std::string, std::string> texts() const override;
  void save(const std::filesystem::path& directory) const override;

  const TaskSettings& settings() const { return settings_; }
  // As the model takes it, but for its dtype and device.
  Tensor pixels_of(std::span<const Image> images) const {
    return to_tensor(images, preprocessing_.normalization);
  }
  // At the size that the model takes.
  Image prepared(const Image& image) const { return preprocessing_.apply(image); }
  // Throws Error(Format) naming the file of an image that prepared() does not take.
  void check_usable(const Image& image, const std::filesystem::path& path) const {
    preprocessing_.check_usable(image, path);
  }
  // How an image of height x width is changed in training.
  ImageChange change_of(int64_t height, int64_t width, const SampleKey& key) const {
    return {height, width, key, settings_.min_crop_area, settings_.flip};
  }
  // At the size that the model takes, what a change shows.
  Image changed(const Image& image, const ImageChange& change) const {
    return preprocessing_.apply(image, change);
  }
  Size2d image_size() const { return sizes_.image; }

 protected:
  Device device() const { return model_->parameters()[0].device(); }
  const ImageModel& image_model() const { return *model_; }

 private:
  std::string processor_text() const;

  TaskSettings settings_;
  Sizes sizes_;
  std::unique_ptr<ImageModel> model_;
  ImagePreprocessing preprocessing_;
  std::string processor_;
};

std::vector<int64_t> samples_of(std::span<const SampleKey> keys);

// The path that an input names. Throws Error(Argument, task) for one that is more than that.
std::filesystem::path image_of(const TaskInput& input, std::string_view task);

}  // namespace plinth
