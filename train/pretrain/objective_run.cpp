#include "train/pretrain/objective_run.h"

#include <algorithm>

#include "core/error.h"
#include "models/weight_map.h"
#include "train/logging/format.h"
#include "train/pretrain/objectives.h"
#include "train/pretrain/ranks.h"
#include "train/pretrain/run_options.h"
#include "train/run_config.h"

namespace plinth {
namespace {

using Tell = std::function<void(const std::string&)>;

// What only language models take.
void check_keys(const PretrainConfig& config) {
  const std::string type = trained_type(config);
  const auto takes = [&](const char* key, const auto& got, const auto& wanted) {
    check(got == wanted, ErrorKind::Config, key, "got ", got, ", takes ", wanted, " for ", type,
          config.masking.next_sentence ? " with masking.next_sentence" : "");
  };
  const auto& parallel = config.parallel;
  takes("parallel.tp", parallel.tp, 1);
  takes("parallel.cp", parallel.cp, 1);
  takes("parallel.pp", parallel.pp, 1);
  takes("parallel.ep", parallel.ep, 1);
  check(parallel.zero < 2, ErrorKind::Config, "parallel.zero", "got ", parallel.zero,
        ", takes 0 or 1 for ", type, ", whose ranks have all weights");
  takes("train.float8", config.train.float8, std::string("off"));
  takes("sample.every", config.sample.every, 0);
}

// The mean loss of the same held-out micro-batches each time, the first whole ones of a shuffled
// epoch; the means of what else the objective tells of them go to the user.
double held_out_loss(const PretrainConfig& config, Objective& objective, const Tell& tell) {
  LoaderOptions options = loader_options(config, 1, 0, 1);
  options.samples.shuffle = true;  // neighbours in a file may be alike
  options.rows = std::min(options.rows, objective.held_out_samples());
  const std::unique_ptr<BatchSource> source = objective.batches(Objective::Split::HeldOut, options);
  const int64_t count =
      std::min(config.validation.batches, objective.held_out_samples() / options.rows);
  double loss = 0;
  std::map<std::string, double> scores;
  for (int64_t i = 0; i < count; ++i) {
    const Batch batch = source->next(options.rows);
    loss += objective.loss(batch).item();
    for (const auto& [name, score] : objective.scores(batch)) scores[name] += score;
  }
  const auto mean = [&](double sum) { return sum / static_cast<double>(count); };
  std::string line = "validation: loss " + format_value(mean(loss));
  for (const auto& [name, sum] : scores) line += ", " + name + " " + format_value(mean(sum));
  if (!scores.empty()) tell(line);
  return mean(loss);
}

TrainerHooks build_hooks(const PretrainConfig& config, const ConfigSchema& schema,
                         Objective& objective, const Tell& tell) {
  TrainerHooks hooks;
  hooks.start = [&](RunStart start) {
    keep_config(config.run.directory, schema, start, changed_keys);
  };
  hooks.save = [&](CheckpointContents& contents) {
    contents.tensors["model.safetensors"] =
        export_weights(objective.model(), objective.weight_slices());
    contents.texts.merge(objective.texts());
  };
  hooks.load = [&](const std::filesystem::path& checkpoint) {
    read_weights(objective.model(), objective.weight_slices(),
                 SafetensorsCheckpoint::open(checkpoint), checkpoint);
  };
  if (objective.held_out_samples() > 0)
    hooks.validate = [&] { return held_out_loss(config, objective, tell); };
  return hooks;
}

}  // namespace

PretrainResult run_objective(const PretrainConfig& config, const ConfigSchema& schema, bool resume,
                             const Tell& tell_all, Device device,
                             const std::shared_ptr<distributed::ProcessGroup>& group) {
  check_keys(config);
  const bool is_first = !group || group->rank() == 0;
  const Tell tell = [&](const std::string& line) {
    if (is_first) tell_all(line);
  };
  const RankGroups groups = arrange_ranks(config, group);
  const std::unique_ptr<Objective> objective = make_objective(config, tell);
  objective->set_activation_checkpointing(config.activation_checkpointing);
  nn::Module& model = objective->model();
  PretrainResult result;
  result.type = objective->type();
  result.causal = false;
  result.parameters = model.parameter_count();
  model.to(device);
  tell(detail::concat(result.type, " with ", format_count(static_cast<double>(result.parameters)),
                      " parameters, ", objective->data_text()));
  if (groups.world) tell(ranks_text(config, *groups.world));

  const std::unique_ptr<nn::Optimizer> optimizer =
      make_optimizer(config.optimizer, nn::decay_matrices(model, config.optimizer.weight_decay));
  TrainerOptions options = run_options(config, schema, result.type, result.parameters, resume);
  options.group = groups.data;
  options.world = groups.world;
  const int64_t tokens = objective->tokens_per_sample();
  options.tokens_per_sample = std::max<int64_t>(1, tokens);
  if (tokens == 0) options.log.unit = "samples/s";
  options.flops_per_sample = objective->flops_per_sample();
  const std::unique_ptr<BatchSource> batches =
      objective->batches(Objective::Split::Training,
                         loader_options(config, 1, groups.data_rank(), groups.data_ranks()));
  Trainer trainer(
      model, [&](const Batch& batch) { return objective->loss(batch); }, *optimizer,
      make_schedule(config.schedule, config.optimizer.lr, config.train.steps), *batches,
      std::move(options), build_hooks(config, schema, *objective, tell));
  result.training = run_trainer(config, trainer);
  return result;
}

}  // namespace plinth
