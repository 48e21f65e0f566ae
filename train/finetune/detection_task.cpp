#include "train/finetune/detection_task.h"

#include <algorithm>

#include "core/error.h"
#include "core/ops/views.h"
#include "models/vit/vit.h"
#include "models/vit_mae/vit_mae.h"
#include "models/yolos/yolos.h"
#include "train/finetune/detection_data.h"
#include "train/finetune/has_weights.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

using Tell = std::function<void(const std::string&)>;

VisionTask::Sizes sizes_of(const YolosConfig& config) {
  return {config.vit.layers, config.vit.channels, config.image_size};
}

class DetectionTask final : public VisionTask {
 public:
  DetectionTask(const TaskSettings& settings, std::unique_ptr<Yolos> model,
                const fs::path& directory)
      // Braces: the sizes are read before the model is handed on.
      : VisionTask{settings,         kDetectionTask, sizes_of(model->config()),
                   std::move(model), directory,      "YolosImageProcessor"} {}

  std::string title() const override {
    return detail::concat("yolos, ", kDetectionTask, ", ", labels().size(), " labels");
  }
  std::vector<std::string> score_names() const override { return DetectionData::score_names(); }
  std::unique_ptr<TaskData> read(const std::vector<fs::path>& files) const override {
    return std::make_unique<DetectionData>(*this, labels(), files);
  }
  std::unique_ptr<TaskData> inputs(std::span<const TaskInput> inputs) const override {
    return std::make_unique<DetectionData>(*this, labels(), inputs);
  }

  Tensor outputs(const Batch& batch) override {
    return joined(yolos().forward(batch[0].to(device())));
  }
  Tensor loss(const Batch& batch, Tensor* outputs) override {
    const SetPrediction prediction = yolos().forward(batch[0].to(device()));
    if (outputs) *outputs = joined(prediction);
    return set_loss(prediction, {.labels = batch.at(1), .boxes = batch.at(2)},
                    yolos().config().loss);
  }

 private:
  Yolos& yolos() { return static_cast<Yolos&>(model()); }
  const std::vector<std::string>& labels() const {
    return static_cast<const Yolos&>(image_model()).config().vit.labels;
  }
  // [samples, tokens, labels + 1 + 4]: logits, then boxes.
  static Tensor joined(const SetPrediction& prediction) {
    return cat({prediction.logits, prediction.boxes}, -1);
  }
};

// A detector with a ViT's sizes, or those that a detector's config.json says.
YolosConfig config_of(const ConfigJson& json, const TaskSettings& settings) {
  if (is_detector(json)) return YolosConfig::from_json(json);
  const ViTConfig vit = read_vit_sizes(json);
  return {.vit = vit,
          .image_size = vit.image_size,
          .detection_tokens = settings.detection_tokens,
          .mid_positions = false,
          .loss = {}};
}

std::unique_ptr<Yolos> new_model(YolosConfig config, std::vector<std::string> labels,
                                 uint64_t seed) {
  config.vit.labels = std::move(labels);
  auto model = std::make_unique<Yolos>(config);
  model->reset_parameters(seed);
  return model;
}

// A detector of these labels: as it is, if the directory's has them all, else with new heads.
std::unique_ptr<Yolos> detector_for(const fs::path& directory, const TaskSettings& settings,
                                    const std::vector<std::string>& labels, uint64_t seed,
                                    const Tell& tell) {
  const ConfigJson json = ConfigJson::read(directory / "config.json");
  const std::string type = json.text("model_type", "");
  check(type == "yolos" || type == "vit" || type == "vit_mae", ErrorKind::Config, "model.directory",
        directory.string(), " holds a ", type, ", takes a yolos, vit or vit_mae");
  const YolosConfig config = config_of(json, settings);
  if (!has_weights(directory)) {
    tell("the directory has no weights: all begin at random");
    return new_model(config, labels, seed);
  }
  const auto is_known = [&](const std::string& label) {
    return std::ranges::find(config.vit.labels, label) != config.vit.labels.end();
  };
  if (type == "yolos" && std::ranges::all_of(labels, is_known))
    return load_image_model_as<Yolos>(directory);
  tell(type == "yolos" ? "the heads begin with random weights"
                       : "the heads and detection tokens begin with random weights");
  return make_detector(*load_image_model(directory), config, labels, seed);
}

}  // namespace

bool is_detector(const ConfigJson& json) {
  return json.text("model_type", "") == "yolos";
}

std::unique_ptr<FinetuneTask> load_detection_task(const TaskSettings& settings,
                                                  const fs::path& directory) {
  return std::make_unique<DetectionTask>(settings, load_image_model_as<Yolos>(directory),
                                         directory);
}

std::unique_ptr<FinetuneTask> make_detection_task(const TaskSettings& settings,
                                                  const fs::path& directory,
                                                  const std::vector<fs::path>& train, uint64_t seed,
                                                  const Tell& tell) {
  const std::vector<std::string> labels =
      settings.labels.empty() ? categories_of(train) : settings.labels;
  std::unique_ptr<Yolos> model = detector_for(directory, settings, labels, seed, tell);
  return std::make_unique<DetectionTask>(settings, std::move(model), directory);
}

}  // namespace plinth
