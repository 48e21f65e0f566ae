#include "models/vision/image_model.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "models/clip/clip.h"
#include "models/vit/vit.h"
#include "models/vit_mae/vit_mae.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

template <class Model, class Config>
constexpr ImageModelFamily family(std::string_view type) {
  return {type,
          [](const ConfigJson& config,
             const SafetensorsCheckpoint* weights) -> std::unique_ptr<ImageModel> {
            if constexpr (requires { Config::from_json(config, weights); }) {
              return std::make_unique<Model>(Config::from_json(config, weights));
            } else {
              return std::make_unique<Model>(Config::from_json(config));
            }
          }};
}

constexpr std::array kFamilies = {family<ViT, ViTConfig>("vit"),
                                  family<ViTMae, ViTMaeConfig>("vit_mae"),
                                  family<Clip, ClipConfig>("clip")};

const ImageModelFamily& family_of(const ConfigJson& config) {
  std::vector<std::string_view> types;
  types.reserve(kFamilies.size());
  for (const ImageModelFamily& known : kFamilies) types.push_back(known.type);
  const std::string type = config.word("model_type", "", types);
  return *std::ranges::find(kFamilies, type, &ImageModelFamily::type);
}

}  // namespace

std::span<const ImageModelFamily> image_model_families() {
  return kFamilies;
}

bool is_image_model(const ConfigJson& config) {
  return std::ranges::find(kFamilies, config.text("model_type", ""), &ImageModelFamily::type) !=
         std::end(kFamilies);
}

std::unique_ptr<ImageModel> make_image_model(const ConfigJson& config,
                                             const SafetensorsCheckpoint* weights) {
  const nn::SkipInit skip;
  return family_of(config).from_config(config, weights);
}

std::unique_ptr<ImageModel> load_image_model(const fs::path& directory, DType dtype) {
  check(is_floating_point(dtype) && !is_float8(dtype), ErrorKind::DType, "load_image_model",
        "dtype got ", name(dtype), ", takes float64, float32, bfloat16 or float16");
  check(fs::is_directory(directory), ErrorKind::Io, directory.string(),
        "no such directory; expected one with config.json and model.safetensors");
  const ConfigJson config = ConfigJson::read(directory / "config.json");
  family_of(config);  // a wrong one is named before its weights are
  const SafetensorsCheckpoint weights = SafetensorsCheckpoint::open(directory);
  std::unique_ptr<ImageModel> model = make_image_model(config, &weights);
  if (dtype != DType::Float32) model->to(dtype);
  read_weights(*model, model->weight_slices(), weights, directory);
  return model;
}

void save_image_model(const ImageModel& model, const fs::path& directory,
                      const SaveOptions& options) {
  const DType dtype = options.dtype.value_or(model.parameters()[0].dtype());
  save_pretrained(model, model.weight_slices(), model.config_json(dtype), directory, options);
}

}  // namespace plinth
