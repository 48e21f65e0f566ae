#include "train/pretrain/start_model.h"

#include <optional>
#include <utility>

#include "core/autograd.h"
#include "core/error.h"
#include "models/registry.h"
#include "models/weight_source.h"
#include "train/checkpoint/run_directory.h"
#include "train/checkpoint/sharded.h"
#include "train/pretrain/new_model.h"
#include "train/pretrain/run_options.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

StartModel drawn_model(const PretrainConfig& config, const Tokenizer* tokenizer,
                       const nn::AbsentParameters& absent) {
  StartModel start;
  if (config.model_config.empty()) {
    start.model = make_model(new_size(config, tokenizer), config.run.seed);
  } else {
    start.model = make_model(ConfigJson::read(config_file(config)));
    start.model->reset_parameters(config.run.seed);
  }
  start.write = [draws = absent.draws(start.model->named_parameters())](const std::string& name,
                                                                        const Tensor& whole) {
    Tensor values = whole;
    draws.at(name)(values);
  };
  return start;
}

// A directory in Hugging Face's layout.
StartModel saved_model(const fs::path& directory) {
  struct Files {
    explicit Files(const fs::path& directory)
        : checkpoint(SafetensorsCheckpoint::open(directory)), source(checkpoint) {}
    SafetensorsCheckpoint checkpoint;
    WeightSource source;
    std::optional<CheckedWeights> checked;
  };
  const ConfigJson config = ConfigJson::read(directory / "config.json");
  const auto files = std::make_shared<Files>(directory);
  StartModel start{make_model(config, &files->checkpoint), {}};
  files->checked.emplace(start.model->state_dict(), start.model->weight_slices(), files->source,
                         directory);
  start.write = [files](const std::string& name, const Tensor& whole) {
    files->checked->read(name, whole);
  };
  return start;
}

// A checkpoint that ranks have written.
StartModel sharded_model(const fs::path& directory) {
  const auto checkpoint = std::make_shared<const ShardedCheckpoint>(directory);
  StartModel start{make_model(ConfigJson::read(directory / "config.json")), {}};
  checkpoint->check_parameters(start.model->named_parameters());
  start.write = [checkpoint](const std::string& name, const Tensor& whole) {
    const NoGradGuard no_grad;
    whole.reshape({-1}).copy_(checkpoint->read("parameter." + name, 0, whole.numel()));
  };
  return start;
}

StartModel of_directory(const PretrainConfig& config, bool reads_weights,
                        const std::function<void(const std::string&)>& tell) {
  const fs::path directory = resolve_model_directory(config.init_from, tell);
  if (!reads_weights)
    return {make_model(ConfigJson::read(directory / "config.json")),
            [](const std::string&, const Tensor&) {}};
  return ShardedCheckpoint::is_in(directory) ? sharded_model(directory) : saved_model(directory);
}

}  // namespace

StartModel start_model(const PretrainConfig& config, const Tokenizer* tokenizer, bool reads_weights,
                       const std::function<void(const std::string&)>& tell) {
  const nn::AbsentParameters absent;
  StartModel start = config.init_from.empty() ? drawn_model(config, tokenizer, absent)
                                              : of_directory(config, reads_weights, tell);
  if (std::unique_ptr<LanguageModel> trained = start.model->trained_parts()) {
    tell(detail::concat(start.model->info().type, " has parts that this training leaves alone ",
                        "(pooler, next sentence): they are left out"));
    start.model = std::move(trained);
  }
  start.model->set_activation_checkpointing(config.activation_checkpointing);
  return start;
}

nn::ParameterValues own_values(WholeValues write, const distributed::ParameterParts* shards) {
  return [write = std::move(write), shards](const nn::NamedTensor& parameter) {
    const auto& [name, part] = parameter;
    const Shape shape = shards ? shards->whole_shape(name, part.shape()) : part.shape();
    const Tensor whole = Tensor::empty(shape, {part.dtype(), {}});
    write(name, whole);
    return shards ? shards->parts({{name, whole}}).front().tensor : whole;
  };
}

}  // namespace plinth
