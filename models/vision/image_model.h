#pragma once

// What every model of images in the zoo is to the rest, and such models as directories in Hugging
// Face's layout.

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/config_json.h"
#include "models/registry.h"
#include "models/weight_map.h"
#include "nn/module.h"

namespace plinth {

class ImageModel : public nn::Module {
 public:
  // config.json's model_type.
  virtual std::string_view type() const = 0;
  // Lines for who looks at a model, each a word and what it says: {"image", "224 x 224, ..."}.
  virtual std::vector<std::pair<std::string, std::string>> description() const = 0;
  // The text of config.json for weights of this dtype.
  virtual std::string config_json(DType dtype) const = 0;
  // How the parameters lie in a Hugging Face file.
  virtual std::vector<WeightSlice> weight_slices() const = 0;
};

struct ImageModelFamily {
  std::string_view type;
  // `weights`, if given, are the model's: they tell which of its optional parts there are.
  std::unique_ptr<ImageModel> (*from_config)(const ConfigJson& config,
                                             const SafetensorsCheckpoint* weights);
};

std::span<const ImageModelFamily> image_model_families();

// Whether the model_type of a config.json is one of theirs.
bool is_image_model(const ConfigJson& config);

// A model whose config.json this is; its weights are not set. Where they lie in `weights`, it has
// the parts that these have. Throws Error(Format) for another model_type, with the nearest.
std::unique_ptr<ImageModel> make_image_model(const ConfigJson& config,
                                             const SafetensorsCheckpoint* weights = nullptr);

// load_pretrained() and save_pretrained() of models/registry.h, for these.
std::unique_ptr<ImageModel> load_image_model(const std::filesystem::path& directory,
                                             DType dtype = DType::Float32);
void save_image_model(const ImageModel& model, const std::filesystem::path& directory,
                      const SaveOptions& options = {});

// The same for one family, by its class. Throws Error(Format) for a directory of another.
template <class Model>
std::unique_ptr<Model> load_image_model_as(const std::filesystem::path& directory,
                                           DType dtype = DType::Float32) {
  std::unique_ptr<ImageModel> model = load_image_model(directory, dtype);
  check(dynamic_cast<const Model*>(model.get()) != nullptr, ErrorKind::Format, directory.string(),
        "holds a model of type ", model->type(), ", expected another");
  return std::unique_ptr<Model>(dynamic_cast<Model*>(model.release()));
}

}  // namespace plinth
