#pragma once

// A model of any family of any table (registry.h, encoder_decoder_registry.h,
// vision/image_model.h), a classifier of text (bert/classifier.h) or a recogniser of speech
// (whisper/ctc.h): for who copies models rather than runs them.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/registry.h"
#include "models/weight_map.h"

namespace plinth {

class AnyModel {
 public:
  // Reads a directory with config.json and weights, in float32. Throws Error(Io) or Error(Format)
  // as load_pretrained() does.
  static AnyModel load(const std::filesystem::path& directory);
  explicit AnyModel(std::unique_ptr<LanguageModel> model);

  // config.json's model_type.
  const std::string& type() const { return type_; }
  int64_t parameter_count() const { return model_->parameter_count(); }
  // nullptr unless registry.h has its family.
  const LanguageModel* language_model() const { return language_model_; }

  // Writes the directory, as save_pretrained() does.
  void save(const std::filesystem::path& directory, const SaveOptions& options) const;

 private:
  template <class Model>
  AnyModel(std::unique_ptr<Model>&& model, std::string_view type);

  std::string type_;
  std::shared_ptr<const nn::Module> model_;
  std::vector<WeightSlice> slices_;
  std::function<std::string(DType)> config_json_;
  const LanguageModel* language_model_ = nullptr;
};

}  // namespace plinth
