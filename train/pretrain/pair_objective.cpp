// CLIP's pretraining.

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "core/ops/views.h"
#include "data/tokenizer/tokenizer.h"
#include "models/clip/clip.h"
#include "train/clip_text.h"
#include "train/logging/format.h"
#include "train/pretrain/image_samples.h"
#include "train/pretrain/new_model.h"
#include "train/pretrain/objective_kinds.h"
#include "train/pretrain/run_options.h"
#include "train/sample_batches.h"

namespace plinth {
namespace {

using Tell = std::function<void(const std::string&)>;

std::unique_ptr<Clip> clip_of(const PretrainConfig& config, const Tell& tell) {
  auto model = first_model(
      config, tell,
      [](const std::filesystem::path& directory) { return load_image_model_as<Clip>(directory); },
      [](const ConfigJson& json) { return std::make_unique<Clip>(ClipConfig::from_json(json)); });
  check(model != nullptr, ErrorKind::Config, "model.config",
        "is missing; clip takes a config.json, as transformers' CLIPConfig writes it");
  check(model->config().vision.channels == 3, ErrorKind::Config, "model.config",
        "has images of num_channels ", model->config().vision.channels, ", takes 3");
  return model;
}

// Micro-batches are {pixels [pairs, 3, side, side], ids int64 [pairs, context]}.
class PairObjective final : public Objective {
 public:
  PairObjective(const PretrainConfig& config, const Tell& tell)
      : config_(config),
        tokenizer_(Tokenizer::load(config.data.tokenizer)),
        model_(clip_of(config, tell)),
        shape_{.preprocessing = ImagePreprocessing::of(folder_beside(config, tell),
                                                       model_->config().vision.image_size),
               .min_crop_area = config.image.min_crop_area,
               .flip = config.image.flip} {
    check_clip_tokenizer(tokenizer_, model_->config().text, "data.tokenizer",
                         config.data.tokenizer.string());
    train_.emplace(config, config.data.train, "data.train", true, shape_.preprocessing, tell);
    if (!config.data.validation.empty())
      held_out_.emplace(config, config.data.validation, "data.validation", true,
                        shape_.preprocessing, tell);
    check(config.micro_batch() >= 2, ErrorKind::Config, "train.micro_batch", "got ",
          config.micro_batch(), ", takes 2 or more pairs for clip, which tells them apart");
  }

  nn::Module& model() override { return *model_; }
  std::string type() const override { return "clip"; }
  std::string data_text() const override {
    return detail::concat(format_count(static_cast<double>(train_->size())),
                          " training pairs, each told from ", config_.micro_batch() - 1, " others");
  }

  std::unique_ptr<BatchSource> batches(Split split, const LoaderOptions& options) const override {
    const bool trains = split == Split::Training;
    const ImageSamples& pairs = trains ? *train_ : *held_out_;
    ImageShape shape = shape_;
    if (!trains) shape.min_crop_area = 1, shape.flip = false;
    const auto make = [this, &pairs, shape](std::span<const SampleKey> keys) {
      return Batch{pairs.pixels(keys, shape), ids_of(pairs, keys)};
    };
    return std::make_unique<SampleBatches>(NumberedSamples{pairs.size(), pairs.fingerprint(), make},
                                           options);
  }
  int64_t held_out_samples() const override { return held_out_ ? held_out_->size() : 0; }

  Tensor loss(const Batch& batch) override {
    if (model_->is_training()) model_->limit_scale();
    return model_->loss(batch[0].to(device()), batch.at(1).to(device()));
  }
  // Of the images of a batch, those whose likeliest text is theirs, or has the same tokens.
  std::map<std::string, double> scores(const Batch& batch) override {
    const Tensor& ids = batch.at(1);
    const Tensor likeliest = argmax(model_->forward(batch[0].to(device()), ids.to(device())), 1);
    const std::vector<double> chosen = to_vector(likeliest), tokens = to_vector(ids);
    const int64_t pairs = ids.size(0), time = ids.size(1);
    const auto text = [&](int64_t i) { return std::span(tokens).subspan(i * time, time); };
    double right = 0;
    for (int64_t i = 0; i < pairs; ++i)
      right += std::ranges::equal(text(i), text(static_cast<int64_t>(chosen[i]))) ? 1 : 0;
    return {{"recall@1", right / static_cast<double>(pairs)}};
  }

  void set_activation_checkpointing(bool on) override { model_->set_activation_checkpointing(on); }
  std::vector<WeightSlice> weight_slices() const override { return model_->weight_slices(); }
  std::map<std::string, std::string> texts() const override {
    std::map<std::string, std::string> texts = tokenizer_texts(config_, tokenizer_);
    texts["config.json"] = model_->config_json(model_->parameters()[0].dtype());
    texts[kPreprocessingFile] = shape_.preprocessing.to_json("CLIPImageProcessor");
    return texts;
  }

 private:
  Device device() const { return model_->parameters()[0].device(); }

  // The text tower reads a text where its first end token stands.
  Tensor ids_of(const ImageSamples& pairs, std::span<const SampleKey> keys) const {
    std::vector<std::string> texts;
    for (const SampleKey& key : keys) texts.push_back(pairs.text(key.sample));
    return clip_ids(tokenizer_, model_->config().text, texts);
  }

  PretrainConfig config_;
  Tokenizer tokenizer_;
  std::unique_ptr<Clip> model_;
  ImageShape shape_;
  std::optional<ImageSamples> train_, held_out_;
};

}  // namespace

std::unique_ptr<Objective> make_pair_objective(const PretrainConfig& config, const Tell& tell) {
  check(!config.data.tokenizer.empty(), ErrorKind::Config, "data.tokenizer",
        "is missing; clip takes that of its texts");
  return std::make_unique<PairObjective>(config, tell);
}

}  // namespace plinth
