#include "models/any_model.h"

#include "models/bert/classifier.h"
#include "models/encoder_decoder_registry.h"
#include "models/vision/image_model.h"
#include "models/whisper/ctc.h"

namespace plinth {

template <class Model>
AnyModel::AnyModel(std::unique_ptr<Model>&& model, std::string_view type)
    : type_(type), slices_(model->weight_slices()) {
  const std::shared_ptr<const Model> shared = std::move(model);
  model_ = shared;
  config_json_ = [shared](DType dtype) { return shared->config_json(dtype); };
}

AnyModel::AnyModel(std::unique_ptr<LanguageModel> model)
    : AnyModel(std::move(model), model->info().type) {
  language_model_ = dynamic_cast<const LanguageModel*>(model_.get());
}

AnyModel AnyModel::load(const std::filesystem::path& directory) {
  const ConfigJson config = ConfigJson::read(directory / "config.json");
  const std::string type = config.text("model_type", "");
  if (is_whisper_ctc(config)) return {load_whisper_ctc(directory), type};
  if (bert_task_of(config)) return {load_classifier(directory), type};
  if (is_image_model(config)) return {load_image_model(directory), type};
  if (is_encoder_decoder(config)) return {load_encoder_decoder(directory), type};
  return AnyModel(load_pretrained(directory));
}

void AnyModel::save(const std::filesystem::path& directory, const SaveOptions& options) const {
  const DType dtype = options.dtype.value_or(model_->parameters()[0].dtype());
  save_pretrained(*model_, slices_, config_json_(dtype), directory, options);
}

}  // namespace plinth
