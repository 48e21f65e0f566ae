#include "train/finetune/vision_task.h"

#include <algorithm>

#include "core/error.h"
#include "core/io/file.h"
#include "train/finetune/block_number.h"

namespace plinth {

namespace fs = std::filesystem;

VisionTask::VisionTask(const TaskSettings& settings, std::string_view name, const Sizes& sizes,
                       std::unique_ptr<ImageModel> model, const fs::path& directory,
                       std::string_view processor)
    : settings_(settings),
      sizes_(sizes),
      model_(std::move(model)),
      preprocessing_(ImagePreprocessing::of(directory, sizes.image)),
      processor_(processor) {
  check(sizes.channels == 3, ErrorKind::Config, "model.directory", "takes images of ",
        sizes.channels, " channels, takes a model of 3");
  check(settings.class_weights.empty(), ErrorKind::Config, "task.class_weights", "got ",
        settings.class_weights.size(), " numbers, takes none for images");
  const bool needs_all = name == kDetectionTask || name == kSegmentationTask;
  check(!needs_all || !preprocessing_.cuts(), ErrorKind::Format,
        (directory / kPreprocessingFile).string(), "do_center_crop got true, takes false for ",
        name);
  if (name == kImageTask) return;
  const auto refuse = [&](bool wanted, std::string_view key) {
    check(!wanted, ErrorKind::Config, key, "is for ", kImageTask, ", takes 0 for ", name);
  };
  refuse(settings.mixup > 0, "image.mixup");
  refuse(settings.cutmix > 0, "image.cutmix");
  refuse(settings.rand_augment > 0, "image.rand_augment");
}

int64_t VisionTask::depth_of(std::string_view parameter) const {
  if (!is_trunk(parameter)) return depths() - 1;
  if (parameter.starts_with("encoder.norm.")) return depths() - 2;
  const std::optional<int64_t> block = block_number(parameter, "encoder.blocks.block");
  return block ? *block + 1 : 0;
}

std::string VisionTask::processor_text() const {
  return preprocessing_.to_json(processor_);
}

std::map<std::string, std::string> VisionTask::texts() const {
  return {{"config.json", model_->config_json(model_->parameters()[0].dtype())},
          {kPreprocessingFile, processor_text()}};
}

void VisionTask::save(const fs::path& directory) const {
  save_image_model(*model_, directory);
  write_file_atomically(directory / kPreprocessingFile, processor_text());
}

std::vector<int64_t> samples_of(std::span<const SampleKey> keys) {
  std::vector<int64_t> samples;
  for (const SampleKey& key : keys) samples.push_back(key.sample);
  return samples;
}

fs::path image_of(const TaskInput& input, std::string_view task) {
  check(input.words.empty() && input.second.empty(), ErrorKind::Argument, task,
        "got words or a second text, takes the path of an image");
  check(!input.text.empty(), ErrorKind::Argument, task,
        "got an empty text, takes the path of an image");
  return input.text;
}

}  // namespace plinth
