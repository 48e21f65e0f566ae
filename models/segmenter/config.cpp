#include "models/segmenter/config.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/labels.h"

namespace plinth {

namespace {

constexpr std::array<std::string_view, 1> kSegmenterArchitectures = {"ViTForSemanticSegmentation"};

}  // namespace

SegmenterConfig SegmenterConfig::from_json(const ConfigJson& json) {
  json.first_word("architectures", kSegmenterArchitectures[0], kSegmenterArchitectures);
  SegmenterConfig config{.vit = read_vit_sizes(json)};
  config.vit.labels = read_labels(json);
  check(std::ssize(config.vit.labels) <= kIgnoredPixel, ErrorKind::Format, json.subject(),
        "id2label has ", config.vit.labels.size(), " labels, takes at most ", kIgnoredPixel);
  check(config.vit.image_size % config.vit.patch_size == 0, ErrorKind::Format, json.subject(),
        "image_size is ", config.vit.image_size, ", takes a multiple of patch_size ",
        config.vit.patch_size);
  return config;
}

std::string SegmenterConfig::to_json(DType dtype) const {
  nlohmann::ordered_json json =
      write_vit_sizes(vit, std::string(kSegmenterArchitectures[0]), "vit_segmenter");
  write_labels(vit.labels, json);
  return finished_config(std::move(json), dtype);
}

}  // namespace plinth
