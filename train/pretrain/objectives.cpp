#include "train/pretrain/objectives.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "train/checkpoint/run_directory.h"
#include "train/pretrain/new_model.h"
#include "train/pretrain/objective_kinds.h"

namespace plinth {
namespace {

constexpr std::array<std::string_view, 3> kTypes = {"t5", "vit_mae", "clip"};

using Tell = std::function<void(const std::string&)>;

}  // namespace

std::span<const std::string_view> objective_types() {
  return kTypes;
}

std::string trained_type(const PretrainConfig& config) {
  const auto type_in = [](const std::filesystem::path& file) {
    return ConfigJson::read(file).text("model_type", "");
  };
  if (!config.init_from.empty())
    return type_in(resolve_model_directory(config.init_from, [](const std::string&) {}) /
                   "config.json");
  return config.model_config.empty() ? config.model.type : type_in(config_file(config));
}

bool has_objective(const PretrainConfig& config) {
  const std::string type = trained_type(config);
  check(!config.masking.next_sentence || type == "bert", ErrorKind::Config, "masking.next_sentence",
        "got true, takes false for ", type, ": next sentences are bert's");
  return config.masking.next_sentence || std::ranges::find(kTypes, type) != kTypes.end();
}

std::unique_ptr<Objective> make_objective(const PretrainConfig& config, const Tell& tell) {
  const std::string type = trained_type(config);
  if (type == "t5") return make_span_objective(config, tell);
  if (type == "vit_mae") return make_mae_objective(config, tell);
  if (type == "clip") return make_pair_objective(config, tell);
  return make_sentence_objective(config, tell);
}

}  // namespace plinth
