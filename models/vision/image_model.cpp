#include "models/vision/image_model.h"

#include <algorithm>
#include <array>

#include "models/clip/clip.h"
#include "models/family.h"
#include "models/segmenter/segmenter.h"
#include "models/vit/vit.h"
#include "models/vit_mae/vit_mae.h"
#include "models/yolos/yolos.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

template <class Model, class Config>
constexpr ImageModelFamily image_model_family(std::string_view type) {
  return {type, from_config<ImageModel, Model, Config>};
}

constexpr std::array kImageModelFamilies = {
    image_model_family<ViT, ViTConfig>("vit"), image_model_family<ViTMae, ViTMaeConfig>("vit_mae"),
    image_model_family<Yolos, YolosConfig>("yolos"),
    image_model_family<Segmenter, SegmenterConfig>("vit_segmenter"),
    image_model_family<Clip, ClipConfig>("clip")};

const ImageModelFamily& image_model_family_of(const ConfigJson& config) {
  std::vector<std::string_view> types;
  types.reserve(kImageModelFamilies.size());
  for (const ImageModelFamily& known : kImageModelFamilies) types.push_back(known.type);
  const std::string type = config.word("model_type", "", types);
  return *std::ranges::find(kImageModelFamilies, type, &ImageModelFamily::type);
}

}  // namespace

std::span<const ImageModelFamily> image_model_families() {
  return kImageModelFamilies;
}

bool is_image_model(const ConfigJson& config) {
  return std::ranges::find(kImageModelFamilies, config.text("model_type", ""),
                           &ImageModelFamily::type) != std::end(kImageModelFamilies);
}

std::unique_ptr<ImageModel> make_image_model(const ConfigJson& config,
                                             const SafetensorsCheckpoint* weights) {
  const nn::SkipInit skip;
  return image_model_family_of(config).from_config(config, weights);
}

std::unique_ptr<ImageModel> load_image_model(const fs::path& directory, DType dtype) {
  return load_directory("load_image_model", directory, dtype, image_model_family_of);
}

void save_image_model(const ImageModel& model, const fs::path& directory,
                      const SaveOptions& options) {
  const DType dtype = options.dtype.value_or(model.parameters()[0].dtype());
  save_pretrained(model, model.weight_slices(), model.config_json(dtype), directory, options);
}

}  // namespace plinth
