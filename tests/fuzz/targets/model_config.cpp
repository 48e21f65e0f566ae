// config.json of every family of models; where there is no model_type, preprocessor_config.json.

#include <array>

#include "data/images/preprocessing.h"
#include "models/bert/config.h"
#include "models/clip/config.h"
#include "models/config_json.h"
#include "models/gpt2/config.h"
#include "models/llama/config.h"
#include "models/mixtral/config.h"
#include "models/segmenter/config.h"
#include "models/t5/config.h"
#include "models/vit/config.h"
#include "models/vit_mae/config.h"
#include "models/whisper/config.h"
#include "models/yolos/config.h"
#include "tests/fuzz/target.h"

namespace {

using namespace plinth;

template <class Read>
void read_twice(const ConfigJson& json, Read&& read) {
  const std::string written = read(json).to_json(DType::Float32);
  const auto again = fuzz::must_read([&] { return read(ConfigJson::parse(written, "written")); });
  fuzz::require(again.to_json(DType::Float32) == written, "reads other settings than it wrote");
}

struct Family {
  std::string_view type;
  void (*read)(const ConfigJson& json);
};

template <class Config>
void read_alone(const ConfigJson& json) {
  read_twice(json, [](const ConfigJson& file) { return Config::from_json(file); });
}

template <class Config>
void read_without_weights(const ConfigJson& json) {
  read_twice(json, [](const ConfigJson& file) { return Config::from_json(file, nullptr); });
}

constexpr std::array<Family, 11> kFamilies = {{{"bert", read_without_weights<BertConfig>},
                                               {"clip", read_alone<ClipConfig>},
                                               {"gpt2", read_alone<Gpt2Config>},
                                               {"llama", read_alone<LlamaConfig>},
                                               {"mixtral", read_alone<MixtralConfig>},
                                               {"t5", read_without_weights<T5Config>},
                                               {"vit", read_without_weights<ViTConfig>},
                                               {"vit_mae", read_alone<ViTMaeConfig>},
                                               {"vit_segmenter", read_alone<SegmenterConfig>},
                                               {"whisper", read_alone<WhisperConfig>},
                                               {"yolos", read_alone<YolosConfig>}}};

}  // namespace

PLINTH_FUZZ_TARGET(model_config) {
  const ConfigJson json = ConfigJson::parse(input, "input");
  const std::string type = json.text("model_type", "");
  for (const Family& family : kFamilies) {
    if (family.type == type) family.read(json);
  }
  if (!type.empty()) return;
  static const fuzz::Folder folder;
  folder.write(kPreprocessingFile, input);
  ImagePreprocessing::of(folder.path(), 224);
}
