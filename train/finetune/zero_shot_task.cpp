#include "train/finetune/zero_shot_task.h"

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/loss.h"
#include "data/tokenizer/tokenizer.h"
#include "models/clip/clip.h"
#include "train/clip_text.h"
#include "train/finetune/block_number.h"
#include "train/finetune/class_scores.h"
#include "train/finetune/image_data.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

constexpr const char* kName = "zero-shot-image-classification";
constexpr std::string_view kPlace = "{}";  // of the label in a prompt

VisionTask::Sizes sizes_of(const ClipVisionConfig& config) {
  return {config.layers, config.channels, {config.image_size, config.image_size}};
}

class ZeroShotTask final : public VisionTask {
 public:
  ZeroShotTask(const TaskSettings& settings, std::unique_ptr<Clip> model, const fs::path& directory)
      // Braces: the sizes are read before the model is handed on.
      : VisionTask{settings,         kName,     sizes_of(model->config().vision),
                   std::move(model), directory, "CLIPImageProcessor"},
        tokenizer_(Tokenizer::load(directory)),
        labels_(settings.labels, "--labels") {
    check(settings.labels.size() >= 2, ErrorKind::Config, "--labels", "got ",
          settings.labels.size(), ", takes the 2 or more that a CLIP is to tell apart");
    check(!settings.prompts.empty(), ErrorKind::Config, "--prompt", "takes at least one text");
    for (const std::string& prompt : settings.prompts)
      check(prompt.find(kPlace) != std::string::npos, ErrorKind::Config, "--prompt", "got '",
            prompt, "', takes a text with {} where the label stands");
    check_clip_tokenizer(tokenizer_, clip().config().text, "model", directory.string());
  }

  std::string title() const override {
    return detail::concat("clip, ", kName, ", ", labels_.size(), " labels");
  }
  std::vector<std::string> score_names() const override {
    return class_score_names(labels_.size());
  }
  std::unique_ptr<TaskData> read(const std::vector<fs::path>& files) const override {
    return std::make_unique<ImageData>(*this, kName, labels_, files);
  }
  std::unique_ptr<TaskData> inputs(std::span<const TaskInput> inputs) const override {
    return std::make_unique<ImageData>(*this, kName, labels_, inputs);
  }

  // Logits [images, labels].
  Tensor outputs(const Batch& batch) override {
    const NoGradGuard no_grad;
    if (!classes_.defined()) classes_ = clip().zero_shot_classes(prompt_ids());
    return clip().similarity(clip().image_features(batch[0].to(device())), classes_);
  }
  Tensor loss(const Batch& batch, Tensor* outputs) override {
    const Tensor logits = this->outputs(batch);
    if (outputs) *outputs = logits;
    return cross_entropy(logits, batch.at(1).to(device()));
  }

 private:
  Clip& clip() { return static_cast<Clip&>(model()); }

  // Of each label its prompts' ids.
  Tensors prompt_ids() {
    Tensors ids;
    for (const std::string& label : labels_.names()) {
      std::vector<std::string> texts = settings().prompts;
      for (std::string& text : texts) text.replace(text.find(kPlace), kPlace.size(), label);
      ids.push_back(clip_ids(tokenizer_, clip().config().text, texts).to(device()));
    }
    return ids;
  }

  Tokenizer tokenizer_;
  Labels labels_;
  Tensor classes_;  // [labels, projection_dim], computed when first needed
};

}  // namespace

bool is_zero_shot_classifier(const ConfigJson& config) {
  return config.text("model_type", "") == "clip";
}

std::unique_ptr<FinetuneTask> load_zero_shot_task(const TaskSettings& settings,
                                                  const fs::path& directory) {
  return std::make_unique<ZeroShotTask>(settings, load_image_model_as<Clip>(directory), directory);
}

}  // namespace plinth
