#include "models/yolos/config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/labels.h"

namespace plinth {

namespace {

constexpr std::array<std::string_view, 1> kYolosArchitectures = {"YolosForObjectDetection"};

// transformers takes these as whole numbers only.
nlohmann::ordered_json weight(double value) {
  constexpr double kMost = 1e9;
  if (value == std::floor(value) && value <= kMost) return static_cast<int64_t>(value);
  return value;
}

}  // namespace

YolosConfig YolosConfig::from_json(const ConfigJson& json) {
  json.first_word("architectures", kYolosArchitectures[0], kYolosArchitectures);
  json.expect("auxiliary_loss", false);
  YolosConfig config;
  config.vit = read_vit_layers(json);
  config.vit.labels = read_labels(json, 1);
  const auto [height, width] =
      json.sides("image_size", {config.image_size.height, config.image_size.width});
  config.image_size = {height, width};
  check(config.vit.patch_size <= std::min(height, width), ErrorKind::Format, json.subject(),
        "patch_size is ", config.vit.patch_size, ", takes at most image_size ",
        std::min(height, width));
  config.detection_tokens = json.size("num_detection_tokens", config.detection_tokens);
  config.mid_positions = json.boolean("use_mid_position_embeddings", config.mid_positions);
  SetLossOptions& loss = config.loss;
  loss.class_cost = json.number("class_cost", loss.class_cost);
  loss.box_cost = json.number("bbox_cost", loss.box_cost);
  loss.giou_cost = json.number("giou_cost", loss.giou_cost);
  loss.box_weight = json.number("bbox_loss_coefficient", loss.box_weight);
  loss.giou_weight = json.number("giou_loss_coefficient", loss.giou_weight);
  loss.no_object_weight = json.number("eos_coefficient", loss.no_object_weight);
  return config;
}

std::string YolosConfig::to_json(DType dtype) const {
  nlohmann::ordered_json json = write_vit_sizes(vit, std::string(kYolosArchitectures[0]), "yolos");
  json["image_size"] = {image_size.height, image_size.width};
  json["num_detection_tokens"] = detection_tokens;
  json["use_mid_position_embeddings"] = mid_positions;
  json["auxiliary_loss"] = false;
  json["class_cost"] = weight(loss.class_cost);
  json["bbox_cost"] = weight(loss.box_cost);
  json["giou_cost"] = weight(loss.giou_cost);
  json["bbox_loss_coefficient"] = weight(loss.box_weight);
  json["giou_loss_coefficient"] = weight(loss.giou_weight);
  json["eos_coefficient"] = loss.no_object_weight;
  write_labels(vit.labels, json);
  return finished_config(std::move(json), dtype);
}

}  // namespace plinth
