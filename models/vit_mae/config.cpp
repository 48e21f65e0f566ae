#include "models/vit_mae/config.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace plinth {

namespace {

constexpr std::array<std::string_view, 1> kViTMaeArchitectures = {"ViTMAEForPreTraining"};

}  // namespace

// Rounded as transformers does.
int64_t ViTMaeConfig::kept() const {
  return static_cast<int64_t>(static_cast<double>(patches()) * (1 - mask_ratio));
}

ViTMaeConfig ViTMaeConfig::from_json(const ConfigJson& json) {
  json.first_word("architectures", kViTMaeArchitectures[0], kViTMaeArchitectures);
  ViTMaeConfig config;
  config.vit = read_vit_sizes(json);
  config.decoder_dim = json.size("decoder_hidden_size", config.decoder_dim);
  config.decoder_layers = json.count("decoder_num_hidden_layers", config.decoder_layers);
  config.decoder_heads = json.size("decoder_num_attention_heads", config.decoder_heads);
  config.decoder_ffn_dim = json.size("decoder_intermediate_size", config.decoder_ffn_dim);
  config.mask_ratio = json.number("mask_ratio", config.mask_ratio);
  config.norm_pix_loss = json.boolean("norm_pix_loss", config.norm_pix_loss);
  const auto require = [&](bool ok, const auto&... parts) {
    check(ok, ErrorKind::Format, json.subject(), parts...);
  };
  require(config.decoder_dim % config.decoder_heads == 0, "decoder_hidden_size is ",
          config.decoder_dim, ", takes a multiple of decoder_num_attention_heads ",
          config.decoder_heads);
  require(config.vit.dim % 4 == 0 && config.decoder_dim % 4 == 0, "hidden_size is ", config.vit.dim,
          " and decoder_hidden_size ", config.decoder_dim, ", takes multiples of 4");
  require(config.vit.image_size % config.vit.patch_size == 0, "image_size is ",
          config.vit.image_size, ", takes a multiple of patch_size ", config.vit.patch_size);
  require(config.mask_ratio < 1 && config.kept() >= 1 && config.kept() < config.patches(),
          "mask_ratio is ", config.mask_ratio, ", takes a share that leaves some of ",
          config.patches(), " patches");
  return config;
}

std::string ViTMaeConfig::to_json(DType dtype) const {
  nlohmann::ordered_json json =
      write_vit_sizes(vit, std::string(kViTMaeArchitectures[0]), "vit_mae");
  json["decoder_hidden_size"] = decoder_dim;
  json["decoder_num_hidden_layers"] = decoder_layers;
  json["decoder_num_attention_heads"] = decoder_heads;
  json["decoder_intermediate_size"] = decoder_ffn_dim;
  json["mask_ratio"] = mask_ratio;
  json["norm_pix_loss"] = norm_pix_loss;
  return finished_config(std::move(json), dtype);
}

}  // namespace plinth
